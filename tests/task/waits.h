/* SPDX-License-Identifier: MIT */
/*
 * One of everything a task can wait for, in a state in which it has to wait, or in one in which it need not.
 */
#ifndef TANDEM_TESTS_TASK_WAITS_H
#define TANDEM_TESTS_TASK_WAITS_H

#include "run/harness.h"

struct waits {
    td_chan *source, *sink;  /* to receive from, to send to */
    td_event event;
    td_future future;
    td_sem sem;
    td_mutex mutex, free_mutex;  /* one held by who opened this */
    td_cond cond;
    td_rate rate;
    td_broadcast *quiet, *loud;  /* to receive from, to send to */
    td_subscriber *listener_to_quiet, *slow;
    int pipe[2];
    td_listener *listener;
    td_stream *near, *far;   /* two ends of one connection */
    td_stream *caller;       /* waits in the listener's backlog */
};

static void waits_open(struct waits *w)
{
    memset(w, 0, sizeof *w);
    td_event_init(&w->event);
    td_future_init(&w->future);
    td_sem_init(&w->sem, 0);
    td_mutex_init(&w->mutex);
    td_mutex_init(&w->free_mutex);
    td_cond_init(&w->cond);
    expect_int(td_mutex_lock(&w->mutex), 0);
    expect_int(td_rate_init(&w->rate, 1, td_sec(1000), 1), 0);
    expect_int(td_rate_take(&w->rate, 1), 0);
    expect_int(td_broadcast_open(&w->quiet, &(td_broadcast_opts){.item_size = sizeof(int), .capacity = 1}), 0);
    expect_int(td_broadcast_open(&w->loud, &(td_broadcast_opts){.item_size = sizeof(int), .capacity = 1}), 0);
    expect_int(td_subscribe(w->quiet, &w->listener_to_quiet), 0);
    expect_int(td_subscribe(w->loud, &w->slow), 0);
    expect_int(td_broadcast_send(w->loud, &(int){1}), 0);
    expect_int(td_chan_open(&w->source, &(td_chan_opts){.item_size = sizeof(int), .capacity = 1}), 0);
    expect_int(td_chan_open(&w->sink, &(td_chan_opts){.item_size = sizeof(int), .capacity = 1}), 0);
    expect_int(pipe2(w->pipe, O_CLOEXEC | O_NONBLOCK), 0);
    expect_int(td_listen(&w->listener, "127.0.0.1:0", NULL), 0);
    expect_int(td_connect(&w->near, td_listener_address(w->listener)), 0);
    expect_int(td_accept(w->listener, &w->far), 0);
    expect_int(td_chan_send(w->sink, &(int){1}), 0);
}

/* From now on nothing here has to wait. */
__attribute__((unused)) static void waits_make_ready(struct waits *w)
{
    int item;

    expect_int(td_chan_send(w->source, &(int){2}), 0);
    expect_int(td_chan_receive(w->sink, &item), 0);
    td_event_set(&w->event);
    expect_int(td_future_set(&w->future, w), 0);
    td_sem_give(&w->sem);
    td_mutex_unlock(&w->mutex);
    expect_int(td_rate_init(&w->rate, 1, td_sec(1000), 1), 0);
    expect_int(td_broadcast_send(w->quiet, &(int){2}), 0);
    expect_int(td_subscriber_receive(w->slow, &item), 0);
    expect_int(write(w->pipe[1], "x", 1), 1);
    expect_int(td_stream_write(w->far, "y", 1), 1);
    expect_int(td_connect(&w->caller, td_listener_address(w->listener)), 0);
}

static void waits_close(struct waits *w)
{
    td_chan_free(w->source);
    td_chan_free(w->sink);
    td_unsubscribe(w->listener_to_quiet);
    td_unsubscribe(w->slow);
    td_broadcast_free(w->quiet);
    td_broadcast_free(w->loud);
    (void)td_mutex_try_lock(&w->mutex);
    td_mutex_unlock(&w->mutex);
    close(w->pipe[0]);
    close(w->pipe[1]);
    td_stream_close(w->near);
    td_stream_close(w->far);
    if (w->caller)
        td_stream_close(w->caller);
    td_listener_close(w->listener);
}

