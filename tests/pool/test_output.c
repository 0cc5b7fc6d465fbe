/* SPDX-License-Identifier: MIT */
/*
 * Room for what a job makes: reserved before the job is accepted, the caller's when it went well, and nobody's otherwise. The
 * arena's balance is even in the end, whatever came between (world_close looks).
 */
#include "pool/jobs.h"

#define SIZE 5000
#define NOBODYS ((void *)(uintptr_t)16)  /* so that a NULL is seen to be stored */

static int fill_output(int rc)
{
    size_t size = 0;
    unsigned char *out = td_job_output(&size);

    if (!out || size != SIZE)
        return -EPROTO;
    memset(out, 0x3C, size);
    return rc;
}

static int make_something(void *arg)
{
    return fill_output(arg ? *(int *)arg : 0);
}

static int make_something_and_stay(void *arg)
{
    fill_output(0);
    return stay_in_gate(arg);
}

static int make_something_and_die(void *arg)
{
    fill_output(0);
    return drop_dead(arg);
}

static td_offload_opts with_output(void **output)
{
    *output = NOBODYS;
    return (td_offload_opts){.when_full = TD_POOL_DEFAULT, .output_bytes = SIZE, .output = output};
}

static size_t owned_bytes(void)
{
    td_shared_stats stats;

    td_shared_statistics(&stats);
    return stats.owned_bytes;
}

STORY(an_output_belongs_to_the_caller)
{
    static const int results[] = {0, 1, 4711};
    struct world w;
    int *number = td_shared_calloc(1, sizeof *number);
    void *output;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (size_t i = 0; i < COUNT(results); i++) {
        td_offload_opts opts = with_output(&output);
        bool same = true;

        *number = results[i];
        expect_int(td_offload_with(w.pool, make_something, number, &opts), results[i]);
        if (!expect(output != NULL && output != NOBODYS))
            continue;
        expect(td_shared_has(output, SIZE));
        for (size_t j = 0; j < SIZE; j++)
            same = same && ((unsigned char *)output)[j] == 0x3C;
        expect(same);
        expect_int((long long)owned_bytes(), 0);  /* given */
        memset(output, 0xFF, SIZE);
        td_shared_free(output);
    }
    td_shared_free(number);
    world_close(&w);
    return 0;
}

STORY(a_job_that_failed_leaves_no_output)
{
    static const int results[] = {-1, -EIO, -ECANCELED, INT32_MIN};
    struct world w;
    int *number = td_shared_calloc(1, sizeof *number);
    void *output;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (size_t i = 0; i < COUNT(results); i++) {
        td_offload_opts opts = with_output(&output);

        *number = results[i];
        expect_int(td_offload_with(w.pool, make_something, number, &opts), results[i]);
        expect(output == NULL);
    }
    expect_int((long long)owned_bytes(), 0);
    td_shared_free(number);
    world_close(&w);
    return 0;
}

STORY(a_job_that_never_ran_leaves_no_output)
{
    struct world w;
    struct handed first, jobs[2];
    void *output[3];
    td_offload_opts opts;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = 2, .when_full = TD_REJECT});
    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand(&w, &scope, &first, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    for (int i = 0; i < 2; i++)
        expect_int(hand(&w, &scope, &jobs[i], make_something, NULL, with_output(&output[i])), 0);
    expect(owned_bytes() >= 2 * SIZE);  /* reserved before they run */
    opts = with_output(&output[2]);
    expect_int(td_offload_with(w.pool, make_something, NULL, &opts), -EBUSY);
    expect(output[2] == NULL);
    td_job_cancel(&jobs[0].job);
    expect_int(td_job_wait(&jobs[0].job), -ECANCELED);
    expect(output[0] == NULL);
    opts = with_output(&output[2]);
    opts.deadline = td_ms(2);
    expect_int(td_offload_with(w.pool, make_something, NULL, &opts), -ETIMEDOUT);
    expect(output[2] == NULL);
    open_gate(&w);
    expect_int(td_job_wait(&jobs[1].job), 0);
    expect(output[1] != NULL && output[1] != NOBODYS);
    td_shared_free(output[1]);
    expect_int(td_scope_join(&scope), 0);
    expect_accounted(&w, 5);
    world_close(&w);
    return 0;
}

