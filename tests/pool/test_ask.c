/* SPDX-License-Identifier: MIT */
/* A job that is to end is asked first, and one that looks spares its worker; one that does not is killed, later. */
#include "pool/jobs.h"

/* Longer than any test. A thread is asked as well, and never killed. */
static td_time grace_of(void **state)
{
    return kind_of(state) == TD_PROCESSES ? td_sec(100000) : 0;
}

/* Which process served: the same one as before, or another. */
static int server_of(struct world *w)
{
    struct gate *gate = new_gate();
    int pid;

    atomic_store(&gate->open, true);
    expect_int(td_offload(w->pool, stay_in_gate, gate), 0);
    pid = atomic_load(&gate->pid);
    td_shared_free(gate);
    return pid;
}

STORY(a_job_that_looks_at_its_deadline_spares_its_worker)
{
    struct world w;
    struct call call;
    int pid;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .kill_grace_ns = grace_of(arg)});
    pid = server_of(&w);
    call = (struct call){w.pool, stay_until_asked, w.gate, {.deadline = td_ms(20)}};
    submit(&call);
    expect_int(call.rc, -ETIMEDOUT);
    expect_int(atomic_load(&w.gate->left), atomic_load(&w.gate->entered));  /* by itself, if it began at all */
    expect_int(server_of(&w), pid);
    expect_int((long long)stats_of(&w).deaths, 0);
    expect_int((long long)stats_of(&w).timeout, 1);
    expect_accounted(&w, 3);
    world_close(&w);
    return 0;
}

STORY(a_cancelled_job_that_looks_spares_its_worker)
{
    struct world w;
    struct handed job;
    td_scope scope;
    int pid;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .kill_grace_ns = grace_of(arg)});
    pid = server_of(&w);
    td_scope_open(&scope);
    hand(&w, &scope, &job, stay_until_asked, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    td_job_cancel(&job.job);
    expect_int(td_job_wait(&job.job), -ECANCELED);
    expect_int(atomic_load(&w.gate->left), 1);
    expect_int(td_scope_join(&scope), 0);
    expect_int(server_of(&w), pid);
    expect_int((long long)stats_of(&w).deaths, 0);
    expect_int((long long)stats_of(&w).cancelled, 1);
    expect_accounted(&w, 3);
    world_close(&w);
    return 0;
}


STORY(a_cancelled_caller_asks_its_job_too)
{
    struct world w;
    struct call call;
    td_scope scope;
    int pid;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .kill_grace_ns = grace_of(arg)});
    pid = server_of(&w);
    td_scope_open(&scope);
    call = (struct call){w.pool, stay_until_asked, w.gate, {.when_full = TD_POOL_DEFAULT}};
    td_spawn(&scope, submit, &call);
    wait_entered(&w, 1);
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), 0);
    expect_int(call.ends, 1);
    expect_int(call.rc, -ECANCELED);
    expect_int(atomic_load(&w.gate->left), 1);
    expect_int(server_of(&w), pid);
    expect_int((long long)stats_of(&w).deaths, 0);
    world_close(&w);
    return 0;
}

STORY(a_cancelled_pool_asks_its_jobs)
{
    struct world w;
    struct handed jobs[2];
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2, .kill_grace_ns = grace_of(arg)});
    td_scope_open(&scope);
    td_scope_collect(&scope);
    for (int i = 0; i < 2; i++)
        hand(&w, &scope, &jobs[i], stay_until_asked, w.gate, AS_THE_POOL);
    wait_entered(&w, 2);
    td_pool_cancel(w.pool);
    for (int i = 0; i < 2; i++)
        expect_int(td_job_wait(&jobs[i].job), -ECANCELED);
    expect_int(td_scope_join(&scope), 0);
    expect_int(atomic_load(&w.gate->left), 2);
    expect_int((long long)stats_of(&w).deaths, 0);
    expect_accounted(&w, 2);
    world_close(&w);
    return 0;
}

