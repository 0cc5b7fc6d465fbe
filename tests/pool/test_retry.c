/* SPDX-License-Identifier: MIT */
/* A job that may be run again is given to another worker when one died of it, and not for ever. */
#include "pool/jobs.h"

/* In shared memory: how often a job began, and how often it is to die. */
struct cat {
    _Atomic int lives_lost, to_lose, pid;
};

static int live(void *arg)
{
    struct cat *cat = arg;

    atomic_store(&cat->pid, getpid());
    if (atomic_fetch_add(&cat->lives_lost, 1) < atomic_load(&cat->to_lose))
        raise(SIGKILL);
    return 21;
}

struct trial {
    unsigned attempts;
    int deaths, rc;
};

static int try_so_often(void *arg, const struct trial *trial)
{
    struct world w;
    struct cat *cat = td_shared_calloc(1, sizeof *cat);
    struct call call;
    int runs = trial->deaths + (trial->rc >= 0);

    atomic_store(&cat->to_lose, trial->deaths);
    world_open(&w, arg, (td_pool_opts){.workers = 2});
    call = (struct call){w.pool, live, cat, {.attempts = trial->attempts}};
    submit(&call);
    expect_int(call.rc, trial->rc);
    expect_int(atomic_load(&cat->lives_lost), runs);
    expect_int(call.report.deaths, trial->deaths);
    expect_int(call.report.signal, trial->rc < 0 ? SIGKILL : 0);
    expect_int((long long)stats_of(&w).deaths, trial->deaths);
    expect_int((long long)stats_of(&w).died, trial->rc < 0);
    expect_int((long long)stats_of(&w).ok, trial->rc >= 0);
    expect_int((long long)stats_of(&w).quarantined, trial->deaths == TD_ATTEMPTS_MAX);
    expect_accounted(&w, 1);
    td_shared_free(cat);
    world_close(&w);
    return 0;
}

STORY(a_job_has_as_many_attempts_as_it_was_given)
{
    static const struct trial trials[] = {
        {0, 1, -EOWNERDEAD}, {1, 1, -EOWNERDEAD}, {2, 1, 21}, {2, 2, -EOWNERDEAD}, {3, 0, 21}, {3, 2, 21}, {3, 3, -EOWNERDEAD},
    };

    for (size_t i = 0; i < COUNT(trials); i++)
        try_so_often(arg, &trials[i]);
    return 0;
}

STORY(a_death_from_outside_is_an_attempt)
{
    struct world w;
    struct handed job;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    hand(&w, &scope, &job, stay_in_gate, w.gate, (td_offload_opts){.attempts = 3});
    for (int i = 1; i <= 2; i++) {
        wait_entered(&w, i);
        expect_int(kill(atomic_load(&w.gate->pid), SIGKILL), 0);
    }
    wait_entered(&w, 3);
    expect(!td_job_done(&job.job));
    open_gate(&w);
    expect_int(td_job_wait(&job.job), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(job.report.deaths, 2);
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_KILLED], 2);
    world_close(&w);
    return 0;
}

STORY(a_job_killed_by_its_deadline_is_not_run_again)
{
    struct world w;
    struct call call;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_offload(w.pool, no_task, NULL);
    call = (struct call){w.pool, stay_in_gate, w.gate, {.attempts = 3, .deadline = td_ms(50)}};
    submit(&call);
    expect_int(call.rc, -ETIMEDOUT);
    expect(atomic_load(&w.gate->entered) <= 1);
    for (int i = 0; i < 5; i++)
        expect_int(td_offload(w.pool, no_task, NULL), 0);
    expect(atomic_load(&w.gate->entered) <= 1);
    expect_int((long long)stats_of(&w).timeout, 1);
    expect_int((long long)stats_of(&w).died, 0);
    expect_int((long long)stats_of(&w).quarantined, 0);
    expect_accounted(&w, 7);
    world_close(&w);
    return 0;
}

STORY(a_cancelled_job_is_not_run_again)
{
    struct world w;
    struct handed job;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    hand(&w, &scope, &job, stay_in_gate, w.gate, (td_offload_opts){.attempts = 3});
    wait_entered(&w, 1);
    td_job_cancel(&job.job);
    expect_int(td_job_wait(&job.job), -ECANCELED);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 5; i++)
        expect_int(td_offload(w.pool, no_task, NULL), 0);
    expect_int(atomic_load(&w.gate->entered), 1);
    expect_accounted(&w, 6);
    world_close(&w);
    return 0;
}

