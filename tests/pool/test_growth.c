/* SPDX-License-Identifier: MIT */
/* How many workers a pool has, for load curves made by hand. Load is in workers: 3.5 keeps three and a half busy. */
#include "run/harness.h"

#include "base/dice.h"
#include "pool/growth.h"

struct crew {
    struct growth growth;
    unsigned workers;
    td_time now;
};

static struct crew crew_of(unsigned workers, unsigned min, unsigned max)
{
    struct crew crew = {.workers = workers, .now = td_sec(5)};

    growth_init(&crew.growth, min, max);
    return crew;
}

/* One window in which the work was so much; what was more than all could do only waits. */
static int window(struct crew *crew, double load, bool overloaded)
{
    double busy = crew->workers ? load / crew->workers : 0;
    int change;

    change = growth_window(&crew->growth, crew->now, crew->workers, busy > 1 ? 1 : busy, overloaded);
    crew->now += GROWTH_WINDOW_NS;
    crew->workers += (unsigned)change;
    return change;
}

static void two_hot_windows_in_a_row_grow_it_at_once(void **state)
{
    struct crew crew = crew_of(4, 1, 16);

    assert_int_equal(window(&crew, 4, false), 0);
    assert_int_equal(window(&crew, 2.8, false), 0);
    assert_int_equal(window(&crew, 4, false), 0);
    assert_int_equal(window(&crew, 3.6, false), 2);  /* ceil(3.6 / 0.7) = 6 */
    assert_int_equal(window(&crew, 6, false), 0);    /* and again two in a row */
    assert_int_equal(window(&crew, 6, false), 3);    /* ceil(6 / 0.7) = 9 */
}

static void overload_does_not_wait_for_a_second_window(void **state)
{
    struct crew crew = crew_of(4, 1, 16);

    assert_int_equal(window(&crew, 4, true), 2);
    assert_int_equal(window(&crew, 1, true), 1);  /* busy or not: they are too few when the queue stands */
    assert_int_equal(window(&crew, 4.9, true), 1);
}

/* 0.63 to 0.77 of each worker's time is what it should be. */
static void nothing_changes_inside_the_dead_band(void **state)
{
    struct crew crew = crew_of(10, 1, 100);

    for (int i = 0; i < 1000; i++)
        assert_int_equal(window(&crew, 6.3 + 1.4 * (i % 11) / 10, false), 0);
    assert_int_equal(window(&crew, 7.71, false), 0);
    assert_int_equal(window(&crew, 7.71, false), 2);
}

static void it_shrinks_after_a_calm_minute_one_a_window(void **state)
{
    struct crew crew = crew_of(8, 2, 8);

    for (int i = 0; i < 60; i++)
        assert_int_equal(window(&crew, 2.1, false), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(window(&crew, 2.1, false), -1);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(window(&crew, 2.1, false), 0);
    assert_int_equal(crew.workers, 3);  /* 2.1 / 0.7, and not one more for the sake of rounding */
}

static void one_busy_window_makes_the_minute_begin_again(void **state)
{
    struct crew crew = crew_of(8, 2, 8);

    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 59; i++)
            assert_int_equal(window(&crew, 2, false), 0);
        assert_int_equal(window(&crew, 5.6, false), 0);
    }
    for (int i = 0; i < 59; i++)
        assert_int_equal(window(&crew, 2, false), 0);
    assert_int_equal(window(&crew, 2, true), 0);  /* overloaded, at the maximum */
    for (int i = 0; i < 60; i++)
        assert_int_equal(window(&crew, 2, false), 0);
    assert_int_equal(window(&crew, 2, false), -1);
}

static void a_pool_of_min_0_shrinks_to_nothing(void **state)
{
    struct crew crew = crew_of(2, 0, 4);

    for (int i = 0; i < 62; i++)
        window(&crew, 0, false);
    assert_int_equal(crew.workers, 0);
    assert_int_equal(window(&crew, 0, false), 0);
    assert_int_equal(window(&crew, 0, true), 1);
}

static void a_pool_that_may_not_grow_never_does(void **state)
{
    struct crew crew = crew_of(3, 3, 0);

    for (int i = 0; i < 200; i++)
        assert_int_equal(window(&crew, i < 100 ? 3 : 0, i % 2), 0);
}

static void fewer_than_the_least_are_made_up_for(void **state)
{
    struct crew crew = crew_of(1, 4, 8);

    assert_int_equal(window(&crew, 0, false), 3);
}

static void a_share_that_is_none_counts_as_the_nearest(void **state)
{
    struct growth growth;

    growth_init(&growth, 1, 100);
    assert_int_equal(growth_window(&growth, 0, 10, __builtin_nan(""), false), 0);
    assert_int_equal(growth_window(&growth, 1, 10, -3, false), 0);
    assert_int_equal(growth_window(&growth, 2, 10, 1e300, true), 5);
}

/* Whatever comes: never below the least nor above the most, never down by more than one, never down but after a calm minute. */
static void the_limits_hold_for_any_load(void **state)
{
    struct dice dice;

    dice_seed(&dice, 11, 0);
    for (int round = 0; round < 200; round++) {
        unsigned min = (unsigned)dice_below(&dice, 5), max = min + (unsigned)dice_below(&dice, 20);
        struct crew crew = crew_of(min, min, max);
        int since_not_calm = 0;

        for (int i = 0; i < 500; i++) {
            bool overloaded = dice_chance(&dice, 0.02);
            double load = dice_chance(&dice, 0.97) ? 0.1 : (double)dice_below(&dice, 30);
            bool calm = !overloaded && load / 0.7 <= (int)crew.workers - 1;
            int change = window(&crew, load, overloaded);

            since_not_calm = calm ? since_not_calm + 1 : 0;
            assert_true(crew.workers >= min && crew.workers <= max && change >= -1);
            assert_true(change >= 0 || since_not_calm > 60);
        }
    }
}

/* A load that stays finds its number, and keeps it: no swing between two. */
static void a_steady_load_settles(void **state)
{
    for (double load = 0.1; load < 20; load += 0.37) {
        struct crew crew = crew_of(1, 1, 64);
        unsigned settled;

        for (int i = 0; i < 200; i++)
            window(&crew, load, false);
        settled = crew.workers;
        assert_true(settled == 1 || (load / settled <= 0.77 + 1e-6 && load / (settled - 1) > 0.63 - 1e-6));
        for (int i = 0; i < 200; i++)
            assert_int_equal(window(&crew, load, false), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_hot_windows_in_a_row_grow_it_at_once),
        cmocka_unit_test(overload_does_not_wait_for_a_second_window),
        cmocka_unit_test(nothing_changes_inside_the_dead_band),
        cmocka_unit_test(it_shrinks_after_a_calm_minute_one_a_window),
        cmocka_unit_test(one_busy_window_makes_the_minute_begin_again),
        cmocka_unit_test(a_pool_of_min_0_shrinks_to_nothing),
        cmocka_unit_test(a_pool_that_may_not_grow_never_does),
        cmocka_unit_test(fewer_than_the_least_are_made_up_for),
        cmocka_unit_test(a_share_that_is_none_counts_as_the_nearest),
        cmocka_unit_test(the_limits_hold_for_any_load),
        cmocka_unit_test(a_steady_load_settles),
    };

    return cmocka_run_group_tests_name("growth", tests, NULL, NULL);
}
