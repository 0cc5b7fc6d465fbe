/* SPDX-License-Identifier: MIT */
/*
 * Invariant: count is the sum of all buckets; bucket i holds the durations in (bound(i - 1), bound(i)].
 *
 * The buckets are those of a floating-point number with three bits behind the point, the first sixteen exact.
 */
#include "tandem/histogram.h"

#define BITS 3                                /* below the highest one, which tell buckets of one doubling apart */
#define LAST (TD_HISTOGRAM_BUCKETS - 1)
#define TOP ((INT64_C(1) << 42) - 1)          /* the longest duration with a bucket of its own kind */

static unsigned bucket_of(uint64_t ns)
{
    unsigned shift = 63 - BITS - (unsigned)__builtin_clzll(ns | 1u << BITS);

    return (shift << BITS) + (unsigned)(ns >> shift);
}

_Static_assert(TD_HISTOGRAM_BUCKETS == ((41 - BITS) << BITS) + (2 << BITS), "TOP is in the last bucket");

/* The longest in a bucket that is not the last: one less than where the next begins. */
static td_time end_of(unsigned index)
{
    unsigned next = index + 1;

    if (next < 2u << BITS)
        return index;
    return ((td_time)((next & 7) | 8) << ((next >> BITS) - 1)) - 1;
}

static td_time add_saturated(td_time a, td_time b)
{
    td_time sum;

    return __builtin_add_overflow(a, b, &sum) ? TD_FOREVER : sum;
}

void td_histogram_add(td_histogram *histogram, td_time ns)
{
    td_time counted = ns < 0 ? 0 : ns;

    histogram->buckets[bucket_of((uint64_t)(counted > TOP ? TOP : counted))]++;
    histogram->count++;
    histogram->sum_ns = add_saturated(histogram->sum_ns, counted);
    if (counted > histogram->max_ns)
        histogram->max_ns = counted;
}

/* How many durations are to be counted off until the one asked for is among them: 1 to all. */
static uint64_t rank_of(const td_histogram *histogram, double share)
{
    double exact = share * (double)histogram->count;
    uint64_t rank;

    if (!(exact > 1))  /* a share that is no number, too */
        return 1;
    rank = exact < 0x1p63 ? (uint64_t)exact : histogram->count;
    rank += (double)rank < exact;
    return rank < histogram->count ? rank : histogram->count;
}

td_time td_histogram_quantile(const td_histogram *histogram, double share)
{
    uint64_t rank, seen = 0;
    unsigned index = 0;
    td_time least, middle;

    if (!histogram->count || share >= 1)
        return histogram->max_ns;
    rank = rank_of(histogram, share);
    while (index < LAST && (seen += histogram->buckets[index]) < rank)
        index++;
    if (index == LAST)
        return histogram->max_ns;
    least = index ? end_of(index - 1) + 1 : 0;
    middle = least + (end_of(index) - least) / 2;
    return middle < histogram->max_ns ? middle : histogram->max_ns;
}

td_time td_histogram_bound(unsigned index)
{
    return index < LAST ? end_of(index) : TD_FOREVER;
}

void td_histogram_merge(td_histogram *to, const td_histogram *from)
{
    for (unsigned i = 0; i < TD_HISTOGRAM_BUCKETS; i++)
        to->buckets[i] += from->buckets[i];
    to->count += from->count;
    to->sum_ns = add_saturated(to->sum_ns, from->sum_ns);
    if (from->max_ns > to->max_ns)
        to->max_ns = from->max_ns;
}
