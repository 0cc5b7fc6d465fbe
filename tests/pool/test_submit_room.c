/* SPDX-License-Identifier: MIT */
/* td_submit when the pool has no room, or the job is refused: then the scope knows nothing of it. */
#include "pool/jobs.h"

/* A task that submits, and perhaps waits for room. */
struct submitter {
    struct world *w;
    td_scope *scope;
    struct handed job;
    td_when_full when_full;
    int rc, ends;
};

static int submit_one(void *arg)
{
    struct submitter *submitter = arg;

    submitter->rc = hand(submitter->w, submitter->scope, &submitter->job, pass_gate, submitter->w->gate,
                         (td_offload_opts){.when_full = submitter->when_full});
    submitter->ends++;
    return 0;
}

/* One job runs, one waits. */
static void world_fill(struct world *w, void **state, td_scope *scope, struct handed jobs[2], td_when_full when_full)
{
    world_open(w, state, (td_pool_opts){.workers = 1, .queue = 1, .when_full = when_full});
    td_scope_open(scope);
    expect_int(hand(w, scope, &jobs[0], stay_in_gate, w->gate, AS_THE_POOL), 0);
    wait_entered(w, 1);
    expect_int(hand(w, scope, &jobs[1], pass_gate, w->gate, AS_THE_POOL), 0);
    expect_int((long long)stats_of(w).depth, 1);
}

STORY(a_submit_waits_for_room_and_not_for_the_job)
{
    struct world w;
    struct handed jobs[2];
    struct gate *second = new_gate();
    struct submitter late;
    struct handed last;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = 1});
    td_scope_open(&scope);
    expect_int(hand(&w, &scope, &jobs[0], stay_in_gate, w.gate, AS_THE_POOL), 0);
    wait_entered(&w, 1);
    expect_int(hand(&w, &scope, &jobs[1], stay_in_gate, second, AS_THE_POOL), 0);
    late = (struct submitter){.w = &w, .scope = &scope, .rc = 1};
    td_spawn(&scope, submit_one, &late);
    settle();
    expect_int(late.ends, 0);
    expect_int((long long)stats_of(&w).depth, 1);
    open_gate(&w);
    eventually(late.ends == 1);  /* there is room, and it waits in the queue behind the second */
    expect_int(late.rc, 0);
    expect(!td_job_done(&late.job.job));
    expect(!td_job_done(&jobs[1].job));
    expect_int((long long)stats_of(&w).depth, 1);
    expect_int(hand(&w, &scope, &last, pass_gate, w.gate, (td_offload_opts){.when_full = TD_REJECT}), -EBUSY);
    atomic_store(&second->open, true);
    expect_int(td_job_wait(&late.job.job), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_accounted(&w, 4);
    td_shared_free(second);
    world_close(&w);
    return 0;
}

STORY(a_submit_that_waits_for_room_can_be_cancelled)
{
    struct world w;
    struct handed jobs[2];
    struct submitter late;
    td_scope scope, haste;

    world_fill(&w, arg, &scope, jobs, TD_WAIT);
    td_scope_open(&haste);
    late = (struct submitter){.w = &w, .scope = &scope, .rc = 1};
    td_spawn(&haste, submit_one, &late);
    settle();
    expect_int(late.ends, 0);
    td_scope_cancel(&haste);
    expect_int(td_scope_join(&haste), 0);
    expect_int(late.ends, 1);
    expect_int(late.rc, -ECANCELED);
    expect(!td_scope_cancelled(&scope));
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(atomic_load(&w.gate->entered), 2);  /* its job never ran */
    expect_accounted(&w, 3);
    expect_int((long long)stats_of(&w).cancelled, 1);
    world_close(&w);
    return 0;
}

STORY(a_submit_into_its_own_cancelled_scope_submits_nothing)
{
    struct world w;
    struct handed job;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    td_scope_cancel(&scope);
    expect_int(hand(&w, &scope, &job, pass_gate, w.gate, AS_THE_POOL), -ECANCELED);
    expect_int(td_scope_join(&scope), 0);
    expect_int(atomic_load(&w.gate->entered), 0);
    expect_int((long long)outcomes(&w), 0);
    world_close(&w);
    return 0;
}

