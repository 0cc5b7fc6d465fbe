/* SPDX-License-Identifier: MIT */
/*
 * The loop's threads for calls that block. The calls here go to them on both backends, and are slow (they read from a pipe
 * that is empty) or quick (they ask for a file's state, or stand before a gate) as the test says.
 */
#include <sys/stat.h>

#include "run/harness.h"
#include "run/refused.h"
#include "loop/loop.h"

#define CALLERS 20

struct world {
    td_scope scope;
    int pipe[2];
    atomic_bool open;
    atomic_int inside;
    int done, cancelled, failed;
};

static int block(enum io_kind kind, struct io_call *call)
{
    struct td_task *self = task_self(__func__);
    struct io_op op = {.kind = kind, .call = call};

    return blocking_run(&loop_of(self)->blocking, self, &op, "a call of a test");
}

static void note(struct world *w, int rc, int wanted)
{
    w->done += rc == wanted;
    w->cancelled += rc == -ECANCELED;
    w->failed += rc != wanted && rc != -ECANCELED;
}

static int read_pipe(void *arg)
{
    struct world *w = arg;
    char byte;

    note(w, block(IO_READ_AT, &(struct io_call){.fd = w->pipe[0], .data = &byte, .size = 1, .offset = -1}), 1);
    return 0;
}

static int stand_before(struct io_call *call)
{
    struct world *w = call->data;

    atomic_fetch_add(&w->inside, 1);
    while (!atomic_load(&w->open))
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    return 7;
}

static int wait_at_gate(void *arg)
{
    note(arg, block(IO_RUN, &(struct io_call){.run = stand_before, .data = arg}), 7);
    return 0;
}

static int ask_for_state(void)
{
    struct statx status;

    return block(IO_STAT, &(struct io_call){.fd = AT_FDCWD, .path = "/", .status = &status});
}

static td_blocking_stats stats_now(void)
{
    td_blocking_stats stats;

    td_blocking_statistics(&stats);
    return stats;
}

static void open_world(struct world *w)
{
    *w = (struct world){.done = 0};
    expect_int(pipe2(w->pipe, O_CLOEXEC), 0);
    td_scope_open(&w->scope);
}

static void spawn_many(struct world *w, td_fn fn, int count)
{
    for (int i = 0; i < count; i++)
        expect_int(td_spawn(&w->scope, fn, w), 0);
    settle();
}

/* Lets everybody through, and sees that each of `count` calls had its outcome. */
static void close_world(struct world *w, int count)
{
    char bytes[CALLERS] = {0};

    atomic_store(&w->open, true);
    expect_int(write(w->pipe[1], bytes, CALLERS), CALLERS);
    td_scope_join(&w->scope);
    expect_int(w->done + w->cancelled, count);
    expect_int(w->failed, 0);
    expect_int((long long)stats_now().queued + stats_now().busy, 0);
    close(w->pipe[0]);
    close(w->pipe[1]);
}

static int slow_body(void *arg)
{
    struct world w;

    open_world(&w);
    spawn_many(&w, read_pipe, CALLERS);
    eventually(stats_now().busy == BLOCKING_SLOW_MAX);
    expect_int((long long)stats_now().queued, CALLERS - BLOCKING_SLOW_MAX);
    for (int i = 0; i < 100; i++)
        expect_int(ask_for_state(), 0);
    expect_int(stats_now().busy, BLOCKING_SLOW_MAX);
    close_world(&w, CALLERS);
    expect_int(w.done, CALLERS);
    return 0;
}

/* However many wait for the disk: asking for a name is answered at once. */
static void slow_calls_leave_threads_for_quick_ones(void **state)
{
    assert_int_equal(run(state, slow_body, NULL), 0);
}

