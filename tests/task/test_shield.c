/* SPDX-License-Identifier: MIT */
/* Shielded scopes: time to clean up in a task that is being cancelled, and no more than that. */
#include "run/harness.h"

#define FAR_OFF td_sec(1000)

static int sleep_long(void *arg)
{
    return td_sleep(FAR_OFF);
}

static int flush(void *arg)
{
    int rc = td_sleep(td_ms(2));

    *(bool *)arg = rc == 0;
    return rc;
}

static int clean_up(void *arg)
{
    bool flushed = false;
    td_scope shield;

    td_scope_open_shielded(&shield, FAR_OFF);
    expect(!td_scope_cancelled(&shield));
    td_spawn(&shield, flush, &flushed);
    expect_int(td_sleep(td_ms(1)), 0);
    td_scope_join(&shield);
    expect(flushed);
    expect_int(td_yield(), -ECANCELED);  /* behind the shield it is as cancelled as before */
    return 0;
}

static int open_when_cancelled(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_scope_cancel(&scope);
    clean_up(NULL);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)sched_current()->timers.count, 0);
    return 0;
}

static void a_shield_opens_in_a_cancelled_scope(void **state)
{
    assert_int_equal(run(state, open_when_cancelled, NULL), 0);
}

static int shielded_sleep(void *arg)
{
    td_event *event = arg;
    td_scope shield;

    td_scope_open_shielded(&shield, FAR_OFF);
    expect_int(td_event_wait(event), 0);
    td_scope_join(&shield);
    return td_yield();
}

static int cancel_around(void *arg)
{
    td_event event;
    td_scope scope;

    td_event_init(&event);
    td_scope_open(&scope);
    td_spawn(&scope, shielded_sleep, &event);
    settle();
    td_scope_cancel(&scope);
    td_event_set(&event);
    return td_scope_join(&scope);
}

static void a_cancellation_from_outside_does_not_reach_in(void **state)
{
    assert_int_equal(run(state, cancel_around, NULL), -ECANCELED);
}

static int outlast_the_grace(void *arg)
{
    td_time began = td_now();
    td_scope scope, shield;

    td_scope_open(&scope);
    td_scope_cancel(&scope);
    td_scope_open_shielded(&shield, td_ms(10));
    td_spawn(&shield, sleep_long, NULL);
    expect_int(td_sleep(FAR_OFF), -ECANCELED);
    expect(td_now() - began >= td_ms(10));
    expect_int(td_scope_join(&shield), -ETIMEDOUT);
    td_scope_join(&scope);
    return 0;
}

static void the_grace_time_ends_it(void **state)
{
    assert_int_equal(run(state, outlast_the_grace, NULL), 0);
}

static int no_grace(void *arg)
{
    td_scope shield;

    td_scope_open_shielded(&shield, 0);
    expect_int(td_yield(), -ECANCELED);
    return td_scope_join(&shield);
}

static void without_grace_there_is_no_shield(void **state)
{
    assert_int_equal(run(state, no_grace, NULL), -ETIMEDOUT);
}

static int lengthen(void *arg)
{
    td_scope shield;

    td_scope_open_shielded(&shield, td_ms(5));
    td_scope_deadline(&shield, td_after(FAR_OFF));
    expect_int(td_sleep(FAR_OFF / 2), -ECANCELED);
    return td_scope_join(&shield);
}

static void the_grace_time_cannot_be_lengthened(void **state)
{
    assert_int_equal(run(state, lengthen, NULL), -ETIMEDOUT);
}

static int cancel_inside(void *arg)
{
    td_scope shield;

    td_scope_open_shielded(&shield, FAR_OFF);
    td_spawn(&shield, sleep_long, NULL);
    td_scope_cancel(&shield);
    return td_scope_join(&shield);
}

static void a_shield_can_be_cancelled_itself(void **state)
{
    assert_int_equal(run(state, cancel_inside, NULL), -ECANCELED);
}

static int nest_in_shield(void *arg)
{
    td_event *event = arg;
    td_scope shield, inner;

    td_scope_open_shielded(&shield, FAR_OFF);
    td_scope_open(&inner);
    td_spawn(&inner, shielded_sleep, event);  /* a shield in a scope in a shield */
    expect_int(td_event_wait(event), 0);
    expect(!td_scope_cancelled(&inner));
    expect_int(td_scope_join(&inner), 0);
    expect_int(td_scope_join(&shield), -ECANCELED);  /* a scope around it is cancelled */
    return -ECANCELED;
}

static int cancel_around_a_nest(void *arg)
{
    td_event event;
    td_scope scope;

    td_event_init(&event);
    td_scope_open(&scope);
    td_spawn(&scope, nest_in_shield, &event);
    td_spawn(&scope, sleep_long, NULL);
    settle();
    td_scope_cancel(&scope);
    td_event_set(&event);
    return td_scope_join(&scope);
}

static void all_inside_a_shield_is_shielded(void **state)
{
    assert_int_equal(run(state, cancel_around_a_nest, NULL), -ECANCELED);
}

static int shield_in_deadlock(void *arg)
{
    td_event never;
    td_scope shield;

    td_event_init(&never);
    td_scope_open_shielded(&shield, td_ms(5));
    expect_int(td_event_wait(&never), -ECANCELED);
    return td_scope_join(&shield);
}

/* Its grace time is something pending: no deadlock, though nobody else is there. */
static void a_shields_grace_time_is_no_deadlock(void **state)
{
    assert_int_equal(run(state, shield_in_deadlock, NULL), -ETIMEDOUT);
}

static int endless_shield(void *arg)
{
    td_event never;
    td_scope shield;

    td_event_init(&never);
    td_scope_open_shielded(&shield, TD_FOREVER);
    expect_int(td_event_wait(&never), -ECANCELED);
    td_scope_join(&shield);
    return 0;
}

static int deadlock_in_endless_shield(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, endless_shield, NULL) != -EDEADLK;
}

/* td_run: all tasks wait and nothing is pending, so their waits end with -ECANCELED, wherever they are. */
static void a_deadlock_ends_a_shield_too(void **state)
{
    struct ending ending = in_child(state, deadlock_in_endless_shield);

    assert_ended_well(&ending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_shield_opens_in_a_cancelled_scope), ON_BOTH(a_cancellation_from_outside_does_not_reach_in),
        ON_BOTH(the_grace_time_ends_it), ON_BOTH(without_grace_there_is_no_shield),
        ON_BOTH(the_grace_time_cannot_be_lengthened), ON_BOTH(a_shield_can_be_cancelled_itself),
        ON_BOTH(all_inside_a_shield_is_shielded), ON_BOTH(a_shields_grace_time_is_no_deadlock),
        ON_BOTH(a_deadlock_ends_a_shield_too),
    };

    return cmocka_run_group_tests_name("task shield", tests, NULL, NULL);
}
