/* SPDX-License-Identifier: MIT */
/* Futures: set once, for all who wait, before and after. */
#include "sync/actors.h"

#define WAITERS 3

static int wait_for_value(struct actor *self)
{
    void *value = NULL;
    int rc = td_future_wait(self->on, &value);

    self->item = value ? *(long *)value : -1;
    return rc;
}

static int wait_for_any_value(struct actor *self)
{
    return td_future_wait(self->on, NULL);
}

static int set_once(void *arg)
{
    struct actor actors[WAITERS], careless;
    long value = 42, other = 43;
    td_future_stats stats;
    td_future future;
    td_scope scope;
    void *got = NULL;
    int count = 0;

    td_future_init(&future);
    careless = (struct actor){wait_for_any_value, &future};
    td_scope_open(&scope);
    for (int i = 0; i < WAITERS; i++) {
        actors[i] = (struct actor){wait_for_value, &future, .count = &count};
        actor_start(&scope, &actors[i]);
    }
    actor_start(&scope, &careless);
    settle();
    expect_int(count, 0);
    expect_int(td_future_try_wait(&future, &got), -EAGAIN);
    expect(got == NULL);
    td_future_statistics(&future, &stats);
    expect(!stats.set);
    expect_int((long long)stats.waiting, WAITERS + 1);
    expect_int(td_future_set(&future, &value), 0);
    expect_int(td_future_set(&future, &other), -EALREADY);
    expect_int(td_future_fail(&future, -EIO), -EALREADY);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < WAITERS; i++) {
        expect_int(actors[i].rc, 0);
        expect_int(actors[i].item, 42);
        expect_int(actors[i].rank, i);
    }
    expect_int(careless.rc, 0);
    expect_int(td_future_wait(&future, &got), 0);
    expect(got == &value);
    expect_int(td_future_try_wait(&future, NULL), 0);
    td_future_statistics(&future, &stats);
    expect(stats.set);
    expect_int((long long)stats.waits, WAITERS + 1);
    return 0;
}

static void all_get_the_one_value(void **state)
{
    assert_int_equal(run(state, set_once, NULL), 0);
}

static int fail_once(void *arg)
{
    struct actor early;
    td_future future;
    td_scope scope;
    void *got = &future;

    td_future_init(&future);
    early = (struct actor){wait_for_value, &future};
    td_scope_open(&scope);
    actor_start(&scope, &early);
    settle();
    expect_int(td_future_fail(&future, 0), -EINVAL);
    expect_int(td_future_fail(&future, 5), -EINVAL);
    expect_int(td_future_fail(&future, -EIO), 0);
    expect_int(td_future_set(&future, NULL), -EALREADY);
    expect_int(actor_result(&early), -EIO);
    expect_int(early.item, -1);
    expect_int(td_future_wait(&future, &got), -EIO);
    expect(got == &future);
    return td_scope_join(&scope);
}

static void or_the_one_error(void **state)
{
    assert_int_equal(run(state, fail_once, NULL), 0);
}

static int set_then_cancel(void *arg)
{
    struct actor hasty, patient;
    td_future future;
    td_scope scope;
    long value = 7;

    td_future_init(&future);
    hasty = patient = (struct actor){wait_for_value, &future};
    td_scope_open(&scope);
    actor_start(&scope, &hasty);
    actor_start(&scope, &patient);
    settle();
    actor_cancel(&hasty);
    td_future_set(&future, &value);
    actor_cancel(&patient);  /* too late: it has the value */
    expect_int(actor_result(&hasty), -ECANCELED);
    expect_int(hasty.item, -1);
    expect_int(actor_result(&patient), 0);
    expect_int(patient.item, 7);
    return td_scope_join(&scope);
}

static void a_waiter_gets_the_value_or_the_cancellation(void **state)
{
    assert_int_equal(run(state, set_then_cancel, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(all_get_the_one_value), ON_BOTH(or_the_one_error), ON_BOTH(a_waiter_gets_the_value_or_the_cancellation),
    };

    return cmocka_run_group_tests_name("sync future", tests, NULL, NULL);
}
