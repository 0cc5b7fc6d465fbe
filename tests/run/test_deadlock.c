/* SPDX-License-Identifier: MIT */
/* -EDEADLK: every task waits and nothing is pending. The log says who waits for what. */
#include "run/harness.h"

struct couple {
    td_chan *left, *right;
    int left_rc, right_rc;
};

static int hold_left(void *arg)
{
    struct couple *couple = arg;

    couple->left_rc = td_chan_receive(couple->left, &(int){0});
    return couple->left_rc;
}

static int hold_right(void *arg)
{
    struct couple *couple = arg;

    couple->right_rc = td_chan_receive(couple->right, &(int){0});
    return couple->right_rc;
}

static int after_you(void *arg)
{
    struct couple couple = {.left_rc = 1};
    td_scope scope;

    td_chan_open(&couple.left, &(td_chan_opts){.item_size = sizeof(int), .capacity = 1, .name = "the left door"});
    td_chan_open(&couple.right, &(td_chan_opts){.item_size = sizeof(int), .capacity = 1});
    td_scope_open(&scope);
    td_spawn_at(&scope, hold_left, &couple, "bob.c:1");
    td_spawn_at(&scope, hold_right, &couple, "ann.c:2");
    expect_int(td_scope_join(&scope), -ECANCELED);
    expect_int(couple.left_rc, -ECANCELED);
    expect_int(couple.right_rc, -ECANCELED);
    expect_int(td_yield(), -ECANCELED);
    td_chan_free(couple.left);
    td_chan_free(couple.right);
    return 0;
}

static int run_couple(void **state)
{
    int seven = 7, descriptors = descriptors_count();

    expect_int(td_run_with(&(td_opts){.backend = backend_of(state)}, after_you, NULL), -EDEADLK);
    expect_int(descriptors_count(), descriptors);
    expect_int(td_run_with(&(td_opts){.backend = backend_of(state)}, no_task, &seven), 0);  /* and life goes on */
    return 0;
}

static void two_tasks_that_wait_for_each_other(void **state)
{
    struct ending ending = in_child(state, run_couple);

    assert_ended_well(&ending);
    assert_says(&ending, "deadlock: all 3 tasks wait");
    assert_says(&ending, "task spawned at bob.c:1 waits: receive from channel the left door");
    assert_says(&ending, "task spawned at ann.c:2 waits: receive from a channel");
    assert_says(&ending, "task spawned at td_run waits: the tasks of a scope");
    assert_says(&ending, "at hold_left+");   /* both sites of waiting, not only of spawning */
    assert_says(&ending, "at hold_right+");
}

static int wait_alone(void *arg)
{
    td_event never;

    td_event_init(&never);
    return td_event_wait(&never);
}

static int run_alone(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, wait_alone, NULL) != -EDEADLK;
}

static void one_task_that_waits_for_nobody(void **state)
{
    struct ending ending = in_child(state, run_alone);

    assert_ended_well(&ending);
}

static int wait_beside_a_pool(void *arg)
{
    td_event never;
    td_pool *pool;
    int rc;

    expect_int(td_pool_open(&pool, &(td_pool_opts){.kind = *(td_pool_kind *)arg, .workers = 2}), 0);
    expect_int(td_offload(pool, no_task, NULL), 0);
    td_event_init(&never);
    rc = td_event_wait(&never);
    td_pool_close(pool);
    return rc;
}

static int run_beside_pool(void **state)
{
    td_pool_kind kinds[] = {TD_THREADS, TD_PROCESSES};
    td_opts opts = {.backend = backend_of(state)};

    for (int i = 0; i < 2; i++)
        expect_int(td_run_with(&opts, wait_beside_a_pool, &kinds[i]), -EDEADLK);
    return 0;
}

/* Idle workers make nobody ready. */
static void an_idle_pool_is_nothing_pending(void **state)
{
    struct ending ending = in_child(state, run_beside_pool);

    assert_ended_well(&ending);
}

static int wait_in_scope(void *arg)
{
    td_event never;
    td_scope scope;

    td_event_init(&never);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(3)));
    expect_int(td_event_wait(&never), -ECANCELED);
    return td_scope_join(&scope);
}

static void a_deadline_is_something_pending(void **state)
{
    assert_int_equal(run(state, wait_in_scope, NULL), -ETIMEDOUT);
}

static int ring(void *arg)
{
    td_sleep(td_ms(2));
    td_event_set(arg);
    return 0;
}

static int wait_for_sleeper(void *arg)
{
    td_event event;
    td_scope scope;

    td_event_init(&event);
    td_scope_open(&scope);
    td_spawn(&scope, ring, &event);
    expect_int(td_event_wait(&event), 0);
    return td_scope_join(&scope);
}

static void a_sleeping_task_is_something_pending(void **state)
{
    assert_int_equal(run(state, wait_for_sleeper, NULL), 0);
}

static int nap(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
    return 0;
}

static int wait_for_jobs(void *arg)
{
    td_pool *pool;

    expect_int(td_pool_open(&pool, &(td_pool_opts){.kind = *(td_pool_kind *)arg, .workers = 1}), 0);
    for (int i = 0; i < 5; i++)
        expect_int(td_offload(pool, nap, NULL), 0);
    return td_pool_close(pool);
}

static void a_job_is_something_pending(void **state)
{
    td_pool_kind kinds[] = {TD_THREADS, TD_PROCESSES};

    for (int i = 0; i < 2; i++)
        assert_int_equal(run(state, wait_for_jobs, &kinds[i]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(two_tasks_that_wait_for_each_other), ON_BOTH(one_task_that_waits_for_nobody),
        ON_BOTH(an_idle_pool_is_nothing_pending), ON_BOTH(a_deadline_is_something_pending),
        ON_BOTH(a_sleeping_task_is_something_pending), ON_BOTH(a_job_is_something_pending),
    };

    return cmocka_run_group_tests_name("run deadlock", tests, NULL, NULL);
}
