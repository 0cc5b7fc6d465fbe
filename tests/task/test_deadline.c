/* SPDX-License-Identifier: MIT */
/* Deadlines of scopes. Times are bounded below only: a busy machine is late, never early. */
#include "run/harness.h"

#define FAR_OFF td_sec(1000)

static int sleep_long(void *arg)
{
    return td_sleep(FAR_OFF);
}

static int quick(void *arg)
{
    return 0;
}

static int refuse(void *arg)
{
    return -EIO;
}

static size_t timers_armed(void)
{
    return sched_current()->timers.count;
}

static int pass(void *arg)
{
    td_time began = td_now();
    td_scope scope;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(20)));
    td_spawn(&scope, sleep_long, NULL);
    expect_int(td_sleep(FAR_OFF), -ECANCELED);  /* the opener is inside, too */
    expect_int(td_sleep(FAR_OFF), -ECANCELED);
    expect(td_scope_cancelled(&scope));
    expect(td_now() - began >= td_ms(20));
    return td_scope_join(&scope);
}

static void a_passed_deadline_is_a_timeout(void **state)
{
    assert_int_equal(run(state, pass, NULL), -ETIMEDOUT);
}

static int keep(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(1)));
    td_spawn(&scope, quick, NULL);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)timers_armed(), 0);
    expect_int(td_sleep(td_ms(3)), 0);  /* past it: nobody is cancelled any more */
    return 0;
}

/* In virtual time, which stands while tasks run: on a busy machine the deadline might pass before the join. */
static void a_kept_deadline_leaves_nothing_behind(void **state)
{
    assert_int_equal(run_with(state, (td_opts){.virtual_time = true}, keep, NULL), 0);
}

static int tighten(void *arg)
{
    td_time first = td_after(td_ms(30)), began = td_now();
    td_scope scope;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(FAR_OFF));
    td_scope_deadline(&scope, first);
    td_scope_deadline(&scope, td_after(FAR_OFF));
    td_scope_deadline(&scope, TD_FOREVER);
    td_scope_deadline(&scope, first + 1);
    expect_int((long long)timers_armed(), 1);
    expect_int(td_sleep(FAR_OFF / 2), -ECANCELED);
    expect(td_now() - began < FAR_OFF / 2);
    return td_scope_join(&scope);
}

static void a_deadline_is_only_tightened(void **state)
{
    assert_int_equal(run(state, tighten, NULL), -ETIMEDOUT);
}

static int in_the_past(void *arg)
{
    td_time times[] = {td_now(), td_now() - td_sec(5), 0, -1, INT64_MIN};

    for (size_t i = 0; i < COUNT(times); i++) {
        td_scope scope;

        td_scope_open(&scope);
        td_scope_deadline(&scope, times[i]);
        expect(td_scope_cancelled(&scope));
        expect_int(td_yield(), -ECANCELED);
        expect_int(td_scope_join(&scope), -ETIMEDOUT);
    }
    return 0;
}

static void a_deadline_in_the_past_cancels_at_once(void **state)
{
    assert_int_equal(run(state, in_the_past, NULL), 0);
}

static int never(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_scope_deadline(&scope, TD_FOREVER);
    td_scope_deadline(&scope, td_after(TD_FOREVER));
    expect_int((long long)timers_armed(), 0);
    td_spawn(&scope, quick, NULL);
    return td_scope_join(&scope);
}

static void forever_is_no_deadline(void **state)
{
    assert_int_equal(run(state, never, NULL), 0);
}

static int outer_passes(void *arg)
{
    td_scope outer, inner;

    td_scope_open(&outer);
    td_scope_deadline(&outer, td_after(td_ms(5)));
    td_scope_open(&inner);
    td_scope_deadline(&inner, td_after(FAR_OFF));
    td_spawn(&inner, sleep_long, NULL);
    expect_int(td_scope_join(&inner), -ECANCELED);  /* it is not the inner one's own */
    expect_int(td_scope_join(&outer), -ETIMEDOUT);
    expect_int((long long)timers_armed(), 0);
    return td_yield();
}

static void an_outer_deadline_is_a_cancellation_inside(void **state)
{
    assert_int_equal(run(state, outer_passes, NULL), 0);
}

