/* SPDX-License-Identifier: MIT */
/* td_submit: a job of its own, that one waits for later, as often as one likes, alone or with others. */
#include "pool/jobs.h"

STORY(a_submitted_job_goes_on_without_its_caller)
{
    struct world w;
    struct handed job;
    int *number = td_shared_calloc(1, sizeof *number);
    struct handed quick;
    td_scope scope;

    *number = 17;
    world_open(&w, arg, (td_pool_opts){.workers = 2});
    td_scope_open(&scope);
    expect_int(hand(&w, &scope, &job, stay_in_gate, w.gate, AS_THE_POOL), 0);
    wait_entered(&w, 1);
    expect(!td_job_done(&job.job));
    expect_int(hand(&w, &scope, &quick, say_number, number, AS_THE_POOL), 0);
    expect_int(td_job_wait(&quick.job), 17);
    expect(td_job_done(&quick.job) && !td_job_done(&job.job));
    expect_int((long long)stats_of(&w).busy, 1);
    open_gate(&w);
    expect_int(td_job_wait(&job.job), 0);
    for (int i = 0; i < 3; i++)  /* as often as one likes */
        expect_int(td_job_wait(&quick.job), 17);
    expect_int(td_scope_join(&scope), 0);
    expect(quick.report.queued_ns >= 0 && quick.report.ran_ns > 0 && quick.report.refusal == TD_REFUSED_NOT);
    expect_accounted(&w, 2);
    expect_int((long long)stats_of(&w).ok, 2);
    td_shared_free(number);
    world_close(&w);
    return 0;
}

STORY(every_waiter_gets_the_outcome)
{
    struct world w;
    struct handed job;
    struct awaiter awaiters[5];
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    td_scope_collect(&scope);
    expect_int(hand(&w, &scope, &job, stay_until_asked, w.gate, AS_THE_POOL), 0);
    for (int i = 0; i < 5; i++) {
        awaiters[i] = (struct awaiter){&job.job, 1, 0};
        td_spawn(&scope, await, &awaiters[i]);
    }
    wait_entered(&w, 1);
    settle();
    for (int i = 0; i < 5; i++)
        expect_int(awaiters[i].ends, 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 5; i++) {
        expect_int(awaiters[i].ends, 1);
        expect_int(awaiters[i].rc, 0);
    }
    world_close(&w);
    return 0;
}

