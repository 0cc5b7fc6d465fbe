/* SPDX-License-Identifier: MIT */
/*
 * A submitted job is to its scope what a task is (law 2): the scope's cancellation and deadline reach it, the first failure
 * cancels the others, and the join waits for all.
 */
#include "pool/jobs.h"

/* One job runs until it is asked to end or killed, and two wait. */
static void hand_three(struct world *w, td_scope *scope, struct handed jobs[3])
{
    expect_int(hand(w, scope, &jobs[0], stay_to_be_ended(w), w->gate, AS_THE_POOL), 0);
    wait_entered(w, 1);
    for (int i = 1; i < 3; i++)
        expect_int(hand(w, scope, &jobs[i], pass_gate, w->gate, AS_THE_POOL), 0);
}

/* All three are cancelled, none of the waiting ones ran, and a process did not end in peace. */
static void expect_three_ended(struct world *w, struct handed jobs[3])
{
    bool killed = kind_of(w->state) == TD_PROCESSES;

    for (int i = 0; i < 3; i++)
        expect(td_job_done(&jobs[i].job));
    expect_int(atomic_load(&w->gate->entered), 1);
    expect_int(atomic_load(&w->gate->left), !killed);
    expect_int((long long)stats_of(w).deaths, killed);
    if (killed)
        expect(kill(atomic_load(&w->gate->pid), 0) < 0);  /* dead before the join returned: the memory is the caller's again */
    expect_int((long long)stats_of(w).cancelled, 3);
    expect_accounted(w, 3);
}

STORY(a_scopes_cancellation_reaches_its_jobs)
{
    struct world w;
    struct handed jobs[3];
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    hand_three(&w, &scope, jobs);
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), -ECANCELED);
    expect_three_ended(&w, jobs);
    world_close(&w);
    return 0;
}

STORY(a_cancellation_of_an_outer_scope_reaches_the_jobs)
{
    struct world w;
    struct handed jobs[3];
    td_scope outer, scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&outer);
    td_scope_open(&scope);
    hand_three(&w, &scope, jobs);
    td_scope_cancel(&outer);
    expect_int(td_scope_join(&scope), -ECANCELED);
    expect_three_ended(&w, jobs);
    td_scope_join(&outer);
    world_close(&w);
    return 0;
}

STORY(a_scopes_deadline_reaches_its_jobs)
{
    struct world w;
    struct handed jobs[3];
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    hand_three(&w, &scope, jobs);
    td_scope_deadline(&scope, td_after(td_ms(5)));
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    expect_three_ended(&w, jobs);
    world_close(&w);
    return 0;
}

STORY(the_first_failure_cancels_the_other_jobs_and_tasks)
{
    struct world w;
    struct handed jobs[3], wrong;
    struct awaiter sibling;
    int *number = td_shared_calloc(1, sizeof *number);
    td_scope scope;

    *number = -EDOM;
    world_open(&w, arg, (td_pool_opts){.workers = 2});
    td_scope_open(&scope);
    expect_int(hand(&w, &scope, &jobs[0], stay_to_be_ended(&w), w.gate, AS_THE_POOL), 0);
    sibling = (struct awaiter){&jobs[0].job, 1, 0};
    td_spawn(&scope, await, &sibling);
    wait_entered(&w, 1);
    expect_int(hand(&w, &scope, &wrong, say_number, number, AS_THE_POOL), 0);
    expect_int(td_scope_join(&scope), -EDOM);
    expect(td_scope_cancelled(&scope));
    expect_int((long long)td_scope_failures(&scope), 1);
    expect_int(sibling.rc, -ECANCELED);
    expect_int(atomic_load(&w.gate->left), kind_of(arg) == TD_THREADS);
    expect_int((long long)stats_of(&w).error, 1);
    expect_int((long long)stats_of(&w).cancelled, 1);
    expect_accounted(&w, 2);
    td_shared_free(number);
    world_close(&w);
    return 0;
}

STORY(a_queued_job_is_cancelled_by_a_failure_before_it)
{
    struct world w;
    struct handed wrong, queued[20];
    int *number = td_shared_calloc(1, sizeof *number);
    struct handed first;
    td_scope scope;

    *number = -EDOM;
    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    hand(&w, &scope, &first, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    hand(&w, &scope, &wrong, say_number, number, AS_THE_POOL);
    for (int i = 0; i < 20; i++)
        expect_int(hand(&w, &scope, &queued[i], pass_gate, w.gate, AS_THE_POOL), 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), -EDOM);
    for (int i = 0; i < 20; i++)
        expect(td_job_done(&queued[i].job));
    expect_int((long long)stats_of(&w).error, 1);  /* some may have run before it was heard of; each is counted once */
    expect_accounted(&w, 22);
    td_shared_free(number);
    world_close(&w);
    return 0;
}

static int fail_when_told(void *arg)
{
    expect_int(td_event_wait(arg), 0);
    return -ENOTTY;
}

