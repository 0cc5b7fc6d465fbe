/* SPDX-License-Identifier: MIT */
/* Scopes that collect, how many tasks of a scope failed, and what a task can be given when it is spawned. */
#include "task/memory.h"

#define FAR_OFF td_sec(1000)
#define KIB ((size_t)1024)
#define UNTOUCHED 0x5A5A5A

struct work {
    td_time takes;
    int rc;
    bool ended;
};

static int work(void *arg)
{
    struct work *work = arg;
    int rc = td_sleep(work->takes);

    work->ended = rc == 0;
    return rc == 0 ? work->rc : rc;
}

static int in_virtual_time(void **state, td_fn fn, void *arg)
{
    return run_with(state, (td_opts){.virtual_time = true}, fn, arg);
}

static int collect(void *arg)
{
    struct work works[] = {{td_ms(1), .rc = -EIO}, {td_ms(3), .rc = 7}, {td_ms(2), .rc = -ECANCELED}, {td_ms(4), .rc = -EPERM}};
    int results[4] = {UNTOUCHED, UNTOUCHED, UNTOUCHED, UNTOUCHED};
    td_scope scope;

    td_scope_open(&scope);
    td_scope_collect(&scope);
    for (int i = 0; i < 4; i++)
        expect_int(td_spawn_with(&scope, &(td_spawn_opts){.result = &results[i]}, work, &works[i]), 0);
    expect_int(td_sleep(td_us(2500)), 0);  /* the opener is not cancelled either */
    expect_int((long long)td_scope_failures(&scope), 2);
    expect_int(results[0], -EIO);
    expect_int(results[1], UNTOUCHED);     /* until it is done */
    expect_int(results[2], -ECANCELED);
    expect_int(results[3], UNTOUCHED);
    expect(!td_scope_cancelled(&scope));
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 4; i++) {
        expect_int(results[i], works[i].rc);
        expect(works[i].ended);
    }
    expect_int((long long)td_scope_failures(&scope), 3);  /* nobody had cancelled: a failure like any other */
    return 0;
}

static void a_collecting_scope_lets_all_finish(void **state)
{
    assert_int_equal(in_virtual_time(state, collect, NULL), 0);
}

static int count_failures(void *arg)
{
    struct work works[] = {{td_ms(2), .rc = -EIO}, {td_ms(1), .rc = 5}, {FAR_OFF, .rc = -EPERM}};
    td_scope scope;

    td_scope_open(&scope);
    expect_int((long long)td_scope_failures(&scope), 0);
    for (int i = 0; i < 3; i++)
        td_spawn(&scope, work, &works[i]);
    expect_int(td_scope_join(&scope), -EIO);
    expect_int((long long)td_scope_failures(&scope), 1);  /* the third was cancelled and did not fail */
    expect(!works[2].ended);
    return 0;
}

static void the_cancelled_are_no_failures(void **state)
{
    assert_int_equal(in_virtual_time(state, count_failures, NULL), 0);
}

static int fail_when_cancelled(void *arg)
{
    return td_sleep(FAR_OFF) == -ECANCELED ? -EPIPE : 0;
}

static int failures_after_cancelling(void *arg)
{
    struct work patient = {FAR_OFF, .rc = 0};
    int result = UNTOUCHED;
    td_scope scope;

    for (int collecting = 0; collecting < 2; collecting++) {
        td_scope_open(&scope);
        if (collecting)
            td_scope_collect(&scope);
        td_spawn(&scope, work, &patient);
        td_spawn_with(&scope, &(td_spawn_opts){.result = &result}, fail_when_cancelled, NULL);
        settle();
        td_scope_cancel(&scope);
        expect_int(td_scope_join(&scope), collecting ? -ECANCELED : -EPIPE);
        expect_int((long long)td_scope_failures(&scope), 1);  /* an error of its own, though late */
        expect_int(result, -EPIPE);
    }
    return 0;
}

static void an_error_of_ones_own_counts_though_it_comes_late(void **state)
{
    assert_int_equal(in_virtual_time(state, failures_after_cancelling, NULL), 0);
}

