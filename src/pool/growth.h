/* SPDX-License-Identifier: MIT */
/*
 * How many workers there should be, by the utilisation law (U = X * S / W: Lazowska et al., Quantitative System Performance,
 * 1984, chapter 3): work of W x busy workers, spread so that each is busy 70 % of its time, wants W x busy / 0.7 of them. That is
 * also the formula of Kubernetes' horizontal autoscaler, with its dead band of 10 %. At 70 % the mean wait is about a third
 * of a job at four workers (Erlang C).
 *
 * Up quickly: when they are too busy in two windows in a row, or at once when the queue's delay says overload; straight to what
 * is wanted. Down slowly: after a minute in which fewer would have done, one worker a window for as long as fewer would do.
 *
 * Pure: no clock, nothing allocated; one thread at a time.
 */
#ifndef TANDEM_POOL_GROWTH_H
#define TANDEM_POOL_GROWTH_H

#include <stdbool.h>

#include "tandem/time.h"

#define GROWTH_WINDOW_NS INT64_C(1000000000)
#define GROWTH_CALM_NS (60 * GROWTH_WINDOW_NS)
#define GROWTH_BUSY 0.7
#define GROWTH_DEAD_BAND 0.1

struct growth {
    unsigned min, max;
    unsigned hot_windows;  /* in a row, since the last change */
    td_time calm_since;    /* 0: not calm */
};

/* Less than `min` as the maximum is taken for `min`: it never changes anything then. */
void growth_init(struct growth *growth, unsigned min, unsigned max);

/*
 * A window is over. workers: how many there are, those that just start included; busy_share: what part of their time in this
 * window they were busy, 0 to 1; overloaded: as codel says. Returns by how many to change: +n, 0, or -1. The result
 * is never outside of min to max; fewer workers than min are made up for at once.
 */
int growth_window(struct growth *growth, td_time now, unsigned workers, double busy_share, bool overloaded);

#endif
