/* SPDX-License-Identifier: MIT */
/* td_deadline: the earliest deadline that reaches a task's waits. And that no wait ends before its time. */
#include "run/harness.h"

#define FAR_OFF td_sec(1000)
#define SLEEPERS 60
#define SLEEPS 8

static int in_virtual_time(void **state, td_fn fn, void *arg)
{
    return run_with(state, (td_opts){.virtual_time = true}, fn, arg);
}

static int ask(void *arg)
{
    *(td_time *)arg = td_deadline();
    return 0;
}

/* What a task of the scope is told. */
static td_time told_in(td_scope *scope)
{
    td_time told = 0;
    td_handle one = {NULL, 0};

    expect_int(td_spawn_with(scope, &(td_spawn_opts){.handle = &one}, ask, &told), 0);
    while (td_alive(one))
        td_yield();
    return told;
}

static int ask_around(void *arg)
{
    td_time far = td_after(td_sec(9)), near = td_after(td_sec(5));
    td_scope outer, middle, inner;

    expect(td_deadline() == TD_FOREVER);
    td_scope_open(&outer);
    expect(td_deadline() == TD_FOREVER);
    td_scope_deadline(&outer, far);
    expect_int(td_deadline(), far);
    td_scope_open(&middle);
    expect_int(td_deadline(), far);         /* inherited */
    td_scope_deadline(&middle, TD_FOREVER);
    expect_int(td_deadline(), far);
    td_scope_deadline(&middle, far + 1);    /* later than the one around it: changes nothing */
    expect_int(td_deadline(), far);
    td_scope_deadline(&middle, near);
    expect_int(td_deadline(), near);
    td_scope_deadline(&middle, far);        /* only tightened */
    expect_int(td_deadline(), near);
    td_scope_open(&inner);
    expect_int(td_deadline(), near);
    expect_int(told_in(&inner), near);
    expect_int(told_in(&middle), near);
    expect_int(told_in(&outer), far);       /* a task of the outer scope is not in the middle one */
    td_scope_deadline(&outer, near - 1);    /* tightened around the one that is innermost */
    expect_int(td_deadline(), near - 1);
    td_scope_join(&inner);
    td_scope_join(&middle);
    expect_int(td_deadline(), near - 1);
    td_scope_join(&outer);
    expect(td_deadline() == TD_FOREVER);
    return 0;
}

static void a_deadline_is_inherited_and_only_tightened(void **state)
{
    assert_int_equal(in_virtual_time(state, ask_around, NULL), 0);
}

static int ask_behind_shields(void *arg)
{
    td_time near = td_after(td_ms(50)), grace_ends;
    td_scope outer, shield, inner, endless;

    td_scope_open(&outer);
    td_scope_deadline(&outer, near);
    grace_ends = td_after(td_sec(3));
    td_scope_open_shielded(&shield, td_sec(3));
    expect_int(td_deadline(), grace_ends);   /* not the earlier one outside */
    expect_int(told_in(&shield), grace_ends);
    td_scope_open(&inner);
    expect_int(td_deadline(), grace_ends);
    td_scope_deadline(&inner, grace_ends - 5);
    expect_int(td_deadline(), grace_ends - 5);
    td_scope_open_shielded(&endless, TD_FOREVER);
    expect(td_deadline() == TD_FOREVER);
    td_scope_deadline(&endless, near);
    expect_int(td_deadline(), near);
    td_scope_join(&endless);
    td_scope_join(&inner);
    td_scope_join(&shield);
    expect_int(td_deadline(), near);
    td_scope_join(&outer);
    return 0;
}

static void it_stops_at_a_shield(void **state)
{
    assert_int_equal(in_virtual_time(state, ask_behind_shields, NULL), 0);
}

static int ask_when_passed(void *arg)
{
    td_time at = td_after(td_ms(5));
    td_scope scope;

    td_scope_open(&scope);
    td_scope_deadline(&scope, at);
    expect_int(td_sleep(FAR_OFF), -ECANCELED);
    expect_int(td_now(), at);
    expect_int(td_deadline(), at);  /* it reaches all waits to come */
    td_scope_deadline(&scope, at + td_sec(1));
    expect_int(td_deadline(), at);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_now() - td_sec(1));
    expect(td_deadline() <= td_now());
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    return 0;
}

static void a_passed_deadline_is_still_the_earliest(void **state)
{
    assert_int_equal(in_virtual_time(state, ask_when_passed, NULL), 0);
}

static td_time machine_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (td_time)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct sleepers {
    struct random random;
    unsigned early;
    td_time worst;
};

static int sleep_and_look(void *arg)
{
    struct sleepers *sleepers = arg;

    for (int i = 0; i < SLEEPS; i++) {
        td_time for_ns = (td_time)(1 + random_below(&sleepers->random, i % 2 ? 20000000 : 300000)), began, took;
        volatile unsigned busy = (unsigned)random_below(&sleepers->random, 30000);
        td_scope scope;

        while (busy)
            busy--;  /* so that not all sleeps begin with the turn */
        began = machine_clock();
        if (i % 3) {
            expect_int(td_sleep(for_ns), 0);
        } else {
            td_scope_open(&scope);
            td_scope_deadline(&scope, td_after(for_ns));
            expect_int(td_sleep(FAR_OFF), -ECANCELED);
            expect_int(td_scope_join(&scope), -ETIMEDOUT);
        }
        took = machine_clock() - began;
        sleepers->early += took < for_ns;
        sleepers->worst = took - for_ns < sleepers->worst ? took - for_ns : sleepers->worst;
    }
    return 0;
}

static int sleep_together(void *arg)
{
    struct sleepers sleepers = {.random = random_seeded()};
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < SLEEPERS; i++)
        td_spawn(&scope, sleep_and_look, &sleepers);
    expect_int(td_scope_join(&scope), 0);
    if (!expect_int(sleepers.early, 0))
        print_error("the worst by %lld ns\n", -(long long)sleepers.worst);
    return 0;
}

/* By the machine's clock, not by the loop's idea of it. */
static void nothing_ends_before_its_time(void **state)
{
    assert_int_equal(run(state, sleep_together, NULL), 0);
}

static int sleep_exactly(void *arg)
{
    static const td_time times[] = {1, 999, 1000, 1001, 65535, 65536, 65537, 999999, 1000000, 4194303, 4194304, 4194305,
        1000000000, 60000000000, 3600000000000, 86400000000000, 31536000000000000};

    for (size_t i = 0; i < COUNT(times); i++) {
        td_time began = td_now();
        td_scope scope;

        expect_int(td_sleep(times[i]), 0);
        expect_int(td_now() - began, times[i]);
        began = td_now();
        td_scope_open(&scope);
        td_scope_deadline(&scope, began + times[i]);
        expect_int(td_sleep(TD_FOREVER), -ECANCELED);
        expect_int(td_now() - began, times[i]);
        expect_int(td_scope_join(&scope), -ETIMEDOUT);
    }
    return 0;
}

static void in_virtual_time_it_ends_at_its_time(void **state)
{
    assert_int_equal(in_virtual_time(state, sleep_exactly, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_deadline_is_inherited_and_only_tightened), ON_BOTH(it_stops_at_a_shield),
        ON_BOTH(a_passed_deadline_is_still_the_earliest), ON_BOTH(nothing_ends_before_its_time),
        ON_BOTH(in_virtual_time_it_ends_at_its_time),
    };

    return cmocka_run_group_tests_name("task earliest", tests, NULL, NULL);
}