static int collect_too_late(void *arg)
{
    struct work failing = {0, .rc = -EIO}, patient = {FAR_OFF, .rc = 0};
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, work, &failing);
    td_spawn(&scope, work, &patient);
    while (!td_scope_cancelled(&scope))
        td_yield();
    td_scope_collect(&scope);  /* from now on: what was cancelled stays so */
    expect_int(td_yield(), -ECANCELED);
    expect_int(td_scope_join(&scope), -EIO);
    expect(!patient.ended);
    return 0;
}

static void collecting_begins_when_it_is_said(void **state)
{
    assert_int_equal(in_virtual_time(state, collect_too_late, NULL), 0);
}

static int collect_until_deadline(void *arg)
{
    struct work works[] = {{td_ms(1), .rc = -EIO}, {FAR_OFF, .rc = 7}, {td_ms(4), .rc = 3}};
    int results[3] = {UNTOUCHED, UNTOUCHED, UNTOUCHED};
    td_time began = td_now();
    td_scope scope;

    td_scope_open(&scope);
    td_scope_collect(&scope);
    td_scope_deadline(&scope, td_after(td_ms(10)));
    for (int i = 0; i < 3; i++)
        td_spawn_with(&scope, &(td_spawn_opts){.result = &results[i]}, work, &works[i]);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    expect_int(td_now() - began, td_ms(10));
    expect_int(results[0], -EIO);
    expect_int(results[1], -ECANCELED);
    expect_int(results[2], 3);
    expect_int((long long)td_scope_failures(&scope), 1);
    return 0;
}

static void a_collecting_scope_keeps_its_deadline(void **state)
{
    assert_int_equal(in_virtual_time(state, collect_until_deadline, NULL), 0);
}

static int collect_inside(void *arg)
{
    struct work works[] = {{td_ms(1), .rc = -EIO}, {FAR_OFF, .rc = 7}};
    td_scope scope;
    int rc;

    td_scope_open(&scope);
    td_scope_collect(&scope);
    td_spawn(&scope, work, &works[0]);
    td_spawn(&scope, work, &works[1]);
    rc = td_scope_join(&scope);
    expect_int(rc, -ECANCELED);
    expect_int((long long)td_scope_failures(&scope), 1);
    return rc;
}

static int deadline_around(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(10)));
    td_spawn(&scope, collect_inside, NULL);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    expect_int((long long)td_scope_failures(&scope), 0);
    return 0;
}

static void a_deadline_around_reaches_a_collecting_scope(void **state)
{
    assert_int_equal(in_virtual_time(state, deadline_around, NULL), 0);
}

/* The failure of a nested scope is its opener's to return. */
static int collect_outside(void *arg)
{
    struct work late = {td_ms(9), .rc = 0};
    td_scope scope;

    td_scope_open(&scope);
    td_scope_collect(&scope);
    td_spawn(&scope, count_failures, NULL);
    td_spawn(&scope, work, &late);
    td_spawn(&scope, failures_after_cancelling, NULL);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)td_scope_failures(&scope), 0);
    expect(late.ended);
    return 0;
}

static void scopes_inside_fail_as_ever(void **state)
{
    assert_int_equal(in_virtual_time(state, collect_outside, NULL), 0);
}

struct depth {
    size_t asked_for, bytes, slot;
};

/* Goes where only a stack of its size can follow: all but the guard, the header and what a frame takes. */
static int go_deep(void *arg)
{
    struct depth *depth = arg;
    char here[16];

    depth->slot = stack_size(&td_self().task->stack);
    if (depth->slot <= 64 * KIB * KIB)
        expect(descend(here, depth->bytes) >= depth->bytes);
    return td_yield();
}

static size_t class_of(size_t size)
{
    size_t slot = 16 * KIB;

    while (slot < size)
        slot *= 4;
    return slot;
}

static int spawn_of_all_sizes(void *arg)
{
    static const size_t sizes[] = {1, 4096, 16 * KIB, 16 * KIB + 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 100 * KIB, 256 * KIB,
        300 * KIB, KIB * KIB, 4 * KIB * KIB, 4 * KIB * KIB + 1, 16 * KIB * KIB, 64 * KIB * KIB - 1, 64 * KIB * KIB};
    struct depth depths[COUNT(sizes)];
    td_scope scope;

    td_scope_open(&scope);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t slot = class_of(sizes[i]);

        depths[i] = (struct depth){sizes[i], slot > 32 * KIB ? slot - 16 * KIB : 4 * KIB, 0};
        expect_int(td_spawn_with(&scope, &(td_spawn_opts){.stack_size = sizes[i]}, go_deep, &depths[i]), 0);
    }
    expect_int(td_scope_join(&scope), 0);
    for (size_t i = 0; i < COUNT(sizes); i++)
        expect_int((long long)depths[i].slot, (long long)class_of(sizes[i]));
    return 0;
}

