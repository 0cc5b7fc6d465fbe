/* SPDX-License-Identifier: MIT */
/* Mutexes: one holder, handed over in order, misuse named. */
#include "sync/actors.h"

static int lock(struct actor *self)
{
    return td_mutex_lock(self->on);  /* and ends with it */
}

static int lock_and_unlock(struct actor *self)
{
    int rc = td_mutex_lock(self->on);

    if (rc == 0)
        td_mutex_unlock(self->on);
    return rc;
}

static td_mutex_stats stats_of(const td_mutex *mutex)
{
    td_mutex_stats stats;

    td_mutex_statistics(mutex, &stats);
    return stats;
}

static int exclude(void *arg)
{
    struct actor actors[3];
    td_mutex mutex;
    td_scope scope;
    int count = 0;

    td_mutex_init(&mutex);
    td_scope_open(&scope);
    expect(!stats_of(&mutex).locked && !stats_of(&mutex).owner);
    expect_int(td_mutex_lock(&mutex), 0);
    expect(stats_of(&mutex).locked && stats_of(&mutex).owner);
    for (int i = 0; i < 3; i++) {
        actors[i] = (struct actor){lock_and_unlock, &mutex, .count = &count};
        actor_start(&scope, &actors[i]);
    }
    settle();
    expect_int(count, 0);
    expect_int((long long)stats_of(&mutex).waiting, 3);
    actor_cancel(&actors[0]);
    td_mutex_unlock(&mutex);
    expect(stats_of(&mutex).locked);  /* it has been handed over already */
    expect_int(td_mutex_try_lock(&mutex), -EBUSY);
    expect_int(td_scope_join(&scope), 0);
    expect_int(actors[0].rc, -ECANCELED);
    expect_int(actors[1].rank, 1);
    expect_int(actors[2].rank, 2);
    expect(!stats_of(&mutex).locked);
    expect_int((long long)stats_of(&mutex).locks, 3);
    expect_int((long long)stats_of(&mutex).waits, 3);
    expect_int((long long)stats_of(&mutex).refused, 1);
    return 0;
}

static void one_task_holds_it_and_the_next_is_the_one_that_waited_longest(void **state)
{
    assert_int_equal(run(state, exclude, NULL), 0);
}

static int lock_twice(void *arg)
{
    td_mutex mutex, other;

    td_mutex_init(&mutex);
    td_mutex_init(&other);
    expect_int(td_mutex_lock(&mutex), 0);
    expect_int(td_mutex_lock(&other), 0);
    expect_int(td_mutex_lock(&mutex), -EDEADLK);
    expect_int(td_mutex_try_lock(&mutex), -EDEADLK);
    td_mutex_unlock(&mutex);  /* not in the reverse order, for once */
    expect_int(td_mutex_try_lock(&mutex), 0);
    td_mutex_unlock(&other);
    td_mutex_unlock(&mutex);
    expect(!stats_of(&mutex).locked && !stats_of(&other).locked);
    return 0;
}

static void its_holder_is_told_so(void **state)
{
    assert_int_equal(run(state, lock_twice, NULL), 0);
}

static int hand_over_then_cancel(void *arg)
{
    struct actor one = {lock_and_unlock, NULL};
    td_mutex mutex;
    td_scope scope;

    td_mutex_init(&mutex);
    one.on = &mutex;
    td_scope_open(&scope);
    expect_int(td_mutex_lock(&mutex), 0);
    actor_start(&scope, &one);
    settle();
    td_mutex_unlock(&mutex);
    actor_cancel(&one);  /* too late: it holds the mutex */
    expect_int(actor_result(&one), 0);
    expect_int(td_mutex_lock(&mutex), 0);
    actor_start(&scope, &one);
    settle();
    actor_cancel(&one);
    td_mutex_unlock(&mutex);
    expect(!stats_of(&mutex).locked);
    expect_int(actor_result(&one), -ECANCELED);
    return td_scope_join(&scope);
}

static void it_is_not_lost_to_a_cancellation(void **state)
{
    assert_int_equal(run(state, hand_over_then_cancel, NULL), 0);
}

static int unlock_anothers(void *arg)
{
    td_mutex mutex;
    td_scope scope;

    td_mutex_init(&mutex);
    td_scope_open(&scope);
    expect_int(td_mutex_lock(&mutex), 0);
    actor_start(&scope, &(struct actor){lock_and_unlock, &mutex});
    settle();
    td_mutex_unlock(&mutex);
    td_mutex_unlock(&mutex);
    return td_scope_join(&scope);
}

static int unlock_free(void *arg)
{
    td_mutex mutex;

    td_mutex_init(&mutex);
    td_mutex_unlock(&mutex);
    return 0;
}

static int end_with_it(void *arg)
{
    td_mutex mutex;
    td_scope scope;

    td_mutex_init(&mutex);
    td_scope_open(&scope);
    actor_start(&scope, &(struct actor){lock, &mutex});
    return td_scope_join(&scope);
}

static int run_unlock_anothers(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, unlock_anothers, NULL);
}

static int run_unlock_free(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, unlock_free, NULL);
}

static int run_end_with_it(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, end_with_it, NULL);
}

static void who_does_not_hold_it_may_not_unlock_it(void **state)
{
    assert_aborts_saying(state, run_unlock_anothers, "does not hold the mutex");
    assert_aborts_saying(state, run_unlock_free, "nobody holds the mutex (a mutex made at ");
}

static void a_task_that_ends_with_it_is_named(void **state)
{
    assert_aborts_saying(state, run_end_with_it, "actors.h:");  /* where the task was spawned */
    assert_aborts_saying(state, run_end_with_it, "ended while it held a mutex made at ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(one_task_holds_it_and_the_next_is_the_one_that_waited_longest), ON_BOTH(its_holder_is_told_so),
        ON_BOTH(it_is_not_lost_to_a_cancellation), ON_BOTH(who_does_not_hold_it_may_not_unlock_it),
        ON_BOTH(a_task_that_ends_with_it_is_named),
    };

    return cmocka_run_group_tests_name("sync mutex", tests, NULL, NULL);
}
