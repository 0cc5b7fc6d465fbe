/* SPDX-License-Identifier: MIT */
/*
 * Timers of a loop: an intrusive pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986), so that arming one can never
 * fail for memory. Insertion is constant time, removal logarithmic (amortised).
 */
#ifndef TANDEM_TASK_TIMERS_H
#define TANDEM_TASK_TIMERS_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/time.h"

struct timers {
    struct td_timer *first;
    struct td_timer *later;  /* armed while others fire: they wait for the next round */
    size_t count;
    unsigned round;          /* of firing: moves with every timers_fire */
    bool firing;
};

typedef void (*timer_fn)(struct td_timer *timer);

void timer_init(struct td_timer *timer, timer_fn fire);
void timers_arm(struct timers *timers, struct td_timer *timer, td_time at);    /* must not be armed */
void timers_disarm(struct timers *timers, struct td_timer *timer);            /* harmless when it is not armed */
td_time timers_next(const struct timers *timers);                             /* TD_FOREVER when there is none */

/*
 * Disarms and fires every timer due at `now`, earliest first. A timer armed by one of them for a time not after now
 * waits.
 */
void timers_fire(struct timers *timers, td_time now);

#endif
