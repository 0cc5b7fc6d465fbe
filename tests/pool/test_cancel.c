/* SPDX-License-Identifier: MIT */
/* Cancelled callers, and td_pool_cancel. */
#include "pool/jobs.h"

static int cancel_waiting(void *arg)
{
    struct call first, queued, at_the_door, last;
    struct world w;
    td_scope scope, hasty;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = 1});
    td_scope_open(&scope);
    spawn_call(&w, &scope, &first, stay_in_gate);
    wait_entered(&w, 1);
    td_scope_open(&hasty);
    spawn_call(&w, &hasty, &queued, pass_gate);
    spawn_call(&w, &hasty, &at_the_door, pass_gate);
    spawn_call(&w, &scope, &last, pass_gate);
    td_scope_cancel(&hasty);
    expect_int(td_scope_join(&hasty), 0);
    expect_int(queued.rc, -ECANCELED);
    expect_int(at_the_door.rc, -ECANCELED);
    expect_int((long long)stats_of(&w).depth, 1);  /* the last one has the room that was left */
    expect_int(first.ends + last.ends, 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(first.rc, 0);
    expect_int(last.rc, 0);
    expect_int(atomic_load(&w.gate->entered), 2);  /* the cancelled never ran */
    expect_int((long long)stats_of(&w).cancelled, 2);
    expect_int((long long)outcomes(&w), 4);
    world_close(&w);
    return 0;
}

static void a_waiting_job_leaves_with_its_caller(void **state)
{
    assert_int_equal(run(state, cancel_waiting, state), 0);
}

static int kill_running(void *arg)
{
    struct call running, next;
    struct world w;
    td_scope scope, hasty;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    td_scope_open(&hasty);
    spawn_call(&w, &hasty, &running, stay_in_gate);
    wait_entered(&w, 1);
    spawn_call(&w, &scope, &next, pass_gate);
    td_scope_cancel(&hasty);
    expect_int(td_scope_join(&hasty), 0);
    expect_int(running.rc, -ECANCELED);
    expect(kill(atomic_load(&w.gate->pid), 0) < 0);  /* dead before its caller was told: the memory is the caller's again */
    expect_int(td_scope_join(&scope), 0);
    expect_int(next.rc, 0);
    expect_int(atomic_load(&w.gate->left), 1);
    expect_int((long long)stats_of(&w).cancelled, 1);
    expect_int((long long)stats_of(&w).deaths, 1);
    expect_int((long long)outcomes(&w), 2);
    world_close(&w);
    return 0;
}

static void a_running_process_is_killed_with_its_caller(void **state)
{
    assert_int_equal(run(state, kill_running, state), 0);
}

static int release(void *arg)
{
    td_sleep(td_ms(3));
    open_gate(arg);
    return 0;
}

static int let_finish(void *arg)
{
    struct call running;
    struct world w;
    td_scope scope, hasty;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .on_cancel = TD_CANCEL_FINISH});
    td_scope_open(&scope);
    td_scope_open(&hasty);
    spawn_call(&w, &hasty, &running, stay_in_gate);
    wait_entered(&w, 1);
    td_spawn(&scope, release, &w);
    td_scope_cancel(&hasty);
    expect_int(td_scope_join(&hasty), 0);
    expect_int(running.ends, 1);
    expect_int(atomic_load(&w.gate->left), 1);  /* to its end */
    expect_int(running.rc, 0);                  /* it came first: the data or the cancellation */
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)stats_of(&w).deaths, 0);
    expect_int((long long)outcomes(&w), 1);
    world_close(&w);
    return 0;
}

/* Asked to, a process does; a thread always. */
static void a_running_job_may_finish(void **state)
{
    assert_int_equal(run(state, let_finish, state), 0);
}

static int offload_cancelled(void *arg)
{
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    td_scope_cancel(&scope);
    expect_int(td_offload(w.pool, pass_gate, w.gate), -ECANCELED);
    expect_int(td_pool_map(w.pool, pass_gate, w.gate, 1, sizeof *w.gate), -ECANCELED);
    expect_int(td_scope_join(&scope), 0);
    expect_int(atomic_load(&w.gate->entered), 0);
    expect_int((long long)outcomes(&w), 0);
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    world_close(&w);
    return 0;
}

/* Law 3: every wait is a checkpoint. */
static void a_cancelled_task_submits_nothing(void **state)
{
    assert_int_equal(run(state, offload_cancelled, state), 0);
}

static int cancel_pool(void *arg)
{
    struct call running[2], waiting[3];
    struct world w;
    td_scope scope;
    bool threads = kind_of(arg) == TD_THREADS;

    world_open(&w, arg, (td_pool_opts){.workers = 2, .queue = 2});
    td_scope_open(&scope);
    for (int i = 0; i < 2; i++)
        spawn_call(&w, &scope, &running[i], stay_in_gate);
    wait_entered(&w, 2);
    for (int i = 0; i < 3; i++)
        spawn_call(&w, &scope, &waiting[i], pass_gate);
    td_pool_cancel(w.pool);
    td_pool_cancel(w.pool);
    settle();
    for (int i = 0; i < 3; i++)
        expect_int(waiting[i].rc, -ECANCELED);  /* at once */
    if (threads)
        open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 2; i++)
        expect_int(running[i].rc, -ECANCELED);
    expect_int((long long)stats_of(&w).cancelled, 5);
    expect_int((long long)outcomes(&w), 5);
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);  /* it stays open */
    world_close(&w);
    return 0;
}

