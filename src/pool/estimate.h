/* SPDX-License-Identifier: MIT */
/*
 * What the jobs of each function take: an exponentially weighted mean with a weight of 1/8 for the newest, as TCP's of
 * the round trip (RFC 6298, 2.3). Eight jobs after a change it is two thirds of the way there.
 *
 * A table of 64 functions at the most, in sixteen buckets of four; in a bucket the one that was added to longest ago gives
 * way. So a look costs one hash and four comparisons, however many functions a program has; one that was pushed out is
 * unknown again.
 *
 * Pure: no clock, nothing allocated; one thread at a time. A table that is all zeros is empty.
 */
#ifndef TANDEM_POOL_ESTIMATE_H
#define TANDEM_POOL_ESTIMATE_H

#include <stdint.h>

#include "tandem/time.h"

#define ESTIMATES_MAX 64
#define ESTIMATES_WAYS 4

struct estimate_entry {
    uintptr_t fn;
    td_time mean;   /* nanoseconds, at least 1 */
    uint64_t used;  /* the table's clock when it was last added to; 0: the entry is free */
};

struct estimates {
    struct estimate_entry entries[ESTIMATES_MAX];
    uint64_t clock;  /* how many were added */
    td_time mean;    /* of all functions' jobs together, likewise weighted; 0: none yet */
};

/* A job of `fn` took so many nanoseconds; less than 1 counts as 1. */
void estimates_add(struct estimates *estimates, uintptr_t fn, td_time took_ns);

/* What a job of `fn` takes, in nanoseconds; 0 when nothing is known. */
td_time estimates_of(const struct estimates *estimates, uintptr_t fn);

#endif