STORY(a_job_that_was_ended_leaves_no_output)
{
    struct world w;
    struct handed job;
    void *output;
    td_offload_opts opts;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    opts = with_output(&output);
    expect_int(td_offload_with(w.pool, make_something_and_die, NULL, &opts), -EOWNERDEAD);
    expect(output == NULL);
    opts = with_output(&output);
    opts.deadline = td_ms(100);
    expect_int(td_offload_with(w.pool, make_something_and_stay, w.gate, &opts), -ETIMEDOUT);
    expect(output == NULL);
    atomic_store(&w.gate->entered, 0);
    td_scope_open(&scope);
    hand(&w, &scope, &job, make_something_and_stay, w.gate, with_output(&output));
    wait_entered(&w, 1);
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), -ECANCELED);
    expect(output == NULL);
    expect_int((long long)owned_bytes(), 0);
    world_close(&w);
    return 0;
}

STORY(a_submitted_jobs_output_is_there_when_it_is_done)
{
    struct world w;
    struct handed job;
    void *output;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    expect_int(hand(&w, &scope, &job, make_something, NULL, with_output(&output)), 0);
    expect_int(td_job_wait(&job.job), 0);
    expect(output != NULL && output != NOBODYS && td_shared_has(output, SIZE));
    td_scope_cancel(&scope);  /* too late: it is the caller's */
    td_scope_join(&scope);
    expect(output != NULL && td_shared_has(output, SIZE));
    td_shared_free(output);
    world_close(&w);
    return 0;
}

static int look_for_output(void *arg)
{
    size_t size = 99;

    return td_job_output(&size) ? 1 : 0;
}

STORY(a_job_without_output_has_none)
{
    struct world w;
    void *output = NOBODYS;
    struct handed job;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect_int(td_offload(w.pool, look_for_output, NULL), 0);
    td_scope_open(&scope);
    hand(&w, &scope, &job, make_something, NULL, with_output(&output));
    expect_int(td_scope_join(&scope), 0);
    td_shared_free(output);
    expect_int(td_offload(w.pool, look_for_output, NULL), 0);  /* nor the one of the job before */
    world_close(&w);
    return 0;
}

/* As much as the arena holds: what does not fit is refused, and what was accepted comes out. */
static int fill_arena(void *arg)
{
    struct world w;
    struct handed first, jobs[40];
    void *output[40];
    size_t big = 1 << 20;
    int accepted = 0, refused = 0;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue_bytes = (size_t)1 << 40});
    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand(&w, &scope, &first, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    for (int i = 0; i < 40; i++) {
        td_offload_opts opts = {.when_full = TD_REJECT, .output_bytes = big, .output = &output[i]};
        int rc;

        output[i] = NOBODYS;
        rc = hand(&w, &scope, &jobs[i], no_task, NULL, opts);
        expect(rc == 0 || rc == -ENOMEM);
        expect_int(jobs[i].report.refusal, rc == 0 ? TD_REFUSED_NOT : TD_REFUSED_MEMORY);
        expect(rc == 0 || output[i] == NULL);
        accepted += rc == 0;
        refused += rc == -ENOMEM;
    }
    expect(accepted > 0 && refused > 0);
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_MEMORY], refused);
    expect(!td_scope_cancelled(&scope));
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 40; i++)
        td_shared_free(output[i]);
    expect_accounted(&w, 41);
    expect_int(td_offload_with(w.pool, no_task, NULL, &(td_offload_opts){.output_bytes = 1u << 31, .output = output}), -ENOMEM);
    expect(output[0] == NULL);
    world_close(&w);
    return 0;
}

static void without_room_for_its_output_a_job_is_refused(void **state)
{
    assert_int_equal(run_with(state, (td_opts){.shared_bytes_max = 24 << 20}, fill_arena, state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(an_output_belongs_to_the_caller), ON_ALL(a_job_that_failed_leaves_no_output),
        ON_ALL(a_job_that_never_ran_leaves_no_output), WITH_PROCESSES(a_job_that_was_ended_leaves_no_output),
        ON_ALL(a_submitted_jobs_output_is_there_when_it_is_done), ON_ALL(a_job_without_output_has_none),
        ON_ALL(without_room_for_its_output_a_job_is_refused),
    };

    return cmocka_run_group_tests_name("pool output", tests, NULL, NULL);
}
