/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A ring's `head` is moved by its loop alone, its `tail` by the writer alone. 2. What a wait is for may be
 * a text of its object, so it is copied at once; sites are constants. 3. `fresh` has a bit for each task that has not run
 * yet. 4. A task's slice ends at the very time at which its wait begins.
 */
#include "debug/trace.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "debug/trace_json.h"
#include "tandem/log.h"

#define RING_EVENTS 16384u       /* a power of two; 1.5 MiB a loop */
#define WAKE_AT (RING_EVENTS / 4)
#define WRITE_EVERY_NS 50000000
#define FRESH_BITS 65536u        /* more tasks that never ran yet get no arrow */

struct ring {
    struct sched_tracer tracer;
    struct ring *next;
    struct trace *trace;
    unsigned index;
    _Alignas(64) _Atomic unsigned head;
    _Alignas(64) _Atomic unsigned tail;
    _Atomic unsigned long long dropped;
    const struct td_task *running;    /* and the slice it is in: */
    td_time since;
    uint64_t running_id;
    size_t ready, ready_told;
    uint64_t fresh[FRESH_BITS / 64];
    char name[16];
    struct trace_event events[RING_EVENTS];
};

struct trace {
    pthread_t thread;
    pthread_mutex_t mutex;            /* guards the list of rings */
    struct ring *rings;
    _Atomic bool stop;
    sem_t wake;
    struct json json;
};

static struct trace_event *reserve(struct ring *ring, enum trace_kind kind, td_time at, const struct td_task *task)
{
    unsigned head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    struct trace_event *event = &ring->events[head % RING_EVENTS];

    if (head - atomic_load_explicit(&ring->tail, memory_order_acquire) == RING_EVENTS) {
        atomic_fetch_add_explicit(&ring->dropped, 1, memory_order_relaxed);
        return NULL;
    }
    event->kind = kind;
    event->at = at;
    event->id = task ? task->id : 0;
    event->fn = task ? task->fn : NULL;
    event->site = task ? atomic_load_explicit(&task->site, memory_order_relaxed) : NULL;
    event->name = task ? task->name : NULL;
    return event;
}

static void commit(struct ring *ring)
{
    unsigned head = atomic_load_explicit(&ring->head, memory_order_relaxed) + 1;

    atomic_store_explicit(&ring->head, head, memory_order_release);
    if (head - atomic_load_explicit(&ring->tail, memory_order_relaxed) == WAKE_AT)
        sem_post(&ring->trace->wake);
}

static void spawned(struct sched_tracer *tracer, const struct td_task *task)
{
    struct ring *ring = container_of(tracer, struct ring, tracer);
    struct trace_event *event = reserve(ring, TRACE_SPAWN, td_now(), task);

    ring->ready++;
    ring->fresh[task->id / 64 % (FRESH_BITS / 64)] |= UINT64_C(1) << task->id % 64;
    if (event)
        commit(ring);
}

/* The slice that ends here. */
static void end_slice(struct ring *ring, td_time now)
{
    const struct td_task *task = ring->running;
    uint64_t bit = UINT64_C(1) << task->id % 64, *word = &ring->fresh[task->id / 64 % (FRESH_BITS / 64)];
    struct trace_event *event = reserve(ring, TRACE_RUN, ring->since, task);

    if (event) {
        event->until = now;
        event->is_first = (*word & bit) != 0;
        commit(ring);
    }
    *word &= ~bit;
}

static void count_ready(struct ring *ring, td_time now)
{
    struct trace_event *event;

    if (ring->ready == ring->ready_told)
        return;
    event = reserve(ring, TRACE_READY, now, NULL);
    if (!event)
        return;
    event->id = ring->ready_told = ring->ready;
    commit(ring);
}

static void switched(struct sched_tracer *tracer, const struct td_task *task)
{
    struct ring *ring = container_of(tracer, struct ring, tracer);
    td_time now = td_now();

    if (ring->running) {
        const struct wait *wait = ring->running->wait;

        end_slice(ring, wait ? wait->since : now);
        ring->ready += !wait;  /* it only let others run */
    }
    ring->ready -= task && ring->ready > 0;
    ring->running = task;
    ring->since = now;
    if (!task)
        count_ready(ring, now);
}

static void parked(struct sched_tracer *tracer, const struct td_task *task)
{
    (void)tracer;
    task->wait->since = td_now();  /* exactly, for once */
}