STORY(a_refused_submit_leaves_the_scope_untouched)
{
    struct world w;
    struct handed jobs[2], third;
    int private = 0;
    td_scope scope;

    world_fill(&w, arg, &scope, jobs, TD_REJECT);
    expect_int(hand(&w, &scope, &third, pass_gate, w.gate, AS_THE_POOL), -EBUSY);
    expect_int(third.report.refusal, TD_REFUSED_QUEUE);
    expect_int(third.report.ran_ns, 0);
    expect_int(hand(&w, &scope, &third, NULL, w.gate, AS_THE_POOL), -EINVAL);
    expect_int(hand(&w, &scope, &third, pass_gate, w.gate, (td_offload_opts){.attempts = TD_ATTEMPTS_MAX + 1}), -EINVAL);
    if (kind_of(arg) == TD_PROCESSES)
        expect_int(hand(&w, &scope, &third, say_number, &private, AS_THE_POOL), -EFAULT);
    expect(!td_scope_cancelled(&scope));
    expect_int((long long)td_scope_failures(&scope), 0);
    expect(!td_job_done(&jobs[0].job) && !td_job_done(&jobs[1].job));
    open_gate(&w);
    expect_int(td_job_wait(&jobs[1].job), 0);
    expect_int(hand(&w, &scope, &third, pass_gate, w.gate, AS_THE_POOL), 0);  /* in the same memory */
    expect_int(td_job_wait(&third.job), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)td_scope_failures(&scope), 0);
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_QUEUE], 1);
    expect_int((long long)stats_of(&w).rejected, 1);
    expect_int((long long)stats_of(&w).ok, 3);
    world_close(&w);
    return 0;
}

STORY(a_dropped_job_tells_those_who_wait_for_it)
{
    struct world w;
    struct handed jobs[2], third;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = 1, .when_full = TD_DROP_OLDEST});
    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand(&w, &scope, &jobs[0], stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    hand(&w, &scope, &jobs[1], pass_gate, w.gate, AS_THE_POOL);
    expect_int(hand(&w, &scope, &third, pass_gate, w.gate, AS_THE_POOL), 0);
    expect(td_job_done(&jobs[1].job));
    expect_int(td_job_wait(&jobs[1].job), -EBUSY);
    expect_int(jobs[1].report.refusal, TD_REFUSED_DROPPED);
    expect_int(jobs[1].report.ran_ns, 0);
    open_gate(&w);
    expect_int(td_job_wait(&third.job), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)td_scope_failures(&scope), 1);
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_DROPPED], 1);
    expect_accounted(&w, 3);
    world_close(&w);
    return 0;
}

static int close_it(void *arg)
{
    struct submitter *submitter = arg;

    submitter->rc = td_pool_close(submitter->w->pool);
    submitter->ends++;
    return 0;
}

STORY(a_closing_pool_finishes_what_was_submitted_and_refuses_more)
{
    struct world w;
    struct handed jobs[2], third;
    struct submitter late, closer;
    td_scope scope;

    world_fill(&w, arg, &scope, jobs, TD_WAIT);
    late = (struct submitter){.w = &w, .scope = &scope, .rc = 1};
    td_spawn(&scope, submit_one, &late);
    settle();
    closer = (struct submitter){.w = &w, .rc = 1};
    td_spawn(&scope, close_it, &closer);
    settle();
    expect_int(hand(&w, &scope, &third, pass_gate, w.gate, AS_THE_POOL), -EPIPE);
    expect_int(third.report.refusal, TD_REFUSED_CLOSING);
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_CLOSING], 1);
    expect_int(closer.ends + late.ends, 0);
    open_gate(&w);
    eventually(closer.ends == 1);
    expect_int(closer.rc, 0);
    expect(td_job_done(&jobs[0].job) && td_job_done(&jobs[1].job));  /* those who ask later are told, though the pool is gone */
    expect_int(td_job_wait(&jobs[1].job), 0);
    expect_int(late.rc, 0);
    expect_int(td_job_wait(&late.job.job), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(atomic_load(&w.gate->left), 3);
    td_shared_free(w.gate);
    return 0;
}

STORY(a_cancelled_pool_ends_submitted_jobs)
{
    struct world w;
    struct handed jobs[2];
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand(&w, &scope, &jobs[0], stay_to_be_ended(&w), w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    hand(&w, &scope, &jobs[1], pass_gate, w.gate, AS_THE_POOL);
    td_pool_cancel(w.pool);
    expect(td_job_done(&jobs[1].job));  /* at once */
    expect_int(td_job_wait(&jobs[1].job), -ECANCELED);
    expect_int(td_job_wait(&jobs[0].job), -ECANCELED);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)stats_of(&w).cancelled, 2);
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    expect_accounted(&w, 3);
    world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(a_submit_waits_for_room_and_not_for_the_job), ON_ALL(a_submit_that_waits_for_room_can_be_cancelled),
        ON_ALL(a_submit_into_its_own_cancelled_scope_submits_nothing), ON_ALL(a_refused_submit_leaves_the_scope_untouched),
        ON_ALL(a_dropped_job_tells_those_who_wait_for_it),
        ON_ALL(a_closing_pool_finishes_what_was_submitted_and_refuses_more), ON_ALL(a_cancelled_pool_ends_submitted_jobs),
    };

    return cmocka_run_group_tests_name("pool submit room", tests, NULL, NULL);
}