static int bounds_body(void *arg)
{
    td_blocking_stats stats;
    struct world w;

    open_world(&w);
    spawn_many(&w, wait_at_gate, CALLERS);
    eventually(atomic_load(&w.inside) == BLOCKING_THREADS_MAX);
    eventually(stats_now().oldest_age_ns >= td_ms(2) && stats_now().longest_ns >= td_ms(2));
    stats = stats_now();
    expect_int(stats.threads, BLOCKING_THREADS_MAX);
    expect_int(stats.threads_max, BLOCKING_THREADS_MAX);
    expect_int(stats.busy, BLOCKING_THREADS_MAX);
    expect_int((long long)stats.queued, CALLERS - BLOCKING_THREADS_MAX);
    expect(stats.queued_peak >= stats.queued);
    close_world(&w, CALLERS);
    stats = stats_now();
    expect_int((long long)stats.calls, CALLERS);
    expect_int(stats.longest_ns, 0);
    expect_int(stats.oldest_age_ns, 0);
    expect(stats.queued_peak >= CALLERS - BLOCKING_THREADS_MAX);
    return 0;
}

/* Law 4: what waits can be seen, and no burst makes more threads than there may be. */
static void threads_are_bounded_and_the_queue_is_visible(void **state)
{
    assert_int_equal(run(state, bounds_body, NULL), 0);
}

static int cancel_body(void *arg)
{
    struct world w;

    open_world(&w);
    spawn_many(&w, wait_at_gate, CALLERS);
    eventually(atomic_load(&w.inside) == BLOCKING_THREADS_MAX);
    td_scope_cancel(&w.scope);
    expect_int((long long)stats_now().queued, 0);
    expect_int(stats_now().busy, BLOCKING_THREADS_MAX);
    close_world(&w, CALLERS);
    expect_int(w.done, BLOCKING_THREADS_MAX);
    expect_int(w.cancelled, CALLERS - BLOCKING_THREADS_MAX);
    return 0;
}

/* Law 3 and 7: what no thread has begun ends at once, what one has is waited for. */
static void a_cancelled_call_leaves_the_queue(void **state)
{
    assert_int_equal(run(state, cancel_body, NULL), 0);
}

static int first_refused_body(void *arg)
{
    atomic_store(&refusing.now, true);
    expect_int(ask_for_state(), -ENOMEM);
    expect_int(ask_for_state(), -ENOMEM);
    expect_int((long long)stats_now().queued, 0);
    expect_int((long long)stats_now().threads_refused, 2);
    atomic_store(&refusing.now, false);
    expect_int(ask_for_state(), 0);
    expect_int(stats_now().threads, 1);
    return 0;
}

/* tokio 8406: a call whose thread the system refused must not wait for one that never comes. */
static void a_refused_first_thread_is_an_error_and_no_orphan(void **state)
{
    assert_int_equal(run(state, first_refused_body, NULL), 0);
    atomic_store(&refusing.now, false);
}

static int second_refused_body(void *arg)
{
    struct world w;

    open_world(&w);
    expect_int(ask_for_state(), 0);
    atomic_store(&refusing.now, true);
    spawn_many(&w, wait_at_gate, 3);
    eventually(atomic_load(&w.inside) == 1);
    expect_int((long long)stats_now().queued, 2);
    expect((long long)stats_now().threads_refused >= 2);
    close_world(&w, 3);
    expect_int(w.done, 3);
    return 0;
}

static void with_one_thread_the_others_wait_their_turn(void **state)
{
    assert_int_equal(run(state, second_refused_body, NULL), 0);
    atomic_store(&refusing.now, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(slow_calls_leave_threads_for_quick_ones),
        ON_BOTH(threads_are_bounded_and_the_queue_is_visible),
        ON_BOTH(a_cancelled_call_leaves_the_queue),
        ON_BOTH(a_refused_first_thread_is_an_error_and_no_orphan),
        ON_BOTH(with_one_thread_the_others_wait_their_turn),
    };

    return cmocka_run_group_tests_name("blocking", tests, NULL, NULL);
}