STORY(a_tasks_failure_cancels_the_jobs)
{
    struct world w;
    struct handed jobs[3];
    td_event go;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_event_init(&go);
    td_scope_open(&scope);
    td_spawn(&scope, fail_when_told, &go);
    hand_three(&w, &scope, jobs);
    td_event_set(&go);
    expect_int(td_scope_join(&scope), -ENOTTY);
    expect_three_ended(&w, jobs);
    world_close(&w);
    return 0;
}

STORY(in_a_collecting_scope_a_failure_cancels_nothing)
{
    struct world w;
    struct handed wrong, jobs[3];
    int *number = td_shared_calloc(1, sizeof *number);
    td_scope scope;

    *number = -EDOM;
    world_open(&w, arg, (td_pool_opts){.workers = 2});
    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand_three(&w, &scope, jobs);
    expect_int(hand(&w, &scope, &wrong, say_number, number, AS_THE_POOL), 0);
    expect_int(td_job_wait(&wrong.job), -EDOM);
    expect(!td_scope_cancelled(&scope) && !td_job_done(&jobs[0].job));
    open_gate(&w);
    for (int i = 0; i < 3; i++)
        expect_int(td_job_wait(&jobs[i].job), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)td_scope_failures(&scope), 1);
    expect_accounted(&w, 4);
    td_shared_free(number);
    world_close(&w);
    return 0;
}

STORY(a_death_and_a_deadline_are_failures)
{
    bool processes = kind_of(arg) == TD_PROCESSES;
    struct world w;
    struct handed dies, jobs[2];
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    hand(&w, &scope, &jobs[0], stay_to_be_ended(&w), w.gate, (td_offload_opts){.deadline = td_ms(10)});
    hand(&w, &scope, &jobs[1], pass_gate, w.gate, AS_THE_POOL);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    expect_int((long long)td_scope_failures(&scope), 1);
    expect_int((long long)stats_of(&w).timeout, 1);
    if (processes) {
        td_scope_open(&scope);
        hand(&w, &scope, &dies, drop_dead, NULL, AS_THE_POOL);
        expect_int(td_scope_join(&scope), -EOWNERDEAD);
        expect_int(dies.report.signal, SIGKILL);
        expect_int((long long)dies.report.deaths, 1);
    }
    expect_accounted(&w, processes ? 3 : 2);
    world_close(&w);
    return 0;
}

struct joiner {
    struct world *w;
    td_scope *scope;  /* to submit into */
    struct handed job;
    int rc, ends;
};

static int submit_and_join(void *arg)
{
    struct joiner *joiner = arg;
    td_scope scope;

    td_scope_open(&scope);
    hand(joiner->w, &scope, &joiner->job, stay_in_gate, joiner->w->gate, AS_THE_POOL);
    joiner->rc = td_scope_join(&scope);
    joiner->ends++;
    return 0;
}

STORY(a_join_waits_for_jobs)
{
    struct world w;
    struct joiner joiner = {.w = &w, .rc = 1};
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    td_spawn(&scope, submit_and_join, &joiner);
    wait_entered(&w, 1);
    td_sleep(td_ms(2));
    expect_int(joiner.ends, 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(joiner.rc, 0);
    expect_int(atomic_load(&w.gate->left), 1);
    world_close(&w);
    return 0;
}

STORY(a_cancelled_job_is_no_failure)
{
    struct world w;
    struct handed jobs[3];
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    hand_three(&w, &scope, jobs);
    td_job_cancel(&jobs[1].job);
    expect(td_job_done(&jobs[1].job));  /* at once: it only waited */
    expect_int(td_job_wait(&jobs[1].job), -ECANCELED);
    td_job_cancel(&jobs[1].job);        /* harmless */
    expect(!td_scope_cancelled(&scope));
    td_job_cancel(&jobs[0].job);        /* runs: it is killed, or asked */
    expect_int(td_job_wait(&jobs[0].job), -ECANCELED);
    expect_int(td_job_wait(&jobs[2].job), 0);
    td_job_cancel(&jobs[2].job);        /* too late */
    expect_int(td_job_wait(&jobs[2].job), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)td_scope_failures(&scope), 0);
    expect_int((long long)stats_of(&w).cancelled, 2);
    expect_int((long long)stats_of(&w).ok, 1);
    expect_accounted(&w, 3);
    world_close(&w);
    return 0;
}

static int open_soon(void *arg)
{
    td_sleep(td_ms(2));
    open_gate(arg);
    return 0;
}

STORY(a_cancelled_job_may_run_to_its_end)
{
    struct world w;
    struct handed job;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .on_cancel = TD_CANCEL_FINISH});
    td_scope_open(&scope);
    hand(&w, &scope, &job, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    td_job_cancel(&job.job);
    expect(!td_job_done(&job.job));
    td_spawn(&scope, open_soon, &w);
    expect_int(td_job_wait(&job.job), 0);  /* the data or the cancellation: it came first */
    expect_int(td_scope_join(&scope), 0);
    expect_int(atomic_load(&w.gate->left), 1);
    expect_int((long long)stats_of(&w).deaths, 0);
    expect_accounted(&w, 1);
    world_close(&w);
    return 0;
}

