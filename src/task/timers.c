/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. No timer is earlier than its parent. 2. `prev` of a first child is its parent, of any other child
 * the sibling before it, of the root NULL. 3. `count` timers are reachable from `first`
 * and `later`; from `later` those armed in this round of firing, and none between rounds.
 */
#include "task/timers.h"

#include <assert.h>

void timer_init(struct td_timer *timer, timer_fn fire)
{
    *timer = (struct td_timer){.fire = fire};
}

static struct td_timer *meld(struct td_timer *a, struct td_timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->at < a->at) {
        struct td_timer *swap = a;

        a = b;
        b = swap;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child)
        a->child->prev = b;
    a->child = b;
    return a;
}

/* Melds the siblings by pairs from the left, then the pairs from the right: what makes removal logarithmic. */
static struct td_timer *meld_siblings(struct td_timer *first)
{
    struct td_timer *pairs = NULL, *root = NULL;

    while (first) {
        struct td_timer *a = first, *b = a->next;

        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b)
            b->next = b->prev = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct td_timer *next = pairs->next;

        pairs->next = NULL;
        root = meld(root, pairs);
        pairs = next;
    }
    return root;
}

void timers_arm(struct timers *timers, struct td_timer *timer, td_time at)
{
    assert(!timer->armed && timer->fire);
    timer->at = at;
    timer->child = timer->next = timer->prev = NULL;
    timer->armed = 1;
    timer->round = timers->round;
    if (timers->firing)
        timers->later = meld(timers->later, timer);
    else
        timers->first = meld(timers->first, timer);
    timers->count++;
}

void timers_disarm(struct timers *timers, struct td_timer *timer)
{
    struct td_timer **root, *rest;

    if (!timer->armed)
        return;
    root = timers->firing && timer->round == timers->round ? &timers->later : &timers->first;
    rest = meld_siblings(timer->child);
    if (timer == *root) {
        *root = rest;
    } else {
        if (timer->prev->child == timer)
            timer->prev->child = timer->next;
        else
            timer->prev->next = timer->next;
        if (timer->next)
            timer->next->prev = timer->prev;
        *root = meld(*root, rest);
    }
    timer->child = timer->next = timer->prev = NULL;
    timer->armed = 0;
    timers->count--;
    assert((timers->count == 0) == (!timers->first && !timers->later));
}

td_time timers_next(const struct timers *timers)
{
    return timers->first ? timers->first->at : TD_FOREVER;
}

void timers_fire(struct timers *timers, td_time now)
{
    timers->round++;
    timers->firing = true;
    while (timers->first && timers->first->at <= now) {
        struct td_timer *timer = timers->first;

        timers_disarm(timers, timer);
        timer->fire(timer);
    }
    timers->firing = false;
    timers->first = meld(timers->first, timers->later);
    timers->later = NULL;
}
