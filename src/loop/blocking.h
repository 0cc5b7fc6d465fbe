/* SPDX-License-Identifier: MIT */
/*
 * The loop's threads for calls that block in the kernel: files, where the backend has no operation for them, folders,
 * the start of a program. They are few, start when there is work for them and none is idle, and end with the loop.
 * Pools have threads of their own, so no computation ever delays a file.
 *
 * There are two lanes. Calls that wait for the disk (reads that missed the cache, writes, syncs) are slow and may have
 * BLOCKING_SLOW_MAX of the threads; the others stay free for quick calls, which ask for names and states. Without that a stat
 * waits behind whoever syncs: 13 microseconds alone, 3.5 milliseconds beside 128 tasks that write and sync (decision 25).
 * Where both lanes have a call that may run, the older one does.
 *
 * The queue needs no memory and has no limit of its own: its entries are the waiting tasks themselves, each in it once at
 * the most. So what a caller finds when all threads are busy is a wait, in order, that a cancellation ends at once. A
 * call that a thread has begun is waited for whatever happens: its memory is the task's, and it has an outcome.
 */
#ifndef TANDEM_LOOP_BLOCKING_H
#define TANDEM_LOOP_BLOCKING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/list.h"
#include "tandem/run.h"

#define BLOCKING_THREADS_MAX 8
#define BLOCKING_SLOW_MAX 6

struct blocking;
struct io_op;
struct loop;
struct td_task;

enum blocking_lane { LANE_QUICK, LANE_SLOW, LANES };

struct blocking_thread {
    pthread_t thread;
    struct blocking *owner;
    _Atomic td_time since;  /* when it began the call it does; 0: it does none */
};

struct blocking {
    struct loop *loop;
    pthread_mutex_t lock;
    pthread_cond_t work;
    /* Under the lock: */
    struct td_list queues[LANES];
    unsigned queued[LANES], running[LANES], idle, queued_peak;
    bool closing;
    /* The loop's thread only: */
    unsigned count;
    unsigned long long calls, refused;
    struct blocking_thread threads[BLOCKING_THREADS_MAX];
};

void blocking_init(struct blocking *blocking, struct loop *loop);
void blocking_close(struct blocking *blocking);  /* no call may be under way */

/*
 * Has a thread do the call, and parks the calling task until it is done. Not a checkpoint by itself: loop_io is.
 * Returns its result; -ECANCELED when no thread had begun it; -ENOMEM when there is no thread and none can be started.
 */
int blocking_run(struct blocking *blocking, struct td_task *self, struct io_op *op, const char *what);

/* For td_blocking_statistics. The loop's thread. */
void blocking_statistics(struct blocking *blocking, td_blocking_stats *stats);

#endif
