/* SPDX-License-Identifier: MIT */
/*
 * Invariant: a call is in the queue until a thread takes it out, under the lock, to run it; so whoever holds the lock
 * knows which of the two it is.
 */
#include "loop/blocking.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>

#include "loop/loop.h"

/* On the stack of the task that waits for it. */
struct blocking_call {
    struct td_list link;
    struct wait wait;
    struct loop_note note;
    struct blocking *owner;
    struct td_task *task;
    struct io_op *op;
};

void blocking_init(struct blocking *blocking, struct loop *loop)
{
    *blocking = (struct blocking){.loop = loop};
    pthread_mutex_init(&blocking->lock, NULL);
    pthread_cond_init(&blocking->work, NULL);
    list_init(&blocking->queue);
}

void blocking_close(struct blocking *blocking)
{
    pthread_mutex_lock(&blocking->lock);
    assert(list_empty(&blocking->queue));
    blocking->closing = true;
    pthread_cond_broadcast(&blocking->work);
    pthread_mutex_unlock(&blocking->lock);
    while (blocking->count > 0)
        pthread_join(blocking->threads[--blocking->count], NULL);
    pthread_cond_destroy(&blocking->work);
    pthread_mutex_destroy(&blocking->lock);
}

/* The next call, or NULL when the loop closes. */
static struct blocking_call *take(struct blocking *blocking)
{
    struct td_list *link;

    pthread_mutex_lock(&blocking->lock);
    blocking->idle++;
    while (list_empty(&blocking->queue) && !blocking->closing)
        pthread_cond_wait(&blocking->work, &blocking->lock);
    blocking->idle--;
    link = list_pop_front(&blocking->queue);
    blocking->queued -= link != NULL;
    pthread_mutex_unlock(&blocking->lock);
    return link ? container_of(link, struct blocking_call, link) : NULL;
}

static void *thread_main(void *arg)
{
    struct blocking *blocking = arg;
    struct blocking_call *call;

    while ((call = take(blocking))) {
        call->op->result = io_call_now(call->op);
        loop_notify(blocking->loop, &call->note);  /* from here on it is not ours */
    }
    return NULL;
}

static int start_thread(struct blocking *blocking)
{
    sigset_t all, before;
    int rc;

    /* Signals are for the program's own threads; and SIGPIPE or SIGXFSZ are to be answers here, not the end. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = -pthread_create(&blocking->threads[blocking->count], NULL, thread_main, blocking);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    blocking->count += rc == 0;
    return rc;
}

static void call_done(struct loop_note *note)
{
    struct blocking_call *call = container_of(note, struct blocking_call, note);

    call->owner->loop->outside_pending--;
    task_unpark(call->task, call->op->result);
}

/* Takes the call back if no thread has begun it. */
static bool take_back(struct blocking_call *call)
{
    struct blocking *blocking = call->owner;
    bool waits;

    pthread_mutex_lock(&blocking->lock);
    waits = list_linked(&call->link);
    if (waits) {
        list_remove(&call->link);
        blocking->queued--;
    }
    pthread_mutex_unlock(&blocking->lock);
    return waits;
}

static void call_abort(struct wait *wait)
{
    struct blocking_call *call = container_of(wait, struct blocking_call, wait);

    if (!take_back(call))
        return;
    call->owner->loop->outside_pending--;
    task_unpark(call->task, -ECANCELED);
}

static void enqueue(struct blocking *blocking, struct blocking_call *call, bool *needs_thread)
{
    pthread_mutex_lock(&blocking->lock);
    list_push_back(&blocking->queue, &call->link);
    blocking->queued++;
    *needs_thread = blocking->queued > blocking->idle;
    pthread_cond_signal(&blocking->work);
    pthread_mutex_unlock(&blocking->lock);
}

int blocking_run(struct blocking *blocking, struct td_task *self, struct io_op *op, const char *what)
{
    struct blocking_call call = {.wait = {op->to_the_end ? NULL : call_abort, what, 0}, .note.receive = call_done,
                                 .owner = blocking, .task = self, .op = op};
    bool needs_thread;
    int rc = 0;

    list_init(&call.link);
    enqueue(blocking, &call, &needs_thread);
    if (needs_thread && blocking->count < BLOCKING_THREADS_MAX)
        rc = start_thread(blocking);
    if (rc < 0 && blocking->count == 0 && take_back(&call))
        return -ENOMEM;  /* with at least one thread there is only a longer wait */
    blocking->loop->outside_pending++;
    return task_park(self, &call.wait);
}
