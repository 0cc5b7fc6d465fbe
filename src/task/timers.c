/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. In the heap no timer is earlier than its parent; `prev` of a first child is its parent, of any other
 * child the sibling before it, of the root NULL. 2. A timer in the wheel is due in tick `base` or later; it lies on the
 * level of the highest six-bit digit in which its tick differs from `base`, in the bucket of that digit. So the
 * lowest level that has timers holds the earliest. 3. `count` timers lie in heap, wheel and `later`; in `later` those
 * armed in this round of firing, and none between rounds.
 */
#include "task/timers.h"

#include <assert.h>
#include <string.h>

#define TICK_BITS 17   /* 131 microseconds: what one bucket brings to the heap at once */
#define DIGIT_BITS 6
#define DIGIT_MASK (TIMER_SLOTS - 1)
#define LOOK_THROUGH 8 /* timers of a bucket, for the exact time of the earliest */

enum { IN_HEAP = TIMER_LEVELS, IN_LATER };

static uint64_t tick_of(td_time at)
{
    return at > 0 ? (uint64_t)at >> TICK_BITS : 0;
}

void timers_init(struct timers *timers, td_time now)
{
    memset(timers, 0, sizeof *timers);
    timers->base = tick_of(now);
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

static struct td_timer *heap_remove(struct td_timer *root, struct td_timer *timer)
{
    struct td_timer *rest = meld_siblings(timer->child);

    if (timer == root)
        return rest;
    if (timer->prev->child == timer)
        timer->prev->child = timer->next;
    else
        timer->prev->next = timer->next;
    if (timer->next)
        timer->next->prev = timer->prev;
    return meld(root, rest);
}

/* Invariant 2. */
static void place(struct timers *timers, struct td_timer *timer)
{
    uint64_t tick = tick_of(timer->at), differs = tick ^ timers->base;
    struct td_timer **bucket;

    timer->child = timer->next = timer->prev = NULL;
    if (tick < timers->base) {
        timer->level = IN_HEAP;
        timers->near = meld(timers->near, timer);
        return;
    }
    timer->level = (unsigned char)(differs ? (unsigned)(63 - __builtin_clzll(differs)) / DIGIT_BITS : 0);
    timer->slot = (unsigned char)(tick >> (timer->level * DIGIT_BITS) & DIGIT_MASK);
    bucket = &timers->bucket[timer->level][timer->slot];
    timer->next = *bucket;
    if (*bucket)
        (*bucket)->prev = timer;
    *bucket = timer;
    timers->taken[timer->level] |= 1ull << timer->slot;
}

static struct td_timer *take_bucket(struct timers *timers, unsigned level, unsigned slot)
{
    struct td_timer *first = timers->bucket[level][slot];

    timers->bucket[level][slot] = NULL;
    timers->taken[level] &= ~(1ull << slot);
    return first;
}

/* Puts a bucket's timers where invariant 2 wants them, now that `base` has moved. */
static void place_all(struct timers *timers, struct td_timer *timer)
{
    while (timer) {
        struct td_timer *next = timer->next;

        __builtin_prefetch(next);  /* it lies on another stack's page, as a rule */
        place(timers, timer);
        timer = next;
    }
}

/* Moves `base` to a tick before which the wheel has nothing. */
static void advance(struct timers *timers, uint64_t base)
{
    uint64_t differs = base ^ timers->base;

    timers->base = base;
    if (!differs)
        return;
    for (int level = (63 - __builtin_clzll(differs)) / DIGIT_BITS; level >= 0; level--) {
        unsigned slot = (unsigned)(base >> (level * DIGIT_BITS)) & DIGIT_MASK;

        if (level > 0 && (timers->taken[level] >> slot & 1))
            place_all(timers, take_bucket(timers, (unsigned)level, slot));
    }
}

/* The earliest bucket: its level, or -1 when the wheel is empty. */
static int earliest(const struct timers *timers, unsigned *slot)
{
    for (int level = 0; level < TIMER_LEVELS; level++)
        if (timers->taken[level]) {
            *slot = (unsigned)__builtin_ctzll(timers->taken[level]);
            return level;
        }
    return -1;
}

/* The first tick of a bucket. */
static uint64_t begins(const struct timers *timers, int level, unsigned slot)
{
    unsigned below = (unsigned)level * DIGIT_BITS;
    uint64_t above = below + DIGIT_BITS < 64 ? timers->base >> (below + DIGIT_BITS) << (below + DIGIT_BITS) : 0;

    return above | (uint64_t)slot << below;
}

/* Brings every timer due in tick `now` or before to the heap. */
static void bring_near(struct timers *timers, uint64_t now)
{
    unsigned slot;
    int level;

    while ((level = earliest(timers, &slot)) >= 0) {
        uint64_t first = begins(timers, level, slot);

        if (first > now)
            break;
        if (level == 0) {
            struct td_timer *due = take_bucket(timers, 0, slot);

            advance(timers, first + 1);
            place_all(timers, due);
        } else {
            advance(timers, first);
        }
    }
    if (now >= timers->base)
        advance(timers, now + 1);
}

void timers_arm(struct timers *timers, struct td_timer *timer, td_time at)
{
    assert(!timer->armed && timer->fire);
    timer->at = at;
    timer->armed = 1;
    timer->round = timers->round;
    timers->count++;
    if (timers->firing) {
        timer->child = timer->next = timer->prev = NULL;
        timer->level = IN_LATER;
        timers->later = meld(timers->later, timer);
    } else {
        place(timers, timer);
    }
}

static void wheel_remove(struct timers *timers, struct td_timer *timer)
{
    if (timer->next)
        timer->next->prev = timer->prev;
    if (timer->prev) {
        timer->prev->next = timer->next;
        return;
    }
    timers->bucket[timer->level][timer->slot] = timer->next;
    if (!timer->next)
        timers->taken[timer->level] &= ~(1ull << timer->slot);
}

void timers_remove(struct timers *timers, struct td_timer *timer)
{
    if (timer->level == IN_HEAP)
        timers->near = heap_remove(timers->near, timer);
    else if (timer->level == IN_LATER)
        timers->later = heap_remove(timers->later, timer);
    else
        wheel_remove(timers, timer);
    timer->child = timer->next = timer->prev = NULL;
    timer->armed = 0;
    timers->count--;
}

td_time timers_next(const struct timers *timers)
{
    const struct td_timer *timer;
    td_time first = TD_FOREVER;
    unsigned slot;
    int level, seen = 0;

    if (timers->near)
        return timers->near->at;
    level = earliest(timers, &slot);
    if (level < 0)
        return TD_FOREVER;
    for (timer = timers->bucket[level][slot]; timer && seen < LOOK_THROUGH; timer = timer->next, seen++)
        first = timer->at < first ? timer->at : first;
    return timer ? (td_time)(begins(timers, level, slot) << TICK_BITS) : first;
}

void timers_fire(struct timers *timers, td_time now)
{
    struct td_timer *later;

    if (timers->count == 0) {
        timers->base = tick_of(now) + 1;
        return;
    }
    bring_near(timers, tick_of(now));
    timers->round++;
    timers->firing = true;
    while (timers->near && timers->near->at <= now) {
        struct td_timer *timer = timers->near;

        timers_remove(timers, timer);
        timer->fire(timer);
    }
    timers->firing = false;
    while ((later = timers->later)) {
        timers->later = heap_remove(later, later);
        place(timers, later);
    }
}
