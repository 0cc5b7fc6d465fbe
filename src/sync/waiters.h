/* SPDX-License-Identifier: MIT */
/*
 * The fair, cancellable queue of waiting tasks under every primitive of this room.
 */
#ifndef TANDEM_SYNC_WAITERS_H
#define TANDEM_SYNC_WAITERS_H

#include "task/task.h"

struct waiter {
    struct td_list link;
    struct wait wait;
    struct td_task *task;
    void *slot;  /* what the waker fills or empties; the primitive's */
};

/*
 * Parks the caller at the end of the queue. Returns what waiters_wake was given, or -ECANCELED; then it is in no
 * queue.
 */
int waiters_park(struct td_list *waiters, struct td_task *self, const char *what, void *slot);

/*
 * Wakes the one that waited longest and returns it; NULL when nobody waits. Its slot is good until the caller next
 * waits.
 */
struct waiter *waiters_wake(struct td_list *waiters, int rc);

#endif