STORY(a_job_that_is_deaf_is_killed_after_the_grace)
{
    struct world w;
    struct handed job;
    td_scope scope;
    td_time asked;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .kill_grace_ns = td_ms(30)});
    td_scope_open(&scope);
    hand(&w, &scope, &job, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    asked = td_now();
    td_job_cancel(&job.job);
    expect(!td_job_done(&job.job));
    expect_int(kill(atomic_load(&w.gate->pid), 0), 0);
    expect_int(td_job_wait(&job.job), -ECANCELED);
    expect(td_now() - asked >= td_ms(30));
    expect(kill(atomic_load(&w.gate->pid), 0) < 0);
    expect_int(atomic_load(&w.gate->left), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)stats_of(&w).deaths_by[TD_DEATH_CANCEL], 1);
    world_close(&w);
    return 0;
}

STORY(a_deaf_job_past_its_deadline_is_killed_after_the_grace)
{
    struct world w;
    struct handed job;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .kill_grace_ns = td_ms(20)});
    td_offload(w.pool, no_task, NULL);
    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand(&w, &scope, &job, stay_in_gate, w.gate, (td_offload_opts){.deadline = td_ms(200)});
    expect_int(td_job_wait(&job.job), -ETIMEDOUT);
    expect_int(atomic_load(&w.gate->left), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)stats_of(&w).timeout, 1);
    expect_int((long long)stats_of(&w).deaths, (long long)stats_of(&w).deaths_by[TD_DEATH_DEADLINE]);
    expect_int(td_offload(w.pool, no_task, NULL), 0);
    world_close(&w);
    return 0;
}

/* It ends by itself, with a result, after it was to end. */
static int finish_when_asked(void *arg)
{
    int rc = stay_until_asked(arg);

    return rc < 0 ? 11 : 12;
}

/* A thread past its deadline, without stuck_max: it is asked, and its caller waits for it. */
STORY(a_result_that_comes_too_late_is_a_timeout)
{
    struct world w;
    struct call call;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .kill_grace_ns = grace_of(arg)});
    td_offload(w.pool, no_task, NULL);
    call = (struct call){w.pool, finish_when_asked, w.gate, {.deadline = td_ms(20)}};
    submit(&call);
    expect_int(call.rc, -ETIMEDOUT);
    expect_int((long long)stats_of(&w).timeout, 1);
    expect_int((long long)stats_of(&w).deaths, 0);
    expect_accounted(&w, 2);
    world_close(&w);
    return 0;
}

/* Asked once, and not again: the next job of the worker is not to end. */
STORY(the_next_job_is_not_asked)
{
    struct world w;
    struct handed jobs[2];
    struct gate *next = new_gate();
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .kill_grace_ns = grace_of(arg)});
    for (int i = 0; i < 30; i++) {
        td_scope_open(&scope);
        atomic_store(&w.gate->entered, 0);
        atomic_store(&next->entered, 0);
        atomic_store(&next->open, false);
        hand(&w, &scope, &jobs[0], stay_until_asked, w.gate, AS_THE_POOL);
        hand(&w, &scope, &jobs[1], stay_until_asked, next, AS_THE_POOL);
        wait_entered(&w, 1);
        td_job_cancel(&jobs[0].job);
        eventually(atomic_load(&next->entered) == 1);
        atomic_store(&next->open, true);
        expect_int(td_job_wait(&jobs[1].job), 0);
        expect_int(td_job_wait(&jobs[0].job), -ECANCELED);
        expect_int(td_scope_join(&scope), 0);
    }
    expect_int((long long)stats_of(&w).deaths, 0);
    td_shared_free(next);
    world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(a_job_that_looks_at_its_deadline_spares_its_worker), ON_ALL(a_cancelled_job_that_looks_spares_its_worker),
        ON_ALL(a_cancelled_caller_asks_its_job_too), ON_ALL(a_cancelled_pool_asks_its_jobs),
        WITH_PROCESSES(a_job_that_is_deaf_is_killed_after_the_grace),
        WITH_PROCESSES(a_deaf_job_past_its_deadline_is_killed_after_the_grace),
        ON_ALL(a_result_that_comes_too_late_is_a_timeout), ON_ALL(the_next_job_is_not_asked),
    };

    return cmocka_run_group_tests_name("pool ask", tests, NULL, NULL);
}
