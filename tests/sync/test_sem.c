/* SPDX-License-Identifier: MIT */
/* Semaphores: permits are handed over, in order, and none is lost or made up (law 3). */
#include "sync/actors.h"

static int take(struct actor *self)
{
    return td_sem_take(self->on);
}

static td_sem_stats stats_of(const td_sem *sem)
{
    td_sem_stats stats;

    td_sem_statistics(sem, &stats);
    return stats;
}

static int count_permits(void *arg)
{
    td_sem sem;

    td_sem_init(&sem, 2);
    expect_int(td_sem_take(&sem), 0);
    expect_int(td_sem_try_take(&sem), 0);
    expect_int(td_sem_try_take(&sem), -EAGAIN);
    expect_int((long long)stats_of(&sem).permits, 0);
    td_sem_give(&sem);
    expect_int((long long)stats_of(&sem).permits, 1);
    td_sem_give(&sem);
    td_sem_give(&sem);  /* whoever gives need not have taken */
    expect_int((long long)stats_of(&sem).permits, 3);
    expect_int((long long)stats_of(&sem).taken, 2);
    expect_int((long long)stats_of(&sem).given, 3);
    expect_int((long long)stats_of(&sem).refused, 1);
    expect_int((long long)stats_of(&sem).waits, 0);
    return 0;
}

static void permits_are_counted(void **state)
{
    assert_int_equal(run(state, count_permits, NULL), 0);
}

static int serve_in_order(void *arg)
{
    struct actor actors[4];
    td_scope scope;
    td_sem sem;
    int count = 0;

    td_sem_init(&sem, 0);
    td_scope_open(&scope);
    for (int i = 0; i < 4; i++) {
        actors[i] = (struct actor){take, &sem, .count = &count};
        actor_start(&scope, &actors[i]);
    }
    settle();
    expect_int((long long)stats_of(&sem).waiting, 4);
    td_sleep(td_ms(1));
    expect(stats_of(&sem).oldest_wait_ns >= td_ms(1) / 2);
    actor_cancel(&actors[1]);
    expect_int(actor_result(&actors[1]), -ECANCELED);
    for (int i = 0; i < 3; i++)
        td_sem_give(&sem);
    expect_int(td_scope_join(&scope), 0);
    expect_int(actors[1].rank, 0);
    expect_int(actors[0].rank, 1);
    expect_int(actors[2].rank, 2);
    expect_int(actors[3].rank, 3);
    expect_int((long long)stats_of(&sem).permits, 0);
    expect_int(stats_of(&sem).oldest_wait_ns, 0);
    expect_int((long long)stats_of(&sem).waits, 4);
    return 0;
}

static void tasks_are_served_in_the_order_they_came(void **state)
{
    assert_int_equal(run(state, serve_in_order, NULL), 0);
}

static int nobody_overtakes(void *arg)
{
    struct actor waiting = {take, NULL}, late = {take, NULL};
    td_scope scope;
    td_sem sem;

    td_sem_init(&sem, 0);
    waiting.on = late.on = &sem;
    td_scope_open(&scope);
    actor_start(&scope, &waiting);
    settle();
    td_sem_give(&sem);  /* it is the waiting one's, though that has not run yet */
    expect_int(td_sem_try_take(&sem), -EAGAIN);
    actor_start(&scope, &late);
    expect_int(actor_result(&waiting), 0);
    expect(actor_waits(&late));
    td_sem_give(&sem);
    expect_int(actor_result(&late), 0);
    return td_scope_join(&scope);
}

static void a_permit_given_cannot_be_snatched(void **state)
{
    assert_int_equal(run(state, nobody_overtakes, NULL), 0);
}

static int give_then_cancel(void *arg)
{
    struct actor one = {take, NULL};
    td_scope scope;
    td_sem sem;

    td_sem_init(&sem, 0);
    one.on = &sem;
    td_scope_open(&scope);
    actor_start(&scope, &one);
    settle();
    td_sem_give(&sem);
    actor_cancel(&one);  /* too late: it has the permit */
    expect_int(actor_result(&one), 0);
    expect_int((long long)stats_of(&sem).permits, 0);

    actor_start(&scope, &one);
    settle();
    actor_cancel(&one);
    td_sem_give(&sem);  /* and now it has gone, though it has not run yet */
    expect_int((long long)stats_of(&sem).permits, 1);
    expect_int(actor_result(&one), -ECANCELED);
    expect_int((long long)stats_of(&sem).permits, 1);
    return td_scope_join(&scope);
}

static void no_permit_is_lost_to_a_cancellation(void **state)
{
    assert_int_equal(run(state, give_then_cancel, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(permits_are_counted), ON_BOTH(tasks_are_served_in_the_order_they_came),
        ON_BOTH(a_permit_given_cannot_be_snatched), ON_BOTH(no_permit_is_lost_to_a_cancellation),
    };

    return cmocka_run_group_tests_name("sync sem", tests, NULL, NULL);
}