/* The time is for all of them together. */
STORY(a_deadline_counts_over_all_attempts)
{
    struct world w;
    struct handed job;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_offload(w.pool, no_task, NULL);
    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand(&w, &scope, &job, stay_in_gate, w.gate, (td_offload_opts){.attempts = 3, .deadline = td_ms(200)});
    eventually(atomic_load(&w.gate->entered) == 1 || td_job_done(&job.job));
    if (atomic_load(&w.gate->entered) == 1)
        kill(atomic_load(&w.gate->pid), SIGKILL);
    expect_int(td_job_wait(&job.job), -ETIMEDOUT);
    expect(job.report.deaths <= 2);
    expect_int(td_scope_join(&scope), 0);
    expect_accounted(&w, 2);
    world_close(&w);
    return 0;
}

/* Cancelled, it may run to its end, and that is a death: nobody wants it any more, so it is not run again. */
STORY(a_death_is_told_of_a_job_that_was_cancelled)
{
    struct world w;
    struct handed job;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .on_cancel = TD_CANCEL_FINISH});
    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand(&w, &scope, &job, stay_in_gate, w.gate, (td_offload_opts){.attempts = 3});
    wait_entered(&w, 1);
    td_job_cancel(&job.job);
    kill(atomic_load(&w.gate->pid), SIGKILL);
    expect_int(td_job_wait(&job.job), -EOWNERDEAD);
    expect_int(td_scope_join(&scope), 0);
    expect_int(job.report.signal, SIGKILL);
    expect_int(job.report.deaths, 1);
    expect_int(atomic_load(&w.gate->entered), 1);
    expect_accounted(&w, 1);
    world_close(&w);
    return 0;
}

static int write_and_die_once(void *arg)
{
    struct cat *cat = arg;
    size_t size;
    unsigned char *out = td_job_output(&size);

    memset(out, atomic_load(&cat->lives_lost) ? 2 : 1, size);
    return live(arg);
}

STORY(a_job_that_is_run_again_has_its_output)
{
    struct world w;
    struct cat *cat = td_shared_calloc(1, sizeof *cat);
    struct call call;
    void *output = NULL;

    atomic_store(&cat->to_lose, 1);
    world_open(&w, arg, (td_pool_opts){.workers = 1});
    call = (struct call){w.pool, write_and_die_once, cat, {.attempts = 2, .output_bytes = 3000, .output = &output}};
    submit(&call);
    expect_int(call.rc, 21);
    if (expect(output != NULL))
        for (int i = 0; i < 3000; i++)
            if (!expect_int(((unsigned char *)output)[i], 2))
                break;
    td_shared_free(output);
    td_shared_free(cat);
    world_close(&w);
    return 0;
}

STORY(many_retried_jobs_each_end_once)
{
    struct world w;
    struct handed jobs[40];
    struct cat *cats = td_shared_calloc(40, sizeof *cats);
    td_scope scope;
    int died = 0;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    td_scope_open(&scope);
    td_scope_collect(&scope);
    for (int i = 0; i < 40; i++) {
        atomic_store(&cats[i].to_lose, i % 8 == 0 ? 2 : i % 8 == 4 ? 1 : 0);
        expect_int(hand(&w, &scope, &jobs[i], live, &cats[i], (td_offload_opts){.attempts = 2}), 0);
    }
    for (int i = 0; i < 40; i++) {
        bool dies = i % 8 == 0;

        expect_int(td_job_wait(&jobs[i].job), dies ? -EOWNERDEAD : 21);
        expect_int(atomic_load(&cats[i].lives_lost), i % 4 ? 1 : 2);
        expect_int(jobs[i].report.deaths, atomic_load(&cats[i].to_lose));
        died += dies;
    }
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)stats_of(&w).died, died);
    expect_int((long long)stats_of(&w).deaths, 15);
    expect_accounted(&w, 40);
    td_shared_free(cats);
    world_close(&w);
    return 0;
}

STORY(a_thread_is_not_the_worse_for_attempts)
{
    struct world w;
    struct cat *cat = td_shared_calloc(1, sizeof *cat);
    struct call call;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    call = (struct call){w.pool, live, cat, {.attempts = 3}};
    submit(&call);
    expect_int(call.rc, 21);
    expect_int(atomic_load(&cat->lives_lost), 1);
    expect_int(call.report.deaths, 0);
    td_shared_free(cat);
    world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROCESSES(a_job_has_as_many_attempts_as_it_was_given), WITH_PROCESSES(a_death_from_outside_is_an_attempt),
        WITH_PROCESSES(a_job_killed_by_its_deadline_is_not_run_again), WITH_PROCESSES(a_cancelled_job_is_not_run_again),
        WITH_PROCESSES(a_deadline_counts_over_all_attempts),
        WITH_PROCESSES(a_death_is_told_of_a_job_that_was_cancelled), WITH_PROCESSES(a_job_that_is_run_again_has_its_output),
        WITH_PROCESSES(many_retried_jobs_each_end_once), WITH_THREADS(a_thread_is_not_the_worse_for_attempts),
    };

    return cmocka_run_group_tests_name("pool retry", tests, NULL, NULL);
}
