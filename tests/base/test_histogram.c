/* SPDX-License-Identifier: MIT */
/* Histograms of durations: which bucket holds what, and how near a percentile is to the truth. */
#include <limits.h>

#include "run/harness.h"

#include "base/dice.h"

#define SAMPLES 20000

static unsigned bucket_holding(td_time ns)
{
    td_histogram histogram = {0};

    td_histogram_add(&histogram, ns);
    for (unsigned i = 0; i < TD_HISTOGRAM_BUCKETS; i++)
        if (histogram.buckets[i])
            return i;
    fail();
    return 0;
}

/* What the bounds say is what td_histogram_add does, on both sides of each of them. */
static void each_bucket_ends_where_its_bound_says(void **state)
{
    td_time last = -1;

    for (unsigned i = 0; i + 1 < TD_HISTOGRAM_BUCKETS; i++) {
        td_time bound = td_histogram_bound(i);

        assert_true(bound > last);
        assert_int_equal(bucket_holding(last + 1), i);
        assert_int_equal(bucket_holding(bound), i);
        assert_true(last + 1 < 16 ? bound == last + 1 : (bound - last) * 8 <= last + 1);
        last = bound;
    }
    assert_int_equal(bucket_holding(last + 1), TD_HISTOGRAM_BUCKETS - 1);
}

/* The header's promise: up to an hour each bucket is as narrow as it should be; the rest has the last one. */
static void an_hour_has_a_bucket_and_more_has_the_last(void **state)
{
    assert_true(bucket_holding(td_sec(3600)) < TD_HISTOGRAM_BUCKETS - 1);
    assert_int_equal(bucket_holding(td_sec(70 * 60)), TD_HISTOGRAM_BUCKETS - 1);
    assert_int_equal(bucket_holding(TD_FOREVER), TD_HISTOGRAM_BUCKETS - 1);
    assert_true(td_histogram_bound(TD_HISTOGRAM_BUCKETS - 1) == TD_FOREVER);
    assert_true(td_histogram_bound(TD_HISTOGRAM_BUCKETS) == TD_FOREVER && td_histogram_bound(UINT_MAX) == TD_FOREVER);
}

static void what_is_odd_is_counted_all_the_same(void **state)
{
    td_histogram histogram = {0};

    assert_true(td_histogram_quantile(&histogram, 0.5) == 0 && td_histogram_quantile(&histogram, 1) == 0);
    td_histogram_add(&histogram, -5);
    td_histogram_add(&histogram, INT64_MIN);
    assert_true(histogram.count == 2 && histogram.buckets[0] == 2 && histogram.sum_ns == 0 && histogram.max_ns == 0);
    td_histogram_add(&histogram, TD_FOREVER);
    td_histogram_add(&histogram, TD_FOREVER);
    assert_true(histogram.sum_ns == TD_FOREVER && histogram.max_ns == TD_FOREVER);
    assert_true(td_histogram_quantile(&histogram, 0.5) == 0);
    assert_true(td_histogram_quantile(&histogram, 0.51) == TD_FOREVER);
}

static void a_share_out_of_range_is_the_nearest_in_it(void **state)
{
    td_histogram histogram = {0};

    for (td_time ns = 1; ns <= 10; ns++)
        td_histogram_add(&histogram, ns);
    assert_true(td_histogram_quantile(&histogram, 0) == 1 && td_histogram_quantile(&histogram, -1) == 1);
    assert_true(td_histogram_quantile(&histogram, 1) == 10 && td_histogram_quantile(&histogram, 7) == 10);
    assert_true(td_histogram_quantile(&histogram, __builtin_nan("")) == 1);
    assert_true(td_histogram_quantile(&histogram, 0.5) == 5 && td_histogram_quantile(&histogram, 0.51) == 6);
}

/* No percentile is beyond the longest, though the middle of its bucket may be. */
static void a_lone_duration_is_never_exceeded(void **state)
{
    for (td_time ns = 1; ns < td_sec(5000); ns += ns / 3 + 1) {
        td_histogram histogram = {0};
        td_time half;

        td_histogram_add(&histogram, ns);
        half = td_histogram_quantile(&histogram, 0.5);
        assert_true(half <= ns && (ns - half) * 16 <= ns);
        assert_true(td_histogram_quantile(&histogram, 1) == ns);
    }
}

static int by_size(const void *a, const void *b)
{
    td_time left = *(const td_time *)a, right = *(const td_time *)b;

    return (left > right) - (left < right);
}

/* From 1 ns to an hour, as often in every doubling: what a skewed load looks like. */
static td_time any_duration(struct dice *dice)
{
    td_time ns = (td_time)(dice_next(dice) >> 1 >> dice_below(dice, 62));

    return ns % td_sec(3600);
}

/* The model: the samples sorted. The law: within 6.25 % (1/16) of the exact percentile, for every share. */
static void a_percentile_is_within_a_sixteenth(void **state)
{
    td_time *samples = calloc(SAMPLES, sizeof *samples), sum = 0;
    td_histogram histogram = {0};
    struct dice dice;

    assert_non_null(samples);
    dice_seed(&dice, 118, 0);
    for (int i = 0; i < SAMPLES; i++) {
        samples[i] = any_duration(&dice);
        sum += samples[i];
        td_histogram_add(&histogram, samples[i]);
    }
    qsort(samples, SAMPLES, sizeof *samples, by_size);
    assert_true(histogram.count == SAMPLES && histogram.sum_ns == sum && histogram.max_ns == samples[SAMPLES - 1]);
    for (int rank = 1; rank <= SAMPLES; rank++) {
        td_time exact = samples[rank - 1], told = td_histogram_quantile(&histogram, (rank - 0.5) / SAMPLES);
        td_time off = told < exact ? exact - told : told - exact;

        assert_true(off * 16 <= exact);
    }
    free(samples);
}

/* Two halves put together are the whole. */
static void merging_is_adding_all(void **state)
{
    td_histogram all = {0}, halves[2] = {{0}, {0}};
    struct dice dice;

    dice_seed(&dice, 7, 0);
    for (int i = 0; i < 1000; i++) {
        td_time ns = any_duration(&dice);

        td_histogram_add(&all, ns);
        td_histogram_add(&halves[i & 1], ns);
    }
    td_histogram_merge(&halves[0], &halves[1]);
    assert_memory_equal(&halves[0], &all, sizeof all);
    td_histogram_merge(&halves[0], &(td_histogram){.sum_ns = TD_FOREVER, .max_ns = 1});
    assert_true(halves[0].sum_ns == TD_FOREVER && halves[0].max_ns == all.max_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_bucket_ends_where_its_bound_says),
        cmocka_unit_test(an_hour_has_a_bucket_and_more_has_the_last),
        cmocka_unit_test(what_is_odd_is_counted_all_the_same),
        cmocka_unit_test(a_share_out_of_range_is_the_nearest_in_it),
        cmocka_unit_test(a_lone_duration_is_never_exceeded),
        cmocka_unit_test(a_percentile_is_within_a_sixteenth),
        cmocka_unit_test(merging_is_adding_all),
    };

    return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
