/* SPDX-License-Identifier: MIT */
/*
 * A histogram of durations: eight buckets a doubling, so that a percentile is within 6.25 % of the truth, from 1 ns to an hour.
 *
 * Durations below 16 ns have a bucket each. Above, the bucket is told by the highest bit and the three below it: one of
 * [2^k, 2^k + 2^(k-3)) is as wide as an eighth of its least, and its middle is off by half of that at the most. The last
 * bucket begins at 69 minutes and holds whatever is longer.
 *
 * A histogram that is all zeros is empty. It has no memory of its own, is copied by assignment, and its counts only grow: what
 * came between two looks is the difference, bucket by bucket.
 */
#ifndef TANDEM_HISTOGRAM_H
#define TANDEM_HISTOGRAM_H

#include <stdint.h>

#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TD_HISTOGRAM_BUCKETS 320

typedef struct td_histogram {
    uint64_t count;
    td_time sum_ns, max_ns;  /* the sum is TD_FOREVER at most */
    uint64_t buckets[TD_HISTOGRAM_BUCKETS];
} td_histogram;

/* Adds a duration; a negative one counts as 0.  Thread: whoever owns the histogram; none of these locks or waits. */
void td_histogram_add(td_histogram *histogram, td_time ns);

/*
 * The duration that `share` (0 to 1) of all were not longer than: the middle of its bucket, at most the longest; 0 when
 * empty. The longest itself for a share of 1, and for all that lies in the last bucket.
 */
td_time td_histogram_quantile(const td_histogram *histogram, double share);

/* The longest duration that bucket `index` holds, TD_FOREVER for the last; for exports with cumulative buckets. */
td_time td_histogram_bound(unsigned index);

/* Adds all of `from` to `to`. */
void td_histogram_merge(td_histogram *to, const td_histogram *from);

#ifdef __cplusplus
}
#endif
#endif