STORY(a_cancelled_waiter_leaves_the_job_alone)
{
    struct world w;
    struct handed job;
    struct awaiter hasty, patient;
    td_scope scope, haste;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    expect_int(hand(&w, &scope, &job, stay_until_asked, w.gate, AS_THE_POOL), 0);
    wait_entered(&w, 1);
    patient = (struct awaiter){&job.job, 1, 0};
    td_spawn(&scope, await, &patient);
    td_scope_open(&haste);
    hasty = (struct awaiter){&job.job, 1, 0};
    td_spawn(&haste, await, &hasty);
    settle();
    td_scope_cancel(&haste);
    expect_int(td_job_wait(&job.job), -ECANCELED);  /* the caller's own, since it is inside */
    expect(!td_job_done(&job.job));
    expect_int(td_scope_join(&haste), 0);
    expect_int(hasty.rc, -ECANCELED);
    expect_int(patient.ends, 0);
    expect(!td_job_done(&job.job));
    open_gate(&w);
    expect_int(td_job_wait(&job.job), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(patient.rc, 0);
    expect_int(atomic_load(&w.gate->left), 1);
    expect_int((long long)stats_of(&w).deaths, 0);
    expect_int((long long)stats_of(&w).cancelled, 0);
    world_close(&w);
    return 0;
}

STORY(a_wait_for_a_job_that_is_done_is_a_checkpoint_too)
{
    struct world w;
    struct handed job;
    td_scope scope, inner;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    expect_int(hand(&w, &scope, &job, pass_gate, w.gate, AS_THE_POOL), 0);
    expect_int(td_job_wait(&job.job), 0);
    td_scope_open(&inner);
    td_scope_cancel(&inner);
    expect_int(td_job_wait(&job.job), -ECANCELED);
    expect(td_job_done(&job.job));  /* which tells whose it is */
    td_scope_join(&inner);
    expect_int(td_job_wait(&job.job), 0);
    expect_int(td_scope_join(&scope), 0);
    world_close(&w);
    return 0;
}

#define TURNS 20

STORY(submitted_jobs_are_served_in_their_order)
{
    struct world w;
    struct handed first, jobs[TURNS];
    struct row *row = td_shared_calloc(1, sizeof *row);
    struct turn *turns = td_shared_calloc(TURNS, sizeof *turns);
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    hand(&w, &scope, &first, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    for (int i = 0; i < TURNS; i++) {
        turns[i] = (struct turn){row, i};
        expect_int(hand(&w, &scope, &jobs[i], take_turn, &turns[i], AS_THE_POOL), 0);
    }
    expect_int((long long)stats_of(&w).depth, TURNS);
    open_gate(&w);
    for (int i = TURNS; i-- > 0;)  /* in another order than they end */
        expect_int(td_job_wait(&jobs[i].job), 0);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < TURNS; i++)
        expect_int(row->who[i], i);
    td_shared_free(turns);
    td_shared_free(row);
    world_close(&w);
    return 0;
}

#define MANY 1000

STORY(a_thousand_jobs_are_under_way_at_once)
{
    struct world w;
    int *numbers = td_shared_calloc(MANY, sizeof *numbers);
    struct handed *jobs = calloc(MANY, sizeof *jobs);
    td_scope scope;

    if (!jobs || !numbers)
        return -ENOMEM;
    world_open(&w, arg, (td_pool_opts){.workers = 2, .queue = MANY, .when_full = TD_REJECT});
    for (int round = 0; round < 3; round++) {  /* in the same memory: it is the caller's again after the join */
        td_scope_open(&scope);
        for (int i = 0; i < MANY; i++) {
            numbers[i] = round * MANY + i;
            expect_int(hand(&w, &scope, &jobs[i], say_number, &numbers[i], AS_THE_POOL), 0);
        }
        for (int i = 0; i < MANY; i += 2)
            expect_int(td_job_wait(&jobs[i].job), numbers[i]);
        expect_int(td_scope_join(&scope), 0);
        for (int i = 0; i < MANY; i++)
            if (!expect(jobs[i].report.ran_ns >= 0 && jobs[i].report.queued_ns >= 0))  /* each was filled in */
                break;
        memset(jobs, 0xA5, MANY * sizeof *jobs);
    }
    expect_int((long long)stats_of(&w).ok, 3 * MANY);
    expect_accounted(&w, 3 * MANY);
    td_shared_free(numbers);
    free(jobs);
    world_close(&w);
    return 0;
}

STORY(a_select_waits_for_jobs)
{
    struct world w;
    struct handed left, right;
    struct gate *other = new_gate();
    td_scope scope;
    td_case cases[3];
    size_t which = 9;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand(&w, &scope, &left, stay_in_gate, w.gate, AS_THE_POOL);
    hand(&w, &scope, &right, stay_in_gate, other, AS_THE_POOL);
    cases[0] = td_on_job(&left.job);
    cases[1] = td_on_job(&right.job);
    cases[2] = td_on_time(td_after(td_ms(2)));
    expect_int(td_select(cases, 3, &which), 0);
    expect_int((long long)which, 2);
    expect(!td_job_done(&left.job) && !td_job_done(&right.job));
    atomic_store(&other->open, true);
    expect_int(td_select(cases, 2, &which), 0);
    expect_int((long long)which, 1);
    expect_int(td_select(&cases[1], 1, &which), 0);  /* again, at once */
    expect_int((long long)which, 0);
    expect(!td_job_done(&left.job));
    open_gate(&w);
    expect_int(td_select(cases, 1, &which), 0);
    expect_int(td_scope_join(&scope), 0);
    td_shared_free(other);
    world_close(&w);
    return 0;
}

STORY(a_select_gives_the_jobs_outcome)
{
    struct world w;
    struct handed jobs[2];
    int *numbers = td_shared_calloc(2, sizeof *numbers);
    td_scope scope, inner;
    td_case cases[2];
    size_t which = 9;

    numbers[0] = -EDOM;
    numbers[1] = 23;
    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    td_scope_collect(&scope);
    for (int i = 0; i < 2; i++) {
        hand(&w, &scope, &jobs[i], say_number, &numbers[i], AS_THE_POOL);
        cases[i] = td_on_job(&jobs[i].job);
        expect_int(td_select(&cases[i], 1, &which), numbers[i]);
    }
    for (int i = 0; i < 20; i++) {
        int rc = td_select(cases, 2, &which);

        expect(which < 2 && rc == numbers[which]);
    }
    td_scope_open(&inner);
    td_scope_cancel(&inner);
    which = 9;
    expect_int(td_select(cases, 2, &which), -ECANCELED);
    expect_int((long long)which, 9);
    td_scope_join(&inner);
    expect_int(td_scope_join(&scope), 0);
    td_shared_free(numbers);
    world_close(&w);
    return 0;
}

struct walker {
    struct gate gate;
    _Atomic int step;
};

/* Goes as far as it is told, and tells how far it is. */
static int walk(void *arg)
{
    struct walker *walker = arg;

    td_job_progress(5);
    atomic_fetch_add(&walker->gate.entered, 1);
    for (int i = 0; i < 300000 && !atomic_load(&walker->gate.open); i++) {
        td_job_progress((unsigned)atomic_load(&walker->step));
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    return 0;
}

STORY(a_job_tells_how_far_it_is)
{
    struct world w;
    struct handed first, job;
    struct walker *walker = td_shared_calloc(1, sizeof *walker);
    td_scope scope;

    walker->step = 6;
    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_job_progress(99);  /* of nobody */
    td_scope_open(&scope);
    hand(&w, &scope, &first, stay_in_gate, w.gate, AS_THE_POOL);
    hand(&w, &scope, &job, walk, walker, AS_THE_POOL);
    wait_entered(&w, 1);
    expect_int(td_job_progress_of(&first.job), 0);
    expect_int(td_job_progress_of(&job.job), 0);
    open_gate(&w);
    for (int step = 6; step < 10; step++) {
        atomic_store(&walker->step, step);
        eventually(td_job_progress_of(&job.job) == (unsigned)step);
    }
    expect_int(td_job_progress_of(&first.job), 0);
    atomic_store(&walker->gate.open, true);
    expect_int(td_scope_join(&scope), 0);
    td_shared_free(walker);
    world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(a_submitted_job_goes_on_without_its_caller), ON_ALL(every_waiter_gets_the_outcome),
        ON_ALL(a_cancelled_waiter_leaves_the_job_alone), ON_ALL(a_wait_for_a_job_that_is_done_is_a_checkpoint_too),
        ON_ALL(submitted_jobs_are_served_in_their_order), ON_ALL(a_thousand_jobs_are_under_way_at_once),
        ON_ALL(a_select_waits_for_jobs), ON_ALL(a_select_gives_the_jobs_outcome), ON_ALL(a_job_tells_how_far_it_is),
    };

    return cmocka_run_group_tests_name("pool submit", tests, NULL, NULL);
}
