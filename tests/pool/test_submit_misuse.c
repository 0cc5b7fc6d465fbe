/* SPDX-License-Identifier: MIT */
/* Law 8: what no correct program does to a pool or its jobs ends it with a sentence. */
#include "pool/jobs.h"

static int submit_outside(void **state)
{
    td_scope scope = {.open = true};
    td_job job;

    return td_submit(&scope, &job, (td_pool *)state, no_task, NULL, NULL);
}

static int offload_outside(void **state)
{
    return td_offload((td_pool *)state, no_task, NULL);
}

static int map_outside(void **state)
{
    int item = 0;

    return td_pool_map((td_pool *)state, no_task, &item, 1, sizeof item);
}

static int wait_outside(void **state)
{
    td_job job = {0};

    return td_job_wait(&job);
}

static int cancel_outside(void **state)
{
    td_job job = {0};

    td_job_cancel(&job);
    return 0;
}

static void job_functions_outside_a_task(void **state)
{
    static const struct { int (*body)(void **state); const char *name; } functions[] = {
        {submit_outside, "td_submit"}, {offload_outside, "td_offload"}, {wait_outside, "td_job_wait"},
        {cancel_outside, "td_job_cancel"},
    };

    for (size_t i = 0; i < COUNT(functions); i++) {
        char text[100];

        snprintf(text, sizeof text, "%s was called outside a task; call it from", functions[i].name);
        assert_aborts_saying(NULL, functions[i].body, text);
    }
}

static void a_map_outside_a_task(void **state)
{
    assert_aborts_saying(NULL, map_outside, "td_pool_map was called outside a task; call it from");
}

/* Two loops, of which the first opens the pool and the other uses it. */
struct two_loops {
    void **state;
    td_pool *_Atomic pool;
    td_job *_Atomic job;
    int (*use)(struct two_loops *two);
};

static int first_loop(struct two_loops *two)
{
    struct handed job;
    struct world w;
    td_scope scope;

    world_open(&w, two->state, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    hand(&w, &scope, &job, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    atomic_store(&two->job, &job.job);
    atomic_store(&two->pool, w.pool);
    td_sleep(td_sec(5));
    _exit(0);  /* nobody minded */
}

static int on_each_loop(void *arg)
{
    struct two_loops *two = arg;

    if (td_loop_index() == 0)
        return first_loop(two);
    while (!atomic_load(&two->pool))
        td_sleep(td_ms(1));
    return two->use(two);
}

static int submit_there(struct two_loops *two)
{
    td_scope scope;
    td_job job;

    td_scope_open(&scope);
    td_submit(&scope, &job, two->pool, no_task, NULL, NULL);
    return td_scope_join(&scope);
}

static int offload_there(struct two_loops *two)
{
    return td_offload(two->pool, no_task, NULL);
}

static int wait_there(struct two_loops *two)
{
    return td_job_wait(two->job);
}

static int cancel_there(struct two_loops *two)
{
    td_job_cancel(two->job);
    return 0;
}

static int look_there(struct two_loops *two)
{
    td_pool_stats stats;

    td_pool_statistics(two->pool, &stats);
    return 0;
}

static int close_there(struct two_loops *two)
{
    return td_pool_close(two->pool);
}

static int run_two(void **state, int (*use)(struct two_loops *two))
{
    struct two_loops two = {.state = state, .use = use};

    return td_run_with(&(td_opts){.backend = backend_of(state), .loops = 2, .stall_after = TD_FOREVER}, on_each_loop, &two);
}

static int run_submit_there(void **state)
{
    return run_two(state, submit_there);
}

static int run_offload_there(void **state)
{
    return run_two(state, offload_there);
}

static int run_wait_there(void **state)
{
    return run_two(state, wait_there);
}

static int run_cancel_there(void **state)
{
    return run_two(state, cancel_there);
}

static int run_look_there(void **state)
{
    return run_two(state, look_there);
}

static int run_close_there(void **state)
{
    return run_two(state, close_there);
}

static int map_there(struct two_loops *two)
{
    int item = 0;

    return td_pool_map(two->pool, no_task, &item, 1, sizeof item);
}

static int run_map_there(void **state)
{
    return run_two(state, map_there);
}

static void a_pool_belongs_to_the_loop_that_opened_it(void **state)
{
    static int (*const bodies[])(void **state) = {run_submit_there, run_offload_there};

    for (size_t i = 0; i < COUNT(bodies); i++)
        assert_aborts_saying(state, bodies[i], "the pool belongs to another loop");
}

static void a_job_belongs_to_the_loop_that_submitted_it(void **state)
{
    static int (*const bodies[])(void **state) = {run_wait_there, run_cancel_there};

    for (size_t i = 0; i < COUNT(bodies); i++)
        assert_aborts_saying(state, bodies[i], "another loop");
}

static void a_pool_is_looked_at_and_closed_where_it_was_opened(void **state)
{
    static int (*const bodies[])(void **state) = {run_map_there, run_look_there, run_close_there};

    for (size_t i = 0; i < COUNT(bodies); i++)
        assert_aborts_saying(state, bodies[i], "the pool belongs to another loop");
}

static int submit_to_joined(void *arg)
{
    struct handed job;
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    expect_int(td_scope_join(&scope), 0);
    return hand(&w, &scope, &job, pass_gate, w.gate, AS_THE_POOL);
}

static int run_submit_to_joined(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, submit_to_joined, state);
}

static void a_scope_that_was_joined_takes_no_jobs(void **state)
{
    assert_aborts_saying(state, run_submit_to_joined, "td_submit");
}

static int leave_scope_open(void *arg)
{
    struct handed job;
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    return hand(&w, &scope, &job, stay_in_gate, w.gate, AS_THE_POOL);
}

static int run_leave_scope_open(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, leave_scope_open, state);
}

/* A job may not outlive its scope, and so no task may leave one behind that holds a job. */
static void a_task_that_ends_with_a_job_in_an_open_scope(void **state)
{
    struct ending ending = in_child(state, run_leave_scope_open);

    assert_killed_by(&ending, SIGABRT);
    assert_says(&ending, "scope");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(job_functions_outside_a_task), cmocka_unit_test(a_map_outside_a_task),
        ON_ALL(a_pool_belongs_to_the_loop_that_opened_it), ON_ALL(a_job_belongs_to_the_loop_that_submitted_it),
        ON_ALL(a_pool_is_looked_at_and_closed_where_it_was_opened),
        ON_ALL(a_scope_that_was_joined_takes_no_jobs), ON_ALL(a_task_that_ends_with_a_job_in_an_open_scope),
    };

    return cmocka_run_group_tests_name("pool submit misuse", tests, NULL, NULL);
}
