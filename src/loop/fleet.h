/* SPDX-License-Identifier: MIT */
/*
 * The loops of one td_run, and what they know of each other: who still runs, who only waits for the others, and that
 * the failure of one ends them all.
 *
 * A loop may have nothing to do but wait for an item or for room in a mailbox. That is no deadlock while somebody is left
 * who could end the wait. The rule, judged under the mutex by whoever is the last to change what it asks for: the fleet
 * is deadlocked when each of its running loops waits in mailboxes only (no ready task, no timer, no operation and no job
 * under way), no note is on its way to any of them, and no outsider holds a mailbox (td_mailbox_retain). Then every
 * one of them ends its waits, and td_run returns -EDEADLK. A loop whose tasks all wait for something else has a
 * deadlock of its own at once: no other loop could help it.
 */
#ifndef TANDEM_LOOP_FLEET_H
#define TANDEM_LOOP_FLEET_H

#include <pthread.h>

#include "loop/loop.h"

struct fleet {
    pthread_mutex_t mutex;     /* guards all below, and `waits_for_others` of each loop */
    struct loop **loops;
    unsigned count;            /* of loops */
    unsigned running, waiting; /* loops in loop_run; and of them, those that wait for others only */
    size_t outsiders;          /* references to mailboxes besides those of their receivers */
    int failure;               /* the first of any loop; 0 while there is none */
};

/* `loops` has room for `count` pointers and belongs to the caller. All of them count as running. */
void fleet_init(struct fleet *fleet, struct loop **loops, unsigned count);
void fleet_destroy(struct fleet *fleet);

/* Makes an open loop one of the fleet's. */
void fleet_enlist(struct fleet *fleet, struct loop *loop, unsigned index);

/* The loop has run, and this is what it returned. The first failure cancels the other loops. Called on the loop's thread. */
void fleet_leave(struct loop *loop, int rc);

/* Cancels all loops, gently: clean-up in shielded scopes has its grace time. Any thread. */
void fleet_cancel(struct fleet *fleet);

/* Counts references to mailboxes. Any thread. */
void fleet_outsiders(struct fleet *fleet, int more);

/*
 * The loop has nothing to wait for but mailboxes, if that. True: somebody else may still wake it. False: it is
 * deadlocked; where the others are too, they have been told.
 */
bool fleet_may_wake(struct loop *loop);

/* The loop goes on: called before it takes its notes. */
void fleet_woken(struct loop *loop);

#endif
