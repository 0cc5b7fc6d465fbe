/* SPDX-License-Identifier: MIT */
/* What comes back from a job, and what may go in. */
#include "pool/jobs.h"

#define TASKS 50
#define JOBS_EACH 20

struct sum {
    int a, b, sum;
    void *self;
    int pid;
};

static int add(void *arg)
{
    struct sum *sum = arg;

    sum->sum = sum->a + sum->b;
    sum->self = sum;
    sum->pid = getpid();
    return 0;
}

static int give_back(void *arg)
{
    return *(int *)arg;
}

static int offload_results(void *arg)
{
    static const int results[] = {0, -EIO, 17, -ECANCELED, -ETIMEDOUT, INT32_MIN, INT32_MAX};
    struct world w;
    int *result = td_shared_alloc(sizeof *result);

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (size_t i = 0; i < COUNT(results); i++) {
        *result = results[i];
        expect_int(td_offload(w.pool, give_back, result), results[i]);
    }
    td_shared_free(result);
    world_close(&w);
    return 0;
}

static void an_offload_returns_what_the_function_did(void **state)
{
    assert_int_equal(run(state, offload_results, state), 0);
}

static int offload_sum(void *arg)
{
    struct world w;
    struct sum *sum = td_shared_calloc(1, sizeof *sum);

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    sum->a = 2;
    sum->b = 3;
    expect_int(td_offload(w.pool, add, sum), 0);
    expect_int(sum->sum, 5);
    expect(sum->self == sum);
    expect_int(sum->pid == getpid(), kind_of(arg) == TD_THREADS);
    td_shared_free(sum);
    world_close(&w);
    return 0;
}

/* Law 6: the data never moves; a worker reads and writes it where it is, at the same address. */
static void the_data_stays_where_it_is(void **state)
{
    assert_int_equal(run(state, offload_sum, state), 0);
}

static int without_argument(void *arg)
{
    return arg ? -EINVAL : 3;
}

static int offload_nothing(void *arg)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect_int(td_offload(w.pool, without_argument, NULL), 3);
    expect_int(td_offload(w.pool, NULL, NULL), -EINVAL);
    expect_int((long long)outcomes(&w), 1);
    world_close(&w);
    return 0;
}

static void an_argument_may_be_null_and_a_function_not(void **state)
{
    assert_int_equal(run(state, offload_nothing, state), 0);
}

static int offload_private(void *arg)
{
    struct world w;
    int private = 0;
    char *freed = td_shared_alloc(64);

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_shared_free(freed);
    expect_int(td_offload(w.pool, give_back, &private), -EFAULT);
    expect_int(td_offload(w.pool, give_back, freed), -EFAULT);
    expect_int((long long)outcomes(&w), 0);
    expect_int(td_offload(w.pool, no_task, NULL), 0);  /* and the pool is none the worse for it */
    world_close(&w);
    return 0;
}

static int run_private(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, offload_private, state);
}

static void private_memory_is_refused_with_advice(void **state)
{
    struct ending ending = in_child(state, run_private);

    assert_ended_well(&ending);
    assert_says(&ending, "is not in shared memory");
    assert_says(&ending, "td_shared_alloc");
}

static int offload_local(void *arg)
{
    struct world w;
    struct sum sum = {1, 2};

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect_int(td_offload(w.pool, add, &sum), 0);
    expect_int(sum.sum, 3);
    world_close(&w);
    return 0;
}

static void a_thread_sees_all_memory(void **state)
{
    assert_int_equal(run(state, offload_local, state), 0);
}

static int allocate_there(void *arg)
{
    return td_shared_alloc(8) == NULL && !td_shared_has(arg, 1);
}

static int offload_allocation(void *arg)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect_int(td_offload(w.pool, allocate_there, w.gate), 1);
    world_close(&w);
    return 0;
}

static int run_allocation(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, offload_allocation, state);
}

static void a_worker_process_allocates_nothing(void **state)
{
    struct ending ending = in_child(state, run_allocation);

    assert_ended_well(&ending);
    assert_says(&ending, "allocate before td_offload");
}

