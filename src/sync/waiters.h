/* SPDX-License-Identifier: MIT */
/*
 * The fair, cancellable queue of waiting tasks under every primitive of this room.
 *
 * A waiter is handed what it waits for: whoever wakes it fills or empties its slot, and takes it out of the queue in the
 * same step. So a task that was woken has the thing, though it may be cancelled before it runs.
 */
#ifndef TANDEM_SYNC_WAITERS_H
#define TANDEM_SYNC_WAITERS_H

#include "task/task.h"

struct waiter {
    struct td_list link;
    struct wait wait;
    struct td_task *task;
    void *slot;  /* what the waker fills or empties; the primitive's */
    /* Instead of the task's unparking: this is one case of a select, and another may have to be ended first. */
    void (*woken)(struct waiter *waiter, int rc);
};

/* The abort of a plain waiter: leaves the queue, and its task is told -ECANCELED. */
void waiters_give_up(struct wait *wait);

/* For waits that are not parked in themselves, or not any more: it counts as waiting from now on. */
static inline void waiters_push(struct td_list *waiters, struct waiter *waiter)
{
    waiter->wait.since = waiter->task->sched->looked_at;
    list_push_back(waiters, &waiter->link);
}

/*
 * Parks the caller at the end of the queue. Returns what waiters_wake was given, or -ECANCELED; then it is in no
 * queue.
 */
static inline int waiters_park(struct td_list *waiters, struct td_task *self, const char *what, void *slot)
{
    struct waiter waiter;

    waiter.wait.abort = waiters_give_up;
    waiter.wait.what = what;
    waiter.task = self;
    waiter.slot = slot;
    waiter.woken = NULL;
    list_push_back(waiters, &waiter.link);
    return task_park(self, &waiter.wait);
}

/*
 * Wakes the one that waited longest and returns it; NULL when nobody waits. Its slot is good until the caller next
 * waits.
 */
static inline struct waiter *waiters_wake(struct td_list *waiters, int rc)
{
    struct td_list *link = waiters->next, *next = link->next;
    struct waiter *waiter = container_of(link, struct waiter, link);

    if (link == waiters)
        return NULL;
    waiters->next = next;
    next->prev = waiters;
    if (__builtin_expect(waiter->woken != NULL, 0)) {
        list_init(link);  /* a select takes all of its cases out of their queues, this one too */
        waiter->woken(waiter, rc);
    } else {
        task_unpark(waiter->task, rc);
    }
    return waiter;
}

/* For statistics: how many wait, and how long the first of them has, in nanoseconds. */
size_t waiters_count(const struct td_list *waiters);
td_time waiters_oldest(const struct td_list *waiters);

/* Writes "PLAIN NAME", or without a name "PLAIN"; cut where it does not fit. What dumps say of a wait, made once. */
void waiters_describe(char *text, size_t size, const char *plain, const char *name);

#endif
