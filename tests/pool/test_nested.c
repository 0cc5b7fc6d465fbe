/* SPDX-License-Identifier: MIT */
/* Inside a job: nothing is submitted from there, since a job that waits for a job of its own pool could wait for ever. */
#include <pthread.h>

#include "pool/jobs.h"

/* In shared memory: what a job was told. The pool's address means something only where the pool was opened. */
struct attempt {
    td_pool *pool, *other;
    td_scope *scope;
    td_job *job;
    int offload, offload_with, submit, map, map_with, elsewhere, in_job;
};

static int try_everything(void *arg)
{
    struct attempt *attempt = arg;

    attempt->in_job = td_in_job();
    attempt->offload = td_offload(attempt->pool, no_task, NULL);
    attempt->offload_with = td_offload_with(attempt->pool, no_task, NULL, &(td_offload_opts){.when_full = TD_REJECT});
    attempt->submit = td_submit(attempt->scope, attempt->job, attempt->pool, no_task, NULL, NULL);
    attempt->map = td_pool_map(attempt->pool, no_task, attempt, 1, sizeof *attempt);
    attempt->map_with = td_pool_map_with(attempt->pool, no_task, attempt, 1, sizeof *attempt, &(td_map_opts){.window = 1});
    attempt->elsewhere = td_offload(attempt->other, no_task, NULL);
    return 3;
}

static void expect_refusals(const struct attempt *attempt)
{
    expect_int(attempt->in_job, true);
    expect_int(attempt->offload, -EDEADLK);
    expect_int(attempt->offload_with, -EDEADLK);
    expect_int(attempt->submit, -EDEADLK);
    expect_int(attempt->map, -EDEADLK);
    expect_int(attempt->map_with, -EDEADLK);
    expect_int(attempt->elsewhere, -EDEADLK);
}

STORY(a_job_submits_nothing)
{
    struct world w, other;
    struct attempt *attempt = td_shared_calloc(1, sizeof *attempt);
    struct handed job;
    td_job unused = {0};
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    world_open(&other, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    *attempt = (struct attempt){.pool = w.pool, .other = other.pool, .scope = &scope, .job = &unused};
    expect_int(td_offload(w.pool, try_everything, attempt), 3);
    expect_refusals(attempt);
    *attempt = (struct attempt){.pool = w.pool, .other = other.pool, .scope = &scope, .job = &unused};
    expect_int(hand(&w, &scope, &job, try_everything, attempt, AS_THE_POOL), 0);
    expect_int(td_job_wait(&job.job), 3);
    expect_refusals(attempt);
    *attempt = (struct attempt){.pool = w.pool, .other = other.pool, .scope = &scope, .job = &unused};
    expect_int(td_pool_map(w.pool, try_everything, attempt, 1, sizeof *attempt), 0);
    expect_refusals(attempt);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)stats_of(&w).ok, 3);  /* and what was refused inside is not counted */
    expect_accounted(&w, 3);
    expect_int(td_offload(other.pool, no_task, NULL), 0);
    expect_accounted(&other, 1);
    expect_int(td_pool_close(other.pool), 0);
    td_shared_free(other.gate);
    td_shared_free(attempt);
    world_close(&w);
    return 0;
}

static int ask(void *arg)
{
    *(int *)arg = td_in_job();
    return 0;
}

static void *ask_in_thread(void *arg)
{
    return td_in_job() || td_job_cancelled() || td_job_output(&(size_t){0}) ? arg : NULL;
}

STORY(whoever_is_no_job_is_told_so)
{
    struct world w;
    int *asked = td_shared_calloc(1, sizeof *asked);
    size_t size = 7;
    pthread_t thread;
    void *said = &thread;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect(!td_in_job() && !td_job_cancelled() && !td_job_output(&size));
    expect_int(td_offload(w.pool, ask, asked), 0);
    expect_int(*asked, true);
    expect(!td_in_job());
    expect_int(pthread_create(&thread, NULL, ask_in_thread, &size), 0);
    pthread_join(thread, &said);
    expect(said == NULL);
    td_shared_free(asked);
    world_close(&w);
    return 0;
}

static int run_outside(void **state)
{
    return td_in_job() || td_job_cancelled() ? 1 : 0;
}

static void the_main_program_is_no_job(void **state)
{
    struct ending ending = in_child(NULL, run_outside);

    assert_ended_well(&ending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(a_job_submits_nothing), ON_ALL(whoever_is_no_job_is_told_so), cmocka_unit_test(the_main_program_is_no_job),
    };

    return cmocka_run_group_tests_name("pool nested", tests, NULL, NULL);
}
