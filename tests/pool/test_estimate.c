/* SPDX-License-Identifier: MIT */
/* What the jobs of a function take, as the pool remembers it. */
#include "run/harness.h"

#include "base/dice.h"
#include "pool/estimate.h"

static void the_first_value_is_the_mean(void **state)
{
    struct estimates estimates = {0};

    assert_true(estimates_of(&estimates, 0x4000) == 0 && estimates.mean == 0);
    estimates_add(&estimates, 0x4000, 800);
    assert_true(estimates_of(&estimates, 0x4000) == 800 && estimates.mean == 800);
    estimates_add(&estimates, 0x4000, 1600);
    assert_true(estimates_of(&estimates, 0x4000) == 900);
    assert_true(estimates_of(&estimates, 0x4010) == 0);
}

/* The model: the formula in floating point. */
static void the_mean_follows_the_formula(void **state)
{
    struct estimates estimates = {0};
    struct dice dice;
    double model = 0;

    dice_seed(&dice, 3, 0);
    for (int i = 0; i < 10000; i++) {
        td_time took = (td_time)dice_below(&dice, 1000000);

        estimates_add(&estimates, 0x1230, took);
        model = i ? model + ((double)took - model) / 8 : (double)took;
        assert_true(model - (double)estimates_of(&estimates, 0x1230) < 10);
        assert_true((double)estimates_of(&estimates, 0x1230) - model < 10);
    }
}

static void functions_do_not_mix_and_the_mean_of_all_does(void **state)
{
    struct estimates estimates = {0};

    for (int i = 0; i < 100; i++) {
        estimates_add(&estimates, 0x4000, 1000);
        estimates_add(&estimates, 0x5000, 3000);
    }
    assert_true(estimates_of(&estimates, 0x4000) == 1000 && estimates_of(&estimates, 0x5000) == 3000);
    assert_true(estimates.mean > 1500 && estimates.mean < 2500);
}

static void extremes_neither_overflow_nor_vanish(void **state)
{
    struct estimates estimates = {0};

    estimates_add(&estimates, 0x4000, -7);
    assert_true(estimates_of(&estimates, 0x4000) == 1);
    estimates_add(&estimates, 0x4000, TD_FOREVER);
    assert_true(estimates_of(&estimates, 0x4000) > TD_FOREVER / 16);
    for (int i = 0; i < 1000; i++)
        estimates_add(&estimates, 0x4000, INT64_MIN);
    assert_true(estimates_of(&estimates, 0x4000) >= 1 && estimates_of(&estimates, 0x4000) < 16);
    estimates_add(&estimates, 0, 5);  /* no function is at 0; and it would harm nobody */
    assert_true(estimates_of(&estimates, 0) == 5);
}

/* The model: whatever is known is right, and what was added to last is always known. A program has functions of all kinds. */
static void what_is_known_is_right_however_many_functions(void **state)
{
    struct estimates estimates = {0};
    unsigned known = 0;

    for (uintptr_t i = 1; i <= 100000; i++) {
        uintptr_t fn = 0x555500000000 + i % 1000 * 48;

        estimates_add(&estimates, fn, (td_time)(i % 1000 + 1));
        assert_true(estimates_of(&estimates, fn) == (td_time)(i % 1000 + 1));
    }
    for (uintptr_t i = 0; i < 1000; i++) {
        td_time told = estimates_of(&estimates, 0x555500000000 + i * 48);

        assert_true(told == 0 || told == (td_time)i + 1);
        known += told != 0;
    }
    assert_int_equal(known, ESTIMATES_MAX);
}

/* One that is in use stays, while hundreds pass by that come only once. */
static void the_least_recently_used_gives_way(void **state)
{
    struct estimates estimates = {0};

    for (uintptr_t i = 0; i < 1000; i++) {
        estimates_add(&estimates, 0x7777, 123);
        estimates_add(&estimates, 0x555500000000 + i * 48, 1);
        assert_true(estimates_of(&estimates, 0x7777) == 123);
    }
}

/* A dozen functions, as in a real program, are all known at the same time, nearly always: addresses in a row do not collide. */
static void functions_in_a_row_are_spread(void **state)
{
    struct estimates estimates = {0};

    for (uintptr_t i = 0; i < 16; i++)
        estimates_add(&estimates, 0x555555554000 + i * 64, (td_time)i + 1);
    for (uintptr_t i = 0; i < 16; i++)
        assert_true(estimates_of(&estimates, 0x555555554000 + i * 64) == (td_time)i + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_value_is_the_mean),
        cmocka_unit_test(the_mean_follows_the_formula),
        cmocka_unit_test(functions_do_not_mix_and_the_mean_of_all_does),
        cmocka_unit_test(extremes_neither_overflow_nor_vanish),
        cmocka_unit_test(what_is_known_is_right_however_many_functions),
        cmocka_unit_test(the_least_recently_used_gives_way),
        cmocka_unit_test(functions_in_a_row_are_spread),
    };

    return cmocka_run_group_tests_name("estimate", tests, NULL, NULL);
}