static void a_stack_is_as_large_as_asked_for(void **state)
{
    assert_int_equal(in_virtual_time(state, spawn_of_all_sizes, NULL), 0);
}

static int spawn_in_default_size(void *arg)
{
    struct depth depths[3] = {{0, 30 * KIB, 0}, {0, 30 * KIB, 0}, {0, 30 * KIB, 0}};
    td_scope scope;

    td_scope_open(&scope);
    expect_int(td_spawn(&scope, go_deep, &depths[0]), 0);
    expect_int(td_spawn_with(&scope, &(td_spawn_opts){0}, go_deep, &depths[1]), 0);
    expect_int(td_spawn_with(&scope, &(td_spawn_opts){.stack_size = 64 * KIB}, go_deep, &depths[2]), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)depths[0].slot, *(int *)arg);
    expect_int((long long)depths[1].slot, *(int *)arg);
    expect_int((long long)depths[2].slot, 64 * 1024);
    return 0;
}

static void without_a_size_it_is_the_runs(void **state)
{
    int slot = 64 * 1024;

    assert_int_equal(run_with(state, (td_opts){0}, spawn_in_default_size, &slot), 0);
    slot = 128 * 1024;  /* no class of its own */
    assert_int_equal(run_with(state, (td_opts){.stack_size = (size_t)slot}, spawn_in_default_size, &slot), 0);
}

static int nothing(void *arg)
{
    *(bool *)arg = true;
    return 0;
}

static int spawn_wrongly(void *arg)
{
    static const size_t sizes[] = {64 * KIB * KIB + 1, 256 * KIB * KIB, SIZE_MAX / 2 + 1, SIZE_MAX - 4095, SIZE_MAX};
    int result = UNTOUCHED;
    bool ran = false;
    td_scope scope;

    td_scope_open(&scope);
    for (size_t i = 0; i < COUNT(sizes); i++)
        expect_int(td_spawn_with(&scope, (&(td_spawn_opts){.stack_size = sizes[i], .result = &result}), nothing, &ran), -EINVAL);
    expect_int(td_spawn_with(&scope, &(td_spawn_opts){.result = &result}, NULL, &ran), -EINVAL);
    expect_int(td_scope_join(&scope), 0);
    expect(!ran);
    expect_int(result, UNTOUCHED);
    return 0;
}

static void a_size_out_of_range_is_refused(void **state)
{
    assert_int_equal(in_virtual_time(state, spawn_wrongly, NULL), 0);
}

static int wait_for_nothing(void *arg)
{
    td_event never;

    td_event_init(&never);
    return td_event_wait(&never);
}

static int named_deadlock(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn_with(&scope, &(td_spawn_opts){.name = "gondolier"}, wait_for_nothing, NULL);
    td_spawn_with(&scope, (&(td_spawn_opts){.name = NULL, .stack_size = 200 * KIB}), wait_for_nothing, NULL);
    return td_scope_join(&scope);
}

static int dump_names(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, named_deadlock, NULL) != -EDEADLK;
}

static void a_name_is_in_the_dump(void **state)
{
    struct ending ending = in_child(state, dump_names);

    assert_ended_well(&ending);
    assert_says(&ending, "gondolier");
    assert_says(&ending, "test_collect.c:");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_collecting_scope_lets_all_finish), ON_BOTH(the_cancelled_are_no_failures),
        ON_BOTH(an_error_of_ones_own_counts_though_it_comes_late), ON_BOTH(collecting_begins_when_it_is_said),
        ON_BOTH(a_collecting_scope_keeps_its_deadline), ON_BOTH(a_deadline_around_reaches_a_collecting_scope),
        ON_BOTH(scopes_inside_fail_as_ever), ON_BOTH(a_stack_is_as_large_as_asked_for),
        ON_BOTH(without_a_size_it_is_the_runs), ON_BOTH(a_size_out_of_range_is_refused), ON_BOTH(a_name_is_in_the_dump),
    };

    return cmocka_run_group_tests_name("task collect", tests, NULL, NULL);
}
