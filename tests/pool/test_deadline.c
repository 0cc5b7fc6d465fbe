/* SPDX-License-Identifier: MIT */
/* A job's deadline: in the queue, before its door, and running. */
#include "pool/jobs.h"

#define SHORT td_ms(20)
#define BEGUN_BY td_ms(400)  /* a job begins within that also where many others want the cores */

static struct call with_deadline(struct world *w, td_fn fn, td_time deadline)
{
    return (struct call){w->pool, fn, w->gate, {.deadline = deadline, .when_full = TD_POOL_DEFAULT}, .rc = 1};
}

static int pass_in_queue(void *arg)
{
    struct call first, late, next;
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    spawn_call(&w, &scope, &first, stay_in_gate);
    wait_entered(&w, 1);
    late = with_deadline(&w, pass_gate, SHORT);
    td_spawn(&scope, submit, &late);
    spawn_call(&w, &scope, &next, pass_gate);
    eventually(late.ends == 1);
    expect_int(late.rc, -ETIMEDOUT);
    expect(late.report.queued_ns >= SHORT && late.report.ran_ns == 0);
    expect_int(first.ends + next.ends, 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(first.rc, 0);
    expect_int(next.rc, 0);
    expect_int(atomic_load(&w.gate->entered), 2);  /* the late one never ran */
    expect_int((long long)stats_of(&w).timeout, 1);
    expect_int((long long)outcomes(&w), 3);
    expect_int((long long)stats_of(&w).deaths, 0);
    world_close(&w);
    return 0;
}

static void a_job_may_time_out_in_the_queue(void **state)
{
    assert_int_equal(run(state, pass_in_queue, state), 0);
}

static int pass_at_the_door(void *arg)
{
    struct call first, late;
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = TD_QUEUE_NONE});
    td_scope_open(&scope);
    spawn_call(&w, &scope, &first, stay_in_gate);
    wait_entered(&w, 1);
    late = with_deadline(&w, pass_gate, SHORT);
    td_spawn(&scope, submit, &late);
    eventually(late.ends == 1);
    expect_int(late.rc, -ETIMEDOUT);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(first.rc, 0);
    expect_int(atomic_load(&w.gate->entered), 1);
    world_close(&w);
    return 0;
}

static void a_job_may_time_out_before_there_is_room(void **state)
{
    assert_int_equal(run(state, pass_at_the_door, state), 0);
}

static int pass_running(void *arg)
{
    struct call hung, beside, queued;
    struct world w;
    struct gate *side;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    side = td_shared_calloc(1, sizeof *side);
    td_scope_open(&scope);
    spawn_call(&w, &scope, &beside, stay_in_gate);
    wait_entered(&w, 1);
    hung = with_deadline(&w, stay_in_gate, SHORT);
    hung.arg = side;
    td_spawn(&scope, submit, &hung);
    eventually(hung.ends == 1 || atomic_load(&side->entered) == 1);
    spawn_call(&w, &scope, &queued, pass_gate);
    eventually(hung.ends == 1);
    expect_int(hung.rc, -ETIMEDOUT);
    eventually(queued.ends == 1);  /* by the worker that came in its place: the other one is still busy */
    expect_int(queued.rc, 0);
    expect_int(beside.ends, 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(beside.rc, 0);
    expect_int(atomic_load(&side->left), 0);  /* it was killed */
    expect(kill(atomic_load(&side->pid), 0) < 0 || atomic_load(&side->pid) == 0);
    expect_int((long long)stats_of(&w).timeout, 1);
    expect_int((long long)stats_of(&w).died, 0);
    expect_int((long long)stats_of(&w).deaths, 1);
    expect_int((long long)outcomes(&w), 3);
    td_shared_free(side);
    world_close(&w);
    return 0;
}

static void a_hung_process_is_killed_and_replaced(void **state)
{
    assert_int_equal(run(state, pass_running, state), 0);
}

static int pass_in_thread(void *arg)
{
    struct call hung;
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    hung = with_deadline(&w, stay_in_gate, BEGUN_BY);
    td_spawn(&scope, submit, &hung);
    wait_entered(&w, 1);
    td_sleep(BEGUN_BY + SHORT);
    expect_int(hung.ends, 0);  /* its memory is in use */
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(hung.rc, -ETIMEDOUT);
    expect_int(atomic_load(&w.gate->left), 1);
    expect_int((long long)stats_of(&w).timeout, 1);
    expect_int((long long)outcomes(&w), 1);
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    world_close(&w);
    return 0;
}

static void a_thread_keeps_its_caller_until_the_memory_is_safe(void **state)
{
    assert_int_equal(run(state, pass_in_thread, state), 0);
}

static int pools_own(void *arg)
{
    struct call own, longer, first;
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .deadline = SHORT});
    td_scope_open(&scope);
    first = with_deadline(&w, stay_in_gate, td_sec(1000));
    td_spawn(&scope, submit, &first);
    wait_entered(&w, 1);
    spawn_call(&w, &scope, &own, pass_gate);
    longer = with_deadline(&w, pass_gate, td_sec(1000));
    td_spawn(&scope, submit, &longer);
    eventually(own.ends == 1);
    expect_int(own.rc, -ETIMEDOUT);
    expect_int(longer.ends + first.ends, 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(first.rc, 0);
    expect_int(longer.rc, 0);
    world_close(&w);
    return 0;
}

