/* SPDX-License-Identifier: MIT */
/* Invariant: a function has one entry at the most, in the bucket that its hash tells. */
#include "pool/estimate.h"

#include <stddef.h>

#define WEIGHT 8  /* one over that of the newest */

/* Where the bucket of a function begins. Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4). */
static size_t bucket_of(uintptr_t fn)
{
    _Static_assert(ESTIMATES_MAX / ESTIMATES_WAYS == 16, "four bits");
    return (size_t)((uint64_t)fn * UINT64_C(0x9e3779b97f4a7c15) >> 60) * ESTIMATES_WAYS;
}

static td_time moved(td_time mean, td_time newest)
{
    return mean ? mean + (newest - mean) / WEIGHT : newest;
}

void estimates_add(struct estimates *estimates, uintptr_t fn, td_time took_ns)
{
    struct estimate_entry *bucket = &estimates->entries[bucket_of(fn)], *entry = bucket;
    td_time took = took_ns < 1 ? 1 : took_ns;

    for (int i = 0; i < ESTIMATES_WAYS; i++) {
        if (bucket[i].used && bucket[i].fn == fn) {
            entry = &bucket[i];
            break;
        }
        if (bucket[i].used < entry->used)
            entry = &bucket[i];
    }
    if (!entry->used || entry->fn != fn)
        *entry = (struct estimate_entry){.fn = fn};
    entry->mean = moved(entry->mean, took);
    entry->used = ++estimates->clock;
    estimates->mean = moved(estimates->mean, took);
}

td_time estimates_of(const struct estimates *estimates, uintptr_t fn)
{
    const struct estimate_entry *bucket = &estimates->entries[bucket_of(fn)];

    for (int i = 0; i < ESTIMATES_WAYS; i++)
        if (bucket[i].used && bucket[i].fn == fn)
            return bucket[i].mean;
    return 0;
}
