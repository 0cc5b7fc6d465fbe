/* SPDX-License-Identifier: MIT */
#include "pool/growth.h"

#define HOT_WINDOWS 2
#define ROUNDING 1e-9  /* 7 x 0.3 / 0.7 is 3, and not 4 for the sake of the last bit */

void growth_init(struct growth *growth, unsigned min, unsigned max)
{
    *growth = (struct growth){.min = min, .max = max < min ? min : max};
}

/* How many workers this much work wants: as many as there are, inside the dead band. */
static unsigned wanted(unsigned workers, double busy_share)
{
    double busy = busy_share > 0 ? busy_share : 0;  /* 0 also for what is no number */
    double ratio = (busy < 1 ? busy : 1) / GROWTH_BUSY, off = ratio - 1, exact = workers * ratio - ROUNDING;
    unsigned whole = exact > 0 ? (unsigned)exact : 0;

    if (off <= GROWTH_DEAD_BAND + ROUNDING && off >= -GROWTH_DEAD_BAND - ROUNDING)
        return workers;
    return whole + (exact > whole);
}

/* To `want`, one at least, and no more than there may be. */
static int up(struct growth *growth, unsigned workers, unsigned want)
{
    unsigned to = want > workers ? want : workers + 1;

    growth->hot_windows = 0;
    growth->calm_since = 0;
    if (to > growth->max)
        to = growth->max;
    return to > workers ? (int)(to - workers) : 0;
}

static int down(struct growth *growth, td_time now, unsigned workers)
{
    growth->hot_windows = 0;
    if (!growth->calm_since)
        growth->calm_since = now > 0 ? now : 1;
    if (now - growth->calm_since < GROWTH_CALM_NS)
        return 0;
    return workers > growth->min ? -1 : 0;
}

int growth_window(struct growth *growth, td_time now, unsigned workers, double busy_share, bool overloaded)
{
    unsigned want = wanted(workers, busy_share);

    if (workers < growth->min)
        return up(growth, workers, growth->min);
    if (overloaded)
        return up(growth, workers, want);
    if (want < workers)
        return down(growth, now, workers);
    growth->calm_since = 0;
    growth->hot_windows = want > workers ? growth->hot_windows + 1 : 0;
    return growth->hot_windows >= HOT_WINDOWS ? up(growth, workers, want) : 0;
}