static int submit_and_forget(void *arg)
{
    struct joiner *joiner = arg;

    return hand(joiner->w, joiner->scope, &joiner->job, stay_in_gate, joiner->w->gate, AS_THE_POOL);
}

STORY(a_job_may_outlive_the_task_that_submitted_it_but_not_its_scope)
{
    struct world w;
    td_scope scope, inner;
    struct joiner joiner = {.w = &w, .scope = &scope};

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    td_scope_open(&inner);
    td_spawn(&inner, submit_and_forget, &joiner);
    expect_int(td_scope_join(&inner), 0);
    wait_entered(&w, 1);
    expect(!td_job_done(&joiner.job.job));
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(atomic_load(&w.gate->left), 1);
    world_close(&w);
    return 0;
}

/* The new job makes an older one of its scope give way: a failure of the scope, which reaches the new one as well. */
STORY(a_job_that_makes_its_own_scope_fail_is_cancelled_with_it)
{
    struct world w;
    struct handed first, jobs[2];
    struct gate *gate = new_gate();
    td_scope outer, scope;
    int rc;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = 1, .when_full = TD_DROP_OLDEST});
    td_scope_open(&outer);
    hand(&w, &outer, &first, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    td_scope_open(&scope);
    expect_int(hand(&w, &scope, &jobs[0], pass_gate, gate, AS_THE_POOL), 0);
    rc = hand(&w, &scope, &jobs[1], pass_gate, gate, AS_THE_POOL);
    expect(rc == 0 || rc == -ECANCELED);
    expect(td_scope_cancelled(&scope));
    open_gate(&w);
    expect_int(td_scope_join(&scope), -EBUSY);
    expect_int(td_scope_join(&outer), 0);
    expect_int(atomic_load(&gate->entered), 0);
    expect_accounted(&w, 3);
    td_shared_free(gate);
    world_close(&w);
    return 0;
}

struct submitter {
    struct world *w;
    td_scope *scope;
    struct handed job;
    int rc, ends;
};

static int submit_from_outside(void *arg)
{
    struct submitter *submitter = arg;

    submitter->rc = hand(submitter->w, submitter->scope, &submitter->job, pass_gate, submitter->w->gate,
                         (td_offload_opts){.when_full = TD_WAIT});
    submitter->ends++;
    return 0;
}

/* The scope is cancelled while somebody outside of it waits for room, to submit into it. */
STORY(a_job_that_comes_too_late_for_its_scope_is_cancelled)
{
    struct world w;
    struct handed jobs[2];
    struct submitter late;
    td_scope outer, scope, shield;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = 1});
    td_scope_open(&outer);
    hand(&w, &outer, &jobs[0], stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    hand(&w, &outer, &jobs[1], pass_gate, w.gate, AS_THE_POOL);
    td_scope_open(&scope);
    td_scope_open_shielded(&shield, PATIENCE);
    late = (struct submitter){.w = &w, .scope = &scope, .rc = 1};
    td_spawn(&outer, submit_from_outside, &late);
    settle();
    expect_int(late.ends, 0);
    td_scope_cancel(&scope);
    open_gate(&w);
    eventually(late.ends == 1);
    td_scope_join(&shield);
    td_scope_join(&scope);
    expect_int(td_scope_join(&outer), 0);
    expect_int(atomic_load(&w.gate->entered), 2);
    expect_accounted(&w, 3);
    world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(a_scopes_cancellation_reaches_its_jobs), ON_ALL(a_cancellation_of_an_outer_scope_reaches_the_jobs),
        ON_ALL(a_scopes_deadline_reaches_its_jobs), ON_ALL(the_first_failure_cancels_the_other_jobs_and_tasks),
        ON_ALL(a_queued_job_is_cancelled_by_a_failure_before_it), ON_ALL(a_tasks_failure_cancels_the_jobs),
        ON_ALL(in_a_collecting_scope_a_failure_cancels_nothing), ON_ALL(a_death_and_a_deadline_are_failures),
        ON_ALL(a_join_waits_for_jobs), ON_ALL(a_cancelled_job_is_no_failure), ON_ALL(a_cancelled_job_may_run_to_its_end),
        ON_ALL(a_job_may_outlive_the_task_that_submitted_it_but_not_its_scope),
        ON_ALL(a_job_that_makes_its_own_scope_fail_is_cancelled_with_it),
        ON_ALL(a_job_that_comes_too_late_for_its_scope_is_cancelled),
    };

    return cmocka_run_group_tests_name("pool submit scope", tests, NULL, NULL);
}
