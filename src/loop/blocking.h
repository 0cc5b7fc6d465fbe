/* SPDX-License-Identifier: MIT */
/*
 * The loop's threads for calls that block in the kernel: files, where the backend has no operation for them, folders,
 * the start of a program. They are few, start when there is work for them and none is idle, and end with the loop.
 * Pools have threads of their own, so no computation ever delays a file.
 *
 * The queue needs no memory and has no limit of its own: its entries are the waiting tasks themselves, each in it once at
 * the most. So what a caller finds when all threads are busy is a wait, in order, that a cancellation ends at once. A
 * call that a thread has begun is waited for whatever happens: its memory is the task's, and it has an outcome.
 */
#ifndef TANDEM_LOOP_BLOCKING_H
#define TANDEM_LOOP_BLOCKING_H

#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"

#define BLOCKING_THREADS_MAX 8

struct io_op;
struct loop;
struct td_task;

struct blocking {
    struct loop *loop;
    pthread_mutex_t lock;
    pthread_cond_t work;
    /* Under the lock: */
    struct td_list queue;
    unsigned queued, idle;
    bool closing;
    /* The loop's thread only: */
    unsigned count;
    pthread_t threads[BLOCKING_THREADS_MAX];
};

void blocking_init(struct blocking *blocking, struct loop *loop);
void blocking_close(struct blocking *blocking);  /* no call may be under way */

/*
 * Has a thread do the call, and parks the calling task until it is done. Not a checkpoint by itself: loop_io is.
 * Returns its result; -ECANCELED when no thread had begun it; -ENOMEM when there is no thread and none can be started.
 */
int blocking_run(struct blocking *blocking, struct td_task *self, struct io_op *op, const char *what);

#endif