static void a_cancelled_pool_ends_all_its_jobs(void **state)
{
    assert_int_equal(run(state, cancel_pool, state), 0);
}

/* Jobs whose end cancels others, and short ones that may go behind one that runs: none of them gets away. */
STORY(a_cancelled_pool_ends_its_jobs_whatever_follows_from_one)
{
    struct handed first, siblings[2], others[6];
    td_scope scope, hasty;
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (int i = 0; i < 300; i++)
        expect_int(td_offload(w.pool, no_task, NULL), 0);
    td_scope_open(&scope);
    td_scope_collect(&scope);
    hand(&w, &scope, &first, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    td_scope_open(&hasty);
    for (int i = 0; i < 2; i++)
        expect_int(hand(&w, &hasty, &siblings[i], pass_gate, w.gate, AS_THE_POOL), 0);
    for (int i = 0; i < 6; i++)
        expect_int(hand(&w, &scope, &others[i], pass_gate, w.gate, AS_THE_POOL), 0);
    td_pool_cancel(w.pool);
    for (int i = 0; i < 6; i++)
        expect(td_job_done(&others[i].job));
    open_gate(&w);
    expect_int(td_scope_join(&hasty), -ECANCELED);
    for (int i = 0; i < 6; i++)
        expect_int(td_job_wait(&others[i].job), -ECANCELED);
    expect_int(td_scope_join(&scope), 0);
    expect_int(atomic_load(&w.gate->entered), 1);
    expect_int((long long)stats_of(&w).cancelled, 9);
    expect_accounted(&w, 309);
    world_close(&w);
    return 0;
}

/* A job that gives way, and a task of the same scope that submits the one it gives way for. */
struct couple {
    struct world *w;
    struct handed old;
    struct call new;
    int rc, ends;
};

static int give_way_to_ourselves(void *arg)
{
    struct couple *couple = arg;
    struct world *w = couple->w;
    td_scope hasty;

    td_scope_open(&hasty);
    expect_int(hand(w, &hasty, &couple->old, pass_gate, w->gate, (td_offload_opts){.when_full = TD_REJECT}), 0);
    couple->new = (struct call){w->pool, pass_gate, w->gate, {.when_full = TD_DROP_OLDEST}, .rc = 1};
    expect_int(td_spawn(&hasty, submit, &couple->new), 0);
    couple->rc = td_scope_join(&hasty);
    couple->ends++;
    return 0;
}

/* What gives way fails its scope, and that is the submitter's: it was in no wait yet that could be ended. */
STORY(who_is_cancelled_by_what_gives_way_is_told_at_once)
{
    struct world w;
    struct couple couple = {.w = &w};
    struct handed first;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = 1});
    td_scope_open(&scope);
    hand(&w, &scope, &first, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    td_spawn(&scope, give_way_to_ourselves, &couple);
    eventually(couple.ends == 1);
    expect_int(couple.rc, -EBUSY);
    expect_int(couple.old.report.refusal, TD_REFUSED_DROPPED);
    expect_int(couple.new.rc, -ECANCELED);
    expect_int((long long)stats_of(&w).depth, 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(atomic_load(&w.gate->entered), 1);
    expect_int((long long)stats_of(&w).dropped, 1);
    expect_int((long long)stats_of(&w).cancelled, 1);
    expect_accounted(&w, 3);
    world_close(&w);
    return 0;
}

struct impatient {
    struct world *w;
    struct random *random;
    int done, cancelled;
};

static int tick(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    return 7;
}

static int offload_impatiently(void *arg)
{
    struct impatient *impatient = arg;

    for (int i = 0; i < 15; i++) {
        td_scope scope;
        int rc;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_us((int64_t)random_below(impatient->random, 1500))));
        rc = td_offload(impatient->w->pool, tick, NULL);
        td_scope_join(&scope);
        impatient->done += rc == 7;
        impatient->cancelled += rc == -ECANCELED;
        expect(rc == 7 || rc == -ECANCELED);
    }
    return 0;
}

static int cancel_at_any_moment(void *arg)
{
    struct random random = random_seeded();
    struct world w;
    struct impatient impatient = {&w, &random};
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2, .queue = 3});
    td_scope_open(&scope);
    for (int i = 0; i < 8; i++)
        td_spawn(&scope, offload_impatiently, &impatient);
    expect_int(td_scope_join(&scope), 0);
    expect_int(impatient.done + impatient.cancelled, 8 * 15);
    expect_int((long long)stats_of(&w).ok, impatient.done);
    expect((long long)stats_of(&w).cancelled <= impatient.cancelled);  /* some had not been submitted */
    world_close(&w);
    return 0;
}

static void a_cancellation_may_come_at_any_moment(void **state)
{
    assert_int_equal(run(state, cancel_at_any_moment, state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(a_waiting_job_leaves_with_its_caller), WITH_PROCESSES(a_running_process_is_killed_with_its_caller),
        ON_ALL(a_running_job_may_finish), ON_ALL(a_cancelled_task_submits_nothing),
        ON_ALL(a_cancelled_pool_ends_all_its_jobs), ON_ALL(a_cancelled_pool_ends_its_jobs_whatever_follows_from_one),
        ON_ALL(who_is_cancelled_by_what_gives_way_is_told_at_once), ON_ALL(a_cancellation_may_come_at_any_moment),
    };

    return cmocka_run_group_tests_name("pool cancel", tests, NULL, NULL);
}