static void a_job_has_the_pools_deadline_or_its_own(void **state)
{
    assert_int_equal(run(state, pools_own, state), 0);
}

static int in_time(void *arg)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 2, .deadline = td_sec(1000)});
    for (int i = 0; i < 50; i++)
        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    eventually(sched_current()->timers.count == 0);  /* what is left is about workers that start */
    world_close(&w);
    return 0;
}

static void a_kept_deadline_leaves_no_timer(void **state)
{
    assert_int_equal(run(state, in_time, state), 0);
}

static int doze(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = *(long *)arg}, NULL);
    return 0;
}

/* Jobs that take about as long as they may: the result or the timeout, never a third thing, and no job but the late is hurt. */
static int race(void *arg)
{
    struct world w;
    struct call calls[60];
    long *ns = td_shared_alloc(sizeof *ns);
    unsigned long long late = 0;
    td_scope scope;

    *ns = 1500000;
    world_open(&w, arg, (td_pool_opts){.workers = 2, .queue = 100});
    td_scope_open(&scope);
    for (int i = 0; i < 60; i++) {
        calls[i] = (struct call){w.pool, doze, ns, {.deadline = td_us(500 + 100 * i), .when_full = TD_POOL_DEFAULT}};
        td_spawn(&scope, submit, &calls[i]);
    }
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 60; i++) {
        expect(calls[i].ends == 1 && (calls[i].rc == 0 || calls[i].rc == -ETIMEDOUT));
        late += calls[i].rc == -ETIMEDOUT;
    }
    expect_int((long long)stats_of(&w).timeout, (long long)late);
    expect_int((long long)outcomes(&w), 60);
    td_shared_free(ns);
    world_close(&w);
    return 0;
}

static void a_job_ends_by_its_result_or_by_its_deadline(void **state)
{
    assert_int_equal(run(state, race, state), 0);
}

/* Law 5 knows no deadline as well; a sum that runs over would be in the past. */
STORY(for_ever_is_no_deadline)
{
    static const td_time ages[] = {TD_FOREVER, TD_FOREVER - 1, TD_FOREVER / 2};
    struct world w;

    for (size_t i = 0; i < COUNT(ages); i++) {
        td_offload_opts opts = {.deadline = ages[i], .when_full = TD_POOL_DEFAULT};
        struct handed handed;
        td_scope scope;

        world_open(&w, arg, (td_pool_opts){.workers = 1, .deadline = i ? ages[i] : 0});
        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
        expect_int(td_offload_with(w.pool, pass_gate, w.gate, &opts), 0);
        expect_int(td_pool_map_with(w.pool, pass_gate, w.gate, 1, sizeof *w.gate, &(td_map_opts){.deadline = ages[i]}), 0);
        td_scope_open(&scope);
        expect_int(hand(&w, &scope, &handed, pass_gate, w.gate, opts), 0);
        expect_int(td_job_wait(&handed.job), 0);
        expect_int(td_scope_join(&scope), 0);
        expect_int((long long)stats_of(&w).timeout, 0);
        expect_int(atomic_load(&w.gate->left), 4);
        world_close(&w);
    }
    return 0;
}

/* Works until it is asked to end, and then ends at once. */
static int work_until_asked(void *arg)
{
    while (!td_job_cancelled())
        ;
    return -ECANCELED;
}

/* Told to end for its deadline, and quicker than the kill that follows: what its caller is told is the reason. */
STORY(a_deadline_is_told_as_one_however_the_job_ends)
{
    td_offload_opts opts = {.deadline = td_ms(5), .when_full = TD_POOL_DEFAULT};
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (int i = 0; i < 100; i++)
        expect_int(td_offload_with(w.pool, work_until_asked, NULL, &opts), -ETIMEDOUT);
    expect_int((long long)stats_of(&w).timeout, 100);
    world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(a_job_may_time_out_in_the_queue), ON_ALL(a_job_may_time_out_before_there_is_room),
        WITH_PROCESSES(a_hung_process_is_killed_and_replaced),
        WITH_THREADS(a_thread_keeps_its_caller_until_the_memory_is_safe),
        ON_ALL(a_job_has_the_pools_deadline_or_its_own), ON_ALL(a_kept_deadline_leaves_no_timer),
        ON_ALL(a_job_ends_by_its_result_or_by_its_deadline), ON_ALL(for_ever_is_no_deadline),
        ON_ALL(a_deadline_is_told_as_one_however_the_job_ends),
    };

    return cmocka_run_group_tests_name("pool deadline", tests, NULL, NULL);
}
