/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. `waiting` counts the loops with waits_for_others. 2. A loop clears its waits_for_others before it takes
 * its notes. So a loop that is seen with the flag and without notes has acted on all that was sent to it, and what it sent
 * itself lies with the others, or was acted on.
 */
#include "loop/fleet.h"

#include <stdio.h>

void fleet_init(struct fleet *fleet, struct loop **loops, unsigned count)
{
    *fleet = (struct fleet){.loops = loops, .count = count, .running = count};
    pthread_mutex_init(&fleet->mutex, NULL);
}

void fleet_destroy(struct fleet *fleet)
{
    pthread_mutex_destroy(&fleet->mutex);
}

static bool is_stuck(const struct fleet *fleet)
{
    if (fleet->waiting < fleet->running || fleet->outsiders > 0)
        return false;
    for (unsigned i = 0; i < fleet->count; i++)
        if (fleet->loops[i]->waits_for_others && atomic_load(&fleet->loops[i]->notes))
            return false;
    return true;
}

/* Has a waiting loop judge again: it is on its own thread that a loop declares a deadlock. */
static void judge_again(const struct fleet *fleet)
{
    if (fleet->running == 0 || !is_stuck(fleet))
        return;
    for (unsigned i = 0; i < fleet->count; i++) {
        if (fleet->loops[i]->waits_for_others) {
            loop_order(fleet->loops[i], LOOP_JUDGE);
            return;
        }
    }
}

void fleet_enlist(struct fleet *fleet, struct loop *loop, unsigned index)
{
    fleet->loops[index] = loop;
    loop->fleet = fleet;
    loop->index = index;
    if (fleet->count > 1)
        snprintf(loop->name, sizeof loop->name, "loop %u", index);
}

static void order_all(const struct fleet *fleet, unsigned order)
{
    for (unsigned i = 0; i < fleet->count; i++)
        loop_order(fleet->loops[i], order);
}

void fleet_leave(struct loop *loop, int rc)
{
    struct fleet *fleet = loop->fleet;

    fleet_woken(loop);
    pthread_mutex_lock(&fleet->mutex);
    fleet->running--;
    if (rc < 0 && !fleet->failure) {
        fleet->failure = rc;
        if (fleet->count > 1)
            order_all(fleet, LOOP_CANCEL);
    }
    judge_again(fleet);
    pthread_mutex_unlock(&fleet->mutex);
}

void fleet_cancel(struct fleet *fleet)
{
    order_all(fleet, LOOP_CANCEL);
}

void fleet_outsiders(struct fleet *fleet, int more)
{
    pthread_mutex_lock(&fleet->mutex);
    fleet->outsiders += (size_t)more;
    judge_again(fleet);
    pthread_mutex_unlock(&fleet->mutex);
}

bool fleet_may_wake(struct loop *loop)
{
    struct fleet *fleet = loop->fleet;
    bool stuck;

    if (loop->mailbox_waits == 0 || !fleet)
        return false;
    pthread_mutex_lock(&fleet->mutex);
    if (!loop->waits_for_others)
        fleet->waiting++;
    loop->waits_for_others = true;
    stuck = is_stuck(fleet);
    if (stuck) {
        loop->waits_for_others = false;
        fleet->waiting--;
        for (unsigned i = 0; i < fleet->count; i++)
            if (fleet->loops[i]->waits_for_others)
                loop_order(fleet->loops[i], LOOP_DEADLOCK);
    }
    pthread_mutex_unlock(&fleet->mutex);
    return !stuck;
}

void fleet_woken(struct loop *loop)
{
    struct fleet *fleet = loop->fleet;

    if (!loop->waits_for_others)  /* only this thread writes it */
        return;
    pthread_mutex_lock(&fleet->mutex);
    loop->waits_for_others = false;
    fleet->waiting--;
    pthread_mutex_unlock(&fleet->mutex);
}