static int refuse_options(void *arg)
{
    static const td_pool_opts wrong[] = {
        {.kind = (td_pool_kind)2}, {.kind = (td_pool_kind)-1}, {.workers = 1000000}, {.deadline = -1},
        {.queue = SIZE_MAX - 1}, {.when_full = (td_when_full)-1},
        {.on_cancel = (td_on_cancel)7},
    };
    td_pool *pool = NULL;

    for (size_t i = 0; i < COUNT(wrong); i++) {
        int rc = td_pool_open(&pool, &wrong[i]);

        expect_int_at(rc, -EINVAL, "refuse_options", (const char *[]){"kind 2", "kind -1", "workers", "deadline", "queue",
                                                     "TD_POOL_DEFAULT", "when_full -1", "on_cancel"}[i]);
        if (rc == 0)
            td_pool_close(pool);
    }
    return 0;
}

static void options_out_of_range_are_refused(void **state)
{
    assert_int_equal(run(state, refuse_options, NULL), 0);
}

struct crowd {
    td_pool *pool;
    int number;
};

static int offload_many(void *arg)
{
    struct crowd *crowd = arg;
    struct sum *sum = td_shared_alloc(sizeof *sum);

    for (int i = 0; i < JOBS_EACH; i++) {
        *sum = (struct sum){crowd->number, i};
        expect_int(td_offload(crowd->pool, add, sum), 0);
        expect_int(sum->sum, crowd->number + i);
    }
    td_shared_free(sum);
    return 0;
}

static int offload_from_many(void *arg)
{
    struct crowd crowd[TASKS];
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 3, .queue = 5});
    td_scope_open(&scope);
    for (int i = 0; i < TASKS; i++) {
        crowd[i] = (struct crowd){w.pool, i * 1000};
        td_spawn(&scope, offload_many, &crowd[i]);
    }
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)stats_of(&w).ok, TASKS * JOBS_EACH);
    expect_int((long long)outcomes(&w), TASKS * JOBS_EACH);
    expect_int((long long)stats_of(&w).depth, 0);
    expect_int((long long)stats_of(&w).busy, 0);
    world_close(&w);
    return 0;
}

static void each_caller_gets_its_own_result(void **state)
{
    assert_int_equal(run(state, offload_from_many, state), 0);
}

static int tick_meanwhile(void *arg)
{
    struct world w;
    struct call call;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    spawn_call(&w, &scope, &call, stay_in_gate);
    wait_entered(&w, 1);
    for (int i = 0; i < 20; i++)
        expect_int(td_sleep(td_us(200)), 0);
    expect_int(call.ends, 0);
    expect_int((long long)stats_of(&w).busy, 1);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(call.rc, 0);
    expect(call.report.ran_ns >= 20 * td_us(200) && call.report.queued_ns >= 0);
    expect(stats_of(&w).ran_ns >= call.report.ran_ns && stats_of(&w).mean_ran_ns > 0);
    world_close(&w);
    return 0;
}

/* Law 5: the loop does not compute; others go on while a job runs. The report tells the job's times. */
static void the_loop_goes_on_while_a_job_runs(void **state)
{
    assert_int_equal(run(state, tick_meanwhile, state), 0);
}

static int several_pools(void *arg)
{
    struct world worlds[4];

    for (int i = 0; i < 4; i++)
        world_open(&worlds[i], arg, (td_pool_opts){.workers = (unsigned)i});  /* 0: as many as there are cores */
    for (int i = 0; i < 4; i++) {
        expect_int(td_offload(worlds[i].pool, pass_gate, worlds[i].gate), 0);
        expect_int(atomic_load(&worlds[i].gate->left), 1);
        expect(stats_of(&worlds[i]).workers == (unsigned)i || (i == 0 && stats_of(&worlds[i]).workers > 0));
    }
    for (int i = 0; i < 4; i++) {
        expect_int(td_pool_close(worlds[i].pool), 0);
        td_shared_free(worlds[i].gate);
    }
    return 0;
}

static void pools_stand_beside_each_other(void **state)
{
    assert_int_equal(run(state, several_pools, state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(an_offload_returns_what_the_function_did), ON_ALL(the_data_stays_where_it_is),
        ON_ALL(an_argument_may_be_null_and_a_function_not), WITH_PROCESSES(private_memory_is_refused_with_advice),
        WITH_THREADS(a_thread_sees_all_memory), WITH_PROCESSES(a_worker_process_allocates_nothing),
        WITH_THREADS(options_out_of_range_are_refused), ON_ALL(each_caller_gets_its_own_result),
        ON_ALL(the_loop_goes_on_while_a_job_runs), ON_ALL(pools_stand_beside_each_other),
    };

    return cmocka_run_group_tests_name("pool results", tests, NULL, NULL);
}
