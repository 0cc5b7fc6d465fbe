/* SPDX-License-Identifier: MIT */
/* Workers in another language: tests/pool/worker.py, which has nothing of ours. */
#include "pool/jobs.h"

enum { OP_ADD = 1, OP_DOUBLE, OP_SIZES, OP_CRASH, OP_HANG, OP_EAT, OP_GARBAGE = 100, OP_GARBAGE_END = 107, OP_NOTHING = 200 };

#define NUMBERS 1000

struct numbers {
    int64_t count, of[NUMBERS];
};

static const char *const python_worker[] = {"/usr/bin/python3", WORKER, NULL};

static void python_open(struct world *w, void **state, td_pool_opts opts)
{
    if (!opts.command)
        opts.command = python_worker;
    if (!opts.workers)
        opts.workers = 1;
    world_open(w, state, opts);
}

static int add_up(struct world *w, struct numbers *numbers, int64_t *sum)
{
    void *output = NULL;
    int rc = td_offload_with(w->pool, td_op(OP_ADD), numbers, &(td_offload_opts){.output_bytes = sizeof *sum, .output = &output});

    if (rc == 0 && expect(output != NULL))
        *sum = *(int64_t *)output;
    td_shared_free(output);
    return rc;
}

static int sum_numbers(void *arg)
{
    struct numbers *numbers;
    struct world w;
    int64_t sum = 0;

    python_open(&w, arg, (td_pool_opts){0});
    numbers = td_shared_calloc(1, sizeof *numbers);
    numbers->count = NUMBERS;
    for (int64_t i = 0; i < NUMBERS; i++)
        numbers->of[i] = i;
    for (int i = 0; i < 20; i++) {
        numbers->of[0] = i;
        expect_int(add_up(&w, numbers, &sum), 0);
        expect_int(sum, i + NUMBERS * (NUMBERS - 1) / 2);
    }
    expect_int((long long)stats_of(&w).ok, 20);
    expect_int((long long)stats_of(&w).deaths, 0);
    td_shared_free(numbers);
    world_close(&w);
    return 0;
}

static void a_program_in_another_language_works_on_our_memory(void **state)
{
    assert_int_equal(run(state, sum_numbers, state), 0);
}

/* What a worker is told of its memory: from the argument to the end of its block, and the room that was asked for. */
static int ask_for_sizes(void *arg)
{
    td_offload_opts with_output = {.output_bytes = 3};
    struct world w;
    int64_t *block;
    void *output;

    python_open(&w, arg, (td_pool_opts){0});
    block = td_shared_calloc(1, 512);
    expect_int(td_offload(w.pool, td_op(OP_SIZES), NULL), 0);
    expect_int(td_offload(w.pool, td_op(OP_SIZES), block), 512);
    expect_int(td_offload(w.pool, td_op(OP_SIZES), block + 63), 8);
    expect_int(td_offload_with(w.pool, td_op(OP_SIZES), NULL, &with_output), 3000);
    with_output.output = &output;
    expect_int(td_offload_with(w.pool, td_op(OP_ADD), block, &(td_offload_opts){.output_bytes = 512, .output = &output}), 0);
    *(int64_t *)output = 21;  /* an output is an argument as any other block, and lies in the other file */
    expect_int(td_offload(w.pool, td_op(OP_DOUBLE), output), 21);
    expect_int(*(int64_t *)output, 42);
    td_shared_free(output);
    td_shared_free(block);
    world_close(&w);
    return 0;
}

static void it_is_told_of_its_memory(void **state)
{
    assert_int_equal(run(state, ask_for_sizes, state), 0);
}

static int map_numbers(void *arg)
{
    int64_t *numbers;
    struct world w;
    int *results;

    python_open(&w, arg, (td_pool_opts){.workers = 2});
    numbers = td_shared_calloc(NUMBERS, sizeof *numbers);
    results = td_shared_calloc(NUMBERS, sizeof *results);
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = i;
    expect_int(td_pool_map(w.pool, td_op(OP_DOUBLE), numbers, NUMBERS, sizeof *numbers), 0);
    for (int i = 0; i < NUMBERS; i++)
        expect_int(numbers[i], 2 * i);
    numbers[500] = -1;
    expect_int(td_pool_map_with(w.pool, td_op(OP_DOUBLE), numbers, NUMBERS, sizeof *numbers,
                                &(td_map_opts){.collect = true, .results = results}), 0);
    for (int i = 0; i < NUMBERS; i++) {
        expect_int(numbers[i], i == 500 ? -1 : 4 * i);
        expect_int(results[i], i == 500 ? -EINVAL : 2 * i);
    }
    expect_int(td_pool_map(w.pool, td_op(OP_DOUBLE), numbers, NUMBERS, sizeof *numbers), -EINVAL);
    td_shared_free(numbers);
    td_shared_free(results);
    world_close(&w);
    return 0;
}

static void a_map_is_a_call_for_each_item(void **state)
{
    assert_int_equal(run(state, map_numbers, state), 0);
}

static int die_each_way(void *arg)
{
    td_offload_opts short_time = {.deadline = td_ms(200)};
    struct world w;

    python_open(&w, arg, (td_pool_opts){0});
    expect_int(td_offload(w.pool, td_op(OP_CRASH), NULL), -EOWNERDEAD);
    expect_int(td_offload(w.pool, td_op(OP_NOTHING), NULL), 0);
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_EXIT], 1);
    expect_int(td_offload_with(w.pool, td_op(OP_HANG), NULL, &short_time), -ETIMEDOUT);
    expect_int(td_offload(w.pool, td_op(OP_NOTHING), NULL), 0);
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_DEADLINE], 1);
    for (unsigned op = OP_GARBAGE; op <= OP_GARBAGE_END; op++) {
        int rc = td_offload(w.pool, td_op(op), NULL);

        expect(rc == -EOWNERDEAD || (op == 105 && rc == 0));
        eventually(stats_of(&w).deaths == op - OP_GARBAGE + 3);  /* 105: the answer was right, and what followed was not */
        expect_int(td_offload(w.pool, td_op(OP_NOTHING), NULL), 0);
    }
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_CORRUPT], 7);
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_EXIT], 2);  /* 107 closed its socket, and Python did not like that */
    world_close(&w);
    return 0;
}