static int wait_sleep(struct waits *w)
{
    return td_sleep(td_sec(1000));
}

static int wait_receive(struct waits *w)
{
    return td_chan_receive(w->source, &(int){0});
}

static int wait_send(struct waits *w)
{
    return td_chan_send(w->sink, &(int){3});
}

static int wait_event(struct waits *w)
{
    return td_event_wait(&w->event);
}

static int wait_future(struct waits *w)
{
    return td_future_wait(&w->future, NULL);
}

static int wait_permit(struct waits *w)
{
    return td_sem_take(&w->sem);
}

static int wait_mutex(struct waits *w)
{
    int rc = td_mutex_lock(&w->mutex);

    if (rc == 0)
        td_mutex_unlock(&w->mutex);
    return rc;
}

static int wait_condition(struct waits *w)
{
    int rc;

    expect_int(td_mutex_try_lock(&w->free_mutex), 0);
    rc = td_cond_wait(&w->cond, &w->free_mutex);
    td_mutex_unlock(&w->free_mutex);
    return rc;
}

static int wait_rate(struct waits *w)
{
    return td_rate_take(&w->rate, 1);
}

static int wait_broadcast(struct waits *w)
{
    return td_broadcast_send(w->loud, &(int){3});
}

static int wait_subscriber(struct waits *w)
{
    return td_subscriber_receive(w->listener_to_quiet, &(int){0});
}

static int wait_select(struct waits *w)
{
    td_case cases[] = {td_on_event(&w->event), td_on_readable(w->pipe[0])};
    size_t which;

    return td_select(cases, 2, &which);
}

static int wait_readable(struct waits *w)
{
    return td_wait_readable(w->pipe[0]);
}

static int wait_accept(struct waits *w)
{
    td_stream *stream;
    int rc = td_accept(w->listener, &stream);

    if (rc == 0)
        td_stream_close(stream);
    return rc;
}

static int wait_read(struct waits *w)
{
    char byte;

    return (int)td_stream_read(w->near, &byte, 1);
}

static int sleeper(void *arg)
{
    return td_sleep(td_sec(1000));
}

static int wait_join(struct waits *w)
{
    td_scope inner;

    td_scope_open(&inner);
    td_spawn(&inner, sleeper, NULL);
    return td_scope_join(&inner);
}

static int wait_join_without_tasks(struct waits *w)
{
    td_scope inner;

    td_scope_open(&inner);
    return td_scope_join(&inner);
}

static int wait_turn(struct waits *w)
{
    return td_yield();
}

static int wait_no_time(struct waits *w)
{
    return td_sleep(-5);
}

static int wait_connect(struct waits *w)
{
    td_stream *stream;

    return td_connect(&stream, td_listener_address(w->listener));
}

static int wait_write(struct waits *w)
{
    return (int)td_stream_write(w->near, "z", 1);
}

struct wait_kind {
    const char *name;
    int (*wait)(struct waits *w);
    bool parks;  /* in a world that is not ready */
};

static const struct wait_kind wait_kinds[] = {
    {"sleep", wait_sleep, true}, {"receive", wait_receive, true}, {"send", wait_send, true},
    {"event", wait_event, true}, {"future", wait_future, true}, {"permit", wait_permit, true},
    {"mutex", wait_mutex, true}, {"condition", wait_condition, true}, {"rate", wait_rate, true},
    {"broadcast", wait_broadcast, true}, {"subscriber", wait_subscriber, true}, {"select", wait_select, true},
    {"readable", wait_readable, true}, {"accept", wait_accept, true},
    {"read", wait_read, true}, {"join", wait_join, true}, {"empty join", wait_join_without_tasks, false},
    {"yield", wait_turn, false}, {"sleep for no time", wait_no_time, false}, {"connect", wait_connect, false},
    {"write", wait_write, false},
};

#endif
