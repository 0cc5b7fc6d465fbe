/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A call is in a queue until a thread takes it out, under the lock, to run it; so whoever holds the lock
 * knows which of the two it is. 2. No more than BLOCKING_SLOW_MAX threads run slow calls. 3. While a thread is idle,
 * no call waits that may run, but for the moment in which the thread wakes up.
 */
#include "loop/blocking.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>

#include "base/clock.h"
#include "loop/loop.h"

/* On the stack of the task that waits for it. */
struct blocking_call {
    struct td_list link;
    struct wait wait;
    struct loop_note note;
    struct blocking *owner;
    struct td_task *task;
    struct io_op *op;
    td_time since;  /* when it was queued */
};

static enum blocking_lane lane_of(const struct io_op *op)
{
    return op->kind == IO_READ_AT || op->kind == IO_WRITE_AT || op->kind == IO_SYNC ? LANE_SLOW : LANE_QUICK;
}

void blocking_init(struct blocking *blocking, struct loop *loop)
{
    *blocking = (struct blocking){.loop = loop};
    pthread_mutex_init(&blocking->lock, NULL);
    pthread_cond_init(&blocking->work, NULL);
    for (int lane = 0; lane < LANES; lane++)
        list_init(&blocking->queues[lane]);
}

void blocking_close(struct blocking *blocking)
{
    pthread_mutex_lock(&blocking->lock);
    assert(list_empty(&blocking->queues[LANE_QUICK]) && list_empty(&blocking->queues[LANE_SLOW]));
    blocking->closing = true;
    pthread_cond_broadcast(&blocking->work);
    pthread_mutex_unlock(&blocking->lock);
    while (blocking->count > 0)
        pthread_join(blocking->threads[--blocking->count].thread, NULL);
    pthread_cond_destroy(&blocking->work);
    pthread_mutex_destroy(&blocking->lock);
}

static struct blocking_call *first(struct blocking *blocking, enum blocking_lane lane)
{
    struct td_list *queue = &blocking->queues[lane];

    return list_empty(queue) ? NULL : container_of(queue->next, struct blocking_call, link);
}

/* The call to run next, out of its queue; NULL when none may run. */
static struct blocking_call *pick(struct blocking *blocking)
{
    struct blocking_call *quick = first(blocking, LANE_QUICK), *slow = first(blocking, LANE_SLOW), *call;
    enum blocking_lane lane;

    if (blocking->running[LANE_SLOW] == BLOCKING_SLOW_MAX)
        slow = NULL;
    call = !slow || (quick && quick->since <= slow->since) ? quick : slow;
    if (!call)
        return NULL;
    lane = lane_of(call->op);
    list_remove(&call->link);
    blocking->queued[lane]--;
    blocking->running[lane]++;
    return call;
}

/* The next call, or NULL when the loop closes. */
static struct blocking_call *take(struct blocking *blocking)
{
    struct blocking_call *call;

    pthread_mutex_lock(&blocking->lock);
    blocking->idle++;
    while (!(call = pick(blocking)) && !blocking->closing)
        pthread_cond_wait(&blocking->work, &blocking->lock);
    blocking->idle--;
    pthread_mutex_unlock(&blocking->lock);
    return call;
}

static void leave(struct blocking *blocking, enum blocking_lane lane)
{
    pthread_mutex_lock(&blocking->lock);
    blocking->running[lane]--;
    pthread_mutex_unlock(&blocking->lock);
}

static void *thread_main(void *arg)
{
    struct blocking_thread *self = arg;
    struct blocking_call *call;

    while ((call = take(self->owner))) {
        enum blocking_lane lane = lane_of(call->op);

        atomic_store_explicit(&self->since, clock_real(), memory_order_relaxed);
        call->op->result = io_call_now(call->op);
        atomic_store_explicit(&self->since, 0, memory_order_relaxed);
        leave(self->owner, lane);
        loop_notify(self->owner->loop, &call->note);  /* from here on it is not ours */
    }
    return NULL;
}

static int start_thread(struct blocking *blocking)
{
    struct blocking_thread *thread = &blocking->threads[blocking->count];
    sigset_t all, before;
    int rc;

    thread->owner = blocking;
    /* Signals are for the program's own threads; and SIGPIPE or SIGXFSZ are to be answers here, not the end. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = -pthread_create(&thread->thread, NULL, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    blocking->count += rc == 0;
    blocking->refused += rc < 0;
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
        blocking->queued[lane_of(call->op)]--;
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

/* How many of the queued calls could run now if there were threads enough. */
static unsigned runnable(const struct blocking *blocking)
{
    unsigned room = BLOCKING_SLOW_MAX - blocking->running[LANE_SLOW], slow = blocking->queued[LANE_SLOW];

    return blocking->queued[LANE_QUICK] + (slow < room ? slow : room);
}

static void enqueue(struct blocking *blocking, struct blocking_call *call, bool *needs_thread)
{
    enum blocking_lane lane = lane_of(call->op);
    unsigned queued;

    call->since = clock_real();
    pthread_mutex_lock(&blocking->lock);
    list_push_back(&blocking->queues[lane], &call->link);
    blocking->queued[lane]++;
    queued = blocking->queued[LANE_QUICK] + blocking->queued[LANE_SLOW];
    if (queued > blocking->queued_peak)
        blocking->queued_peak = queued;
    *needs_thread = runnable(blocking) > blocking->idle;
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
    blocking->calls++;
    blocking->loop->outside_pending++;
    return task_park(self, &call.wait);
}

static td_time age(td_time now, td_time since)
{
    return now > since ? now - since : 0;
}

void blocking_statistics(struct blocking *blocking, td_blocking_stats *stats)
{
    td_time now = clock_real(), oldest = now;

    *stats = (td_blocking_stats){.threads = blocking->count, .threads_max = BLOCKING_THREADS_MAX, .calls = blocking->calls,
                                 .threads_refused = blocking->refused};
    pthread_mutex_lock(&blocking->lock);
    for (int lane = 0; lane < LANES; lane++) {
        const struct blocking_call *call = first(blocking, lane);

        stats->busy += blocking->running[lane];
        stats->queued += blocking->queued[lane];
        oldest = call && call->since < oldest ? call->since : oldest;
    }
    stats->queued_peak = blocking->queued_peak;
    pthread_mutex_unlock(&blocking->lock);
    stats->oldest_age_ns = age(now, oldest);
    for (unsigned i = 0; i < blocking->count; i++) {
        td_time since = atomic_load_explicit(&blocking->threads[i].since, memory_order_relaxed);

        if (since && age(now, since) > stats->longest_ns)
            stats->longest_ns = age(now, since);
    }
}
