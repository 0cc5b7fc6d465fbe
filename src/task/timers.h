/* SPDX-License-Identifier: MIT */
/*
 * Timers of a loop, intrusive, so that arming one can never fail for memory.
 *
 * Those due soon lie in a pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986), which keeps the exact order. The others
 * lie in the buckets of a hierarchical wheel (Varghese and Lauck 1987, scheme 7), where arming and disarming cost a few
 * stores however many there are; a bucket is emptied towards the heap when its time comes near. A deadline that is
 * disarmed long before it is due, which most are, never sees the heap; and a sleep of up to two seconds is touched
 * once, when it is due.
 */
#ifndef TANDEM_TASK_TIMERS_H
#define TANDEM_TASK_TIMERS_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/time.h"

#define TIMER_SOON_BITS 14   /* of the first level's slots: 2.1 seconds */
#define TIMER_BITS 8         /* of the other levels' */
#define TIMER_LEVELS 5
#define TIMER_BUCKETS ((1 << TIMER_SOON_BITS) + (TIMER_LEVELS - 1) * (1 << TIMER_BITS))

struct timers {
    struct td_timer *near;   /* due before tick `base`: the heap */
    struct td_timer *later;  /* armed while others fire: they wait for the next round */
    uint64_t base;           /* in ticks: the first that the wheel may hold */
    uint64_t words[TIMER_BUCKETS / 4096 + 1]; /* a bit for each word of `taken` that is not 0 */
    uint64_t taken[TIMER_BUCKETS / 64];       /* a bit for each bucket that is not empty */
    struct td_timer *bucket[TIMER_BUCKETS];   /* those of the first level, then of the others */
    size_t count;
    unsigned round;          /* of firing: moves with every timers_fire */
    bool firing;
};

typedef void (*timer_fn)(struct td_timer *timer);

void timers_init(struct timers *timers, td_time now);
void timers_arm(struct timers *timers, struct td_timer *timer, td_time at);    /* must not be armed */
void timers_remove(struct timers *timers, struct td_timer *timer);            /* must be armed */

static inline void timer_init(struct td_timer *timer, timer_fn fire)
{
    timer->fire = fire;
    timer->armed = 0;
}

/* Harmless when it is not armed. */
static inline void timers_disarm(struct timers *timers, struct td_timer *timer)
{
    if (timer->armed)
        timers_remove(timers, timer);
}

/*
 * When to look again: the earliest timer's time, or, where finding that would mean looking through many, a little before
 * it. TD_FOREVER when there is none.
 */
td_time timers_next(const struct timers *timers);

/*
 * Disarms and fires every timer due at `now`, earliest first. A timer armed by one of them for a time not after now
 * waits. Returns whether there were any.
 */
bool timers_fire(struct timers *timers, td_time now);

#endif
