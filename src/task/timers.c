/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. In the heap no timer is earlier than its parent; `prev` of a first child is its parent, of any other
 * child the sibling before it, of the root NULL. 2. A timer in the wheel is due in tick `base` or later; it lies on the
 * level of the highest digit in which its tick differs from `base`, in the bucket of that digit. So the first
 * bucket that has timers holds the earliest. 3. `count` timers lie in heap, wheel and `later`; in `later` those
 * armed in this round of firing, and none between rounds.
 */
#include "task/timers.h"

#include <assert.h>
#include <string.h>

#define TICK_BITS 17   /* 131 microseconds: what one bucket brings to the heap at once */
#define LOOK_THROUGH 8 /* timers of a bucket, for the exact time of the earliest */

enum { IN_HEAP = TIMER_LEVELS, IN_LATER };

/* The ticks' digits: the lowest has TIMER_SOON_BITS bits, each further one TIMER_BITS. */
static unsigned shift_of(int level)
{
    return level == 0 ? 0 : TIMER_SOON_BITS + (unsigned)(level - 1) * TIMER_BITS;
}

static unsigned bucket_of(uint64_t tick, int level)
{
    if (level == 0)
        return (unsigned)(tick & ((1 << TIMER_SOON_BITS) - 1));
    return (1 << TIMER_SOON_BITS) + (unsigned)(level - 1) * (1 << TIMER_BITS) +
           (unsigned)(tick >> shift_of(level) & ((1 << TIMER_BITS) - 1));
}

static int highest_digit(uint64_t differs)
{
    int bit = differs ? 63 - __builtin_clzll(differs) : 0;
    int level = bit < TIMER_SOON_BITS ? 0 : 1 + (bit - TIMER_SOON_BITS) / TIMER_BITS;

    return level < TIMER_LEVELS ? level : TIMER_LEVELS - 1;  /* past the end of time `base` has a bit more */
}

static void mark_taken(struct timers *timers, unsigned bucket)
{
    timers->taken[bucket / 64] |= 1ull << bucket % 64;
    timers->words[bucket / 4096] |= 1ull << bucket / 64 % 64;
}

static void mark_empty(struct timers *timers, unsigned bucket)
{
    timers->taken[bucket / 64] &= ~(1ull << bucket % 64);
    if (!timers->taken[bucket / 64])
        timers->words[bucket / 4096] &= ~(1ull << bucket / 64 % 64);
}

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
    uint64_t tick = tick_of(timer->at);
    struct td_timer **bucket;
    int level;

    timer->child = timer->next = timer->prev = NULL;
    if (tick < timers->base) {
        timer->level = IN_HEAP;
        timers->near = meld(timers->near, timer);
        return;
    }
    level = highest_digit(tick ^ timers->base);
    timer->level = (unsigned char)level;
    timer->bucket = (unsigned short)bucket_of(tick, level);
    bucket = &timers->bucket[timer->bucket];
    timer->next = *bucket;
    if (*bucket)
        (*bucket)->prev = timer;
    *bucket = timer;
    mark_taken(timers, timer->bucket);
}

static struct td_timer *take_bucket(struct timers *timers, unsigned bucket)
{
    struct td_timer *first = timers->bucket[bucket];

    timers->bucket[bucket] = NULL;
    mark_empty(timers, bucket);
    return first;
}

/* Puts a bucket's timers where invariant 2 wants them, now that `base` has moved. */
static void place_all(struct timers *timers, struct td_timer *timer)
{
    while (timer) {
        struct td_timer *next = timer->next;

        place(timers, timer);
        timer = next;
    }
}

/* Moves `base` to a tick before which the wheel has nothing. */
static void advance(struct timers *timers, uint64_t base)
{
    uint64_t differs = base ^ timers->base;

    timers->base = base;
    for (int level = highest_digit(differs); level > 0; level--) {
        unsigned bucket = bucket_of(base, level);

        if (timers->bucket[bucket])
            place_all(timers, take_bucket(timers, bucket));
    }
}

/* The earliest bucket, or -1 when the wheel is empty; and its first tick. The buckets are in order by invariant 2. */
static int earliest(const struct timers *timers, uint64_t *begins)
{
    for (unsigned i = 0; i < sizeof timers->words / sizeof *timers->words; i++)
        if (timers->words[i]) {
            unsigned word = i * 64 + (unsigned)__builtin_ctzll(timers->words[i]);
            unsigned bucket = word * 64 + (unsigned)__builtin_ctzll(timers->taken[word]);
            int level = timers->bucket[bucket]->level;
            unsigned above = shift_of(level + 1);

            *begins = (uint64_t)(bucket - bucket_of(0, level)) << shift_of(level) |
                      (above < 64 ? timers->base >> above << above : 0);
            return (int)bucket;
        }
    return -1;
}

/* Brings every timer due in tick `now` or before to the heap. */
static void bring_near(struct timers *timers, uint64_t now)
{
    uint64_t first;
    int bucket;

    while ((bucket = earliest(timers, &first)) >= 0 && first <= now) {
        if (bucket < 1 << TIMER_SOON_BITS) {
            struct td_timer *due = take_bucket(timers, (unsigned)bucket);

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
    timers->bucket[timer->bucket] = timer->next;
    if (!timer->next)
        mark_empty(timers, timer->bucket);
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
    uint64_t begins;
    int bucket, seen = 0;

    if (timers->near)
        return timers->near->at;
    bucket = earliest(timers, &begins);
    if (bucket < 0)
        return TD_FOREVER;
    for (timer = timers->bucket[bucket]; timer && seen < LOOK_THROUGH; timer = timer->next, seen++)
        first = timer->at < first ? timer->at : first;
    return timer ? (td_time)(begins << TICK_BITS) : first;
}

bool timers_fire(struct timers *timers, td_time now)
{
    struct td_timer *later;
    bool any = false;

    if (timers->count == 0) {
        timers->base = tick_of(now) + 1;
        return false;
    }
    bring_near(timers, tick_of(now));
    timers->round++;
    timers->firing = true;
    while (timers->near && timers->near->at <= now) {
        struct td_timer *timer = timers->near;

        timers_remove(timers, timer);
        timer->fire(timer);
        any = true;
    }
    timers->firing = false;
    while ((later = timers->later)) {
        timers->later = heap_remove(later, later);
        place(timers, later);
    }
    return any;
}