static void unparked(struct sched_tracer *tracer, const struct td_task *task)
{
    struct ring *ring = container_of(tracer, struct ring, tracer);
    struct trace_event *event = reserve(ring, TRACE_WAIT, task->wait->since, task);

    ring->ready++;
    if (!event)
        return;
    event->until = td_now();
    snprintf(event->what, sizeof event->what, "%s", task->wait->what ? task->wait->what : "?");
    commit(ring);
}

static void done(struct sched_tracer *tracer, const struct td_task *task)
{
    struct ring *ring = container_of(tracer, struct ring, tracer);

    if (ring->running == task)
        end_slice(ring, td_now());
    ring->running = NULL;
}

int trace_attach(struct trace *trace, struct loop *loop)
{
    struct ring *ring = aligned_alloc(_Alignof(struct ring), sizeof *ring);

    if (!ring)
        return -ENOMEM;
    memset(ring, 0, offsetof(struct ring, events));  /* the events' pages come when they are used */
    ring->tracer = (struct sched_tracer){spawned, switched, parked, unparked, done};
    ring->trace = trace;
    ring->index = loop->index;
    snprintf(ring->name, sizeof ring->name, "%s", loop->name);
    pthread_mutex_lock(&trace->mutex);
    ring->next = trace->rings;
    trace->rings = ring;
    pthread_mutex_unlock(&trace->mutex);
    loop->sched.tracer = &ring->tracer;
    sched_attend(&loop->sched);
    return 0;
}

void trace_detach(struct loop *loop)
{
    loop->sched.tracer = NULL;  /* the ring stays until its events are written */
}

static void drain(struct trace *trace, struct ring *ring)
{
    unsigned tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    unsigned head = atomic_load_explicit(&ring->head, memory_order_acquire);

    for (; tail != head; tail++) {
        json_event(&trace->json, ring->index + 1, &ring->events[tail % RING_EVENTS]);
        atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    }
}

static void *write_out(void *arg)
{
    struct trace *trace = arg;
    bool stop = false;

    while (!stop) {
        td_time at = clock_real() + WRITE_EVERY_NS;
        struct timespec until = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};

        stop = atomic_load(&trace->stop);
        if (!stop)
            sem_clockwait(&trace->wake, CLOCK_MONOTONIC, &until);
        pthread_mutex_lock(&trace->mutex);
        for (struct ring *ring = trace->rings; ring; ring = ring->next)
            drain(trace, ring);
        pthread_mutex_unlock(&trace->mutex);
    }
    return NULL;
}

static int start_thread(struct trace *trace)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);  /* signals are for the program's threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = -pthread_create(&trace->thread, NULL, write_out, trace);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        pthread_setname_np(trace->thread, "tandem-trace");
    return rc;
}

int trace_open(struct trace **opened, const char *path)
{
    struct trace *trace = calloc(1, sizeof *trace);
    int rc;

    if (!trace)
        return -ENOMEM;
    rc = json_open(&trace->json, path);
    if (rc < 0)
        goto release;
    pthread_mutex_init(&trace->mutex, NULL);
    sem_init(&trace->wake, 0, 0);
    rc = start_thread(trace);
    if (rc < 0)
        goto close_file;
    *opened = trace;
    return 0;

close_file:
    sem_destroy(&trace->wake);
    pthread_mutex_destroy(&trace->mutex);
    json_close(&trace->json);
release:
    free(trace);
    return rc;
}

void trace_close(struct trace *trace)
{
    unsigned long long dropped = 0;

    atomic_store(&trace->stop, true);
    sem_post(&trace->wake);
    pthread_join(trace->thread, NULL);
    for (struct ring *ring = trace->rings, *next; ring; ring = next) {
        next = ring->next;
        dropped += atomic_load(&ring->dropped);
        json_loop(&trace->json, ring->index + 1, ring->name, atomic_load(&ring->dropped));
        free(ring);
    }
    if (dropped > 0)
        td_log(TD_LOG_WARNING, "the trace lacks %llu events: they came faster than they could be written", dropped);
    if (json_close(&trace->json) < 0)
        td_log(TD_LOG_ERROR, "the trace is not complete: its file could not be written");
    sem_destroy(&trace->wake);
    pthread_mutex_destroy(&trace->mutex);
    free(trace);
}