static int inner_passes(void *arg)
{
    td_scope outer, inner;

    td_scope_open(&outer);
    td_scope_deadline(&outer, td_after(FAR_OFF));
    td_scope_open(&inner);
    td_scope_deadline(&inner, td_after(td_ms(5)));
    td_spawn(&inner, sleep_long, NULL);
    expect_int(td_scope_join(&inner), -ETIMEDOUT);
    expect_int(td_yield(), 0);
    return td_scope_join(&outer);
}

static void an_inner_deadline_stays_inside(void **state)
{
    assert_int_equal(run(state, inner_passes, NULL), 0);
}

static int fail_before(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(FAR_OFF));
    td_spawn(&scope, sleep_long, NULL);
    td_spawn(&scope, refuse, NULL);
    return td_scope_join(&scope);
}

static void a_failure_before_the_deadline_is_the_result(void **state)
{
    assert_int_equal(run(state, fail_before, NULL), -EIO);
}

static int deadline_by_a_child(void *arg)
{
    td_scope_deadline(arg, td_after(td_ms(1)));
    return td_sleep(FAR_OFF);
}

static int child_sets_it(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, deadline_by_a_child, &scope);
    return td_scope_join(&scope);
}

static void a_task_may_set_its_scopes_deadline(void **state)
{
    assert_int_equal(run(state, child_sets_it, NULL), -ETIMEDOUT);
}

static int many_deadlines(void *arg)
{
    struct random *random = arg;
    td_scope scope;
    int rc;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_us((int64_t)random_below(random, 4000))));
    rc = td_sleep(td_us((int64_t)random_below(random, 4000)));
    expect(rc == 0 || (rc == -ECANCELED && td_scope_cancelled(&scope)));
    expect_int(td_scope_join(&scope), td_scope_cancelled(&scope) ? -ETIMEDOUT : 0);
    return 0;
}

static int race(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < 500; i++)
        td_spawn(&scope, many_deadlines, arg);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)timers_armed(), 0);
    return 0;
}

static void a_wait_ends_by_its_time_or_by_the_deadline(void **state)
{
    struct random random = random_seeded();

    assert_int_equal(run(state, race, &random), 0);
}

struct order {
    int next, wrong;
};

struct sleeper {
    struct order *order;
    int rank;
    td_time until;
};

static int sleep_until(void *arg)
{
    struct sleeper *sleeper = arg;

    td_sleep(sleeper->until - td_now());
    sleeper->order->wrong += td_now() < sleeper->until || sleeper->order->next++ != sleeper->rank;
    return 0;
}

/* True when all were asleep before the first was to wake; else the machine was slow and the order means nothing. */
static bool sleep_in_order(td_time delay)
{
    struct order order = {0};
    struct sleeper sleepers[10];
    td_time from = td_after(delay);
    td_scope scope;
    bool in_time;

    td_scope_open(&scope);
    for (int i = 0; i < 10; i++) {
        sleepers[i] = (struct sleeper){&order, i * 7 % 10, from + td_ms(i * 7 % 10)};
        td_spawn(&scope, sleep_until, &sleepers[i]);
    }
    settle();
    in_time = td_now() < from;
    td_scope_join(&scope);
    expect(!in_time || order.wrong == 0);
    return in_time;
}

static int sleep_until_in_time(void *arg)
{
    td_time delay = td_ms(2);

    while (!sleep_in_order(delay))
        delay *= 2;
    return 0;
}

static void sleepers_wake_in_the_order_of_their_times(void **state)
{
    assert_int_equal(run(state, sleep_until_in_time, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_passed_deadline_is_a_timeout), ON_BOTH(a_kept_deadline_leaves_nothing_behind),
        ON_BOTH(a_deadline_is_only_tightened), ON_BOTH(a_deadline_in_the_past_cancels_at_once),
        ON_BOTH(forever_is_no_deadline), ON_BOTH(an_outer_deadline_is_a_cancellation_inside),
        ON_BOTH(an_inner_deadline_stays_inside), ON_BOTH(a_failure_before_the_deadline_is_the_result),
        ON_BOTH(a_task_may_set_its_scopes_deadline), ON_BOTH(a_wait_ends_by_its_time_or_by_the_deadline),
        ON_BOTH(sleepers_wake_in_the_order_of_their_times),
    };

    return cmocka_run_group_tests_name("task deadline", tests, NULL, NULL);
}