static void what_goes_wrong_there_costs_one_job(void **state)
{
    assert_int_equal(run(state, die_each_way, state), 0);
}

static int hold_to_limits(void *arg)
{
    int64_t *bytes;
    struct world w;

    python_open(&w, arg, (td_pool_opts){.memory_max = 64 << 20, .cpu_max_ns = 1});
    bytes = td_shared_calloc(1, sizeof *bytes);
    *bytes = 16 << 20;
    expect_int(td_offload(w.pool, td_op(OP_EAT), bytes), 16);
    *bytes = 1 << 30;
    expect_int(td_offload(w.pool, td_op(OP_EAT), bytes), -ENOMEM);
    expect_int((long long)stats_of(&w).deaths, 0);
    expect_int(td_offload(w.pool, td_op(OP_HANG), NULL), -EOWNERDEAD);
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_CPU], 1);
    td_shared_free(bytes);
    world_close(&w);
    return 0;
}

static void limits_hold_there_too(void **state)
{
    assert_int_equal(run(state, hold_to_limits, state), 0);
}

static int ask_for_nonsense(void *arg)
{
    static const char *const empty[] = {NULL};
    td_pool_opts wrong[] = {{.command = empty}, {.command = python_worker, .strict = true},
                            {.command = python_worker, .worker_init = stay_in_gate}};
    td_pool *pool;
    struct world w;

    for (size_t i = 0; i < COUNT(wrong); i++) {
        wrong[i].kind = TD_PROCESSES;
        expect_int(td_pool_open(&pool, &wrong[i]), -EINVAL);
    }
    python_open(&w, arg, (td_pool_opts){0});
    expect_int(td_offload(w.pool, pass_gate, w.gate), -EINVAL);
    world_close(&w);
    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect_int(td_offload(w.pool, td_op(1), w.gate), -EINVAL);
    world_close(&w);
    return 0;
}

static void functions_and_numbers_are_not_confused(void **state)
{
    assert_int_equal(run(state, ask_for_nonsense, state), 0);
}

/* A program that is not there; one that ends; one that says something else; one that says nothing. */
static int run_no_workers(void *arg)
{
    static const char *const missing[] = {"/nowhere/worker", NULL}, *const brief[] = {"/bin/true", NULL};
    static const char *const rude[] = {"/usr/bin/python3", "-c", "import socket; socket.socket(fileno=3).send(b'hello')", NULL};
    static const char *const mute[] = {"/bin/sleep", "1000", NULL};
    td_refusal refusal;
    struct world w;
    int rc = 0;

    python_open(&w, arg, (td_pool_opts){.command = missing});
    expect_int(td_offload(w.pool, td_op(1), NULL), -ENOENT);
    world_close(&w);
    for (int i = 0; i < 2; i++) {
        td_job_report report = {0};

        python_open(&w, arg, (td_pool_opts){.command = i ? rude : brief});
        rc = td_offload_with(w.pool, td_op(1), NULL, &(td_offload_opts){.report = &report});
        refusal = report.refusal;
        expect_int(rc, -EOWNERDEAD);
        expect_int(refusal, TD_REFUSED_BROKEN);
        world_close(&w);
    }
    python_open(&w, arg, (td_pool_opts){.command = mute, .deadline = td_ms(50)});
    expect_int(td_offload(w.pool, td_op(1), NULL), -ETIMEDOUT);
    world_close(&w);
    return 0;
}

static void a_program_that_is_no_worker_is_an_error(void **state)
{
    assert_int_equal(run(state, run_no_workers, state), 0);
}

static int stop_and_kill(void *arg)
{
    struct world w;
    int pids[CHILDREN_MAX];

    python_open(&w, arg, (td_pool_opts){.deadline = td_ms(500)});
    for (int i = 0; i < 3; i++) {
        while (td_offload(w.pool, td_op(OP_NOTHING), NULL) == -ETIMEDOUT)  /* Python takes its time to start */
            ;
        if (!expect_int(children_list(getpid(), "python3", pids), 1))
            break;
        expect_int(kill(pids[0], i == 2 ? SIGKILL : SIGSTOP), 0);
        expect_int(td_offload(w.pool, td_op(OP_NOTHING), NULL), i == 2 ? -EOWNERDEAD : -ETIMEDOUT);
    }
    world_close(&w);
    return 0;
}

static void a_stopped_worker_is_killed_at_the_deadline(void **state)
{
    assert_int_equal(run(state, stop_and_kill, state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROCESSES(a_program_in_another_language_works_on_our_memory), WITH_PROCESSES(it_is_told_of_its_memory),
        WITH_PROCESSES(a_map_is_a_call_for_each_item), WITH_PROCESSES(what_goes_wrong_there_costs_one_job),
        WITH_PROCESSES(limits_hold_there_too), WITH_PROCESSES(functions_and_numbers_are_not_confused),
        WITH_PROCESSES(a_program_that_is_no_worker_is_an_error), WITH_PROCESSES(a_stopped_worker_is_killed_at_the_deadline),
    };

    return cmocka_run_group_tests_name("pool command", tests, NULL, NULL);
}
