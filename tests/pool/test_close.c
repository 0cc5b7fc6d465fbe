/* SPDX-License-Identifier: MIT */
/* Closing a pool: it waits for what it holds, refuses what comes, and leaves nothing behind. */
#include "pool/jobs.h"

static int open_and_close(void *arg)
{
    int before = descriptors_count(), children = children_count(getpid());

    for (int i = 0; i < 10; i++) {
        struct world w;

        world_open(&w, arg, (td_pool_opts){.workers = 3});
        world_close(&w);  /* while its workers are still on their way */
    }
    expect_int(descriptors_count(), before);
    expect_int(children_count(getpid()), children);
    return 0;
}

static void a_pool_closes_before_its_workers_are_there(void **state)
{
    assert_int_equal(run(state, open_and_close, state), 0);
}

struct closing {
    struct world *w;
    int rc, ends;
};

static int close_pool(void *arg)
{
    struct closing *closing = arg;

    closing->rc = td_pool_close(closing->w->pool);
    closing->ends++;
    return 0;
}

static int close_busy(void *arg)
{
    struct call running[2], queued, late;
    struct world w;
    struct closing closing = {&w};
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    td_scope_open(&scope);
    for (int i = 0; i < 2; i++)
        spawn_call(&w, &scope, &running[i], stay_in_gate);
    wait_entered(&w, 2);
    spawn_call(&w, &scope, &queued, pass_gate);
    td_spawn(&scope, close_pool, &closing);
    settle();
    spawn_call(&w, &scope, &late, pass_gate);
    expect_int(late.rc, -EPIPE);  /* at once */
    expect_int(td_pool_map(w.pool, pass_gate, w.gate, 1, sizeof *w.gate), -EPIPE);
    expect_int(closing.ends + running[0].ends + running[1].ends + queued.ends, 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(closing.rc, 0);
    for (int i = 0; i < 2; i++)
        expect_int(running[i].rc, 0);
    expect_int(queued.rc, 0);
    expect_int(atomic_load(&w.gate->left), 3);
    td_shared_free(w.gate);
    return 0;
}

static void a_close_waits_for_the_jobs_the_pool_holds(void **state)
{
    assert_int_equal(run(state, close_busy, state), 0);
}

static int close_with_callers_at_the_door(void *arg)
{
    struct call calls[4];
    struct world w;
    struct closing closing = {&w};
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = TD_QUEUE_NONE});
    td_scope_open(&scope);
    for (int i = 0; i < 4; i++) {
        spawn_call(&w, &scope, &calls[i], i == 0 ? stay_in_gate : pass_gate);
        wait_entered(&w, 1);
    }
    td_spawn(&scope, close_pool, &closing);
    settle();
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 4; i++)
        expect_int(calls[i].rc, 0);
    expect_int(closing.rc, 0);
    td_shared_free(w.gate);
    return 0;
}

static void a_close_waits_for_callers_who_wait_for_room(void **state)
{
    assert_int_equal(run(state, close_with_callers_at_the_door, state), 0);
}

static int close_in_haste(void *arg)
{
    struct call running, queued;
    struct world w;
    struct closing closing = {&w};
    td_scope scope, haste;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    spawn_call(&w, &scope, &running, stay_in_gate);
    wait_entered(&w, 1);
    spawn_call(&w, &scope, &queued, pass_gate);
    td_scope_open(&haste);
    td_spawn(&haste, close_pool, &closing);
    settle();
    expect_int(closing.ends, 0);
    td_scope_cancel(&haste);
    if (kind_of(arg) == TD_THREADS)
        open_gate(&w);  /* a thread cannot be killed */
    expect_int(td_scope_join(&haste), 0);
    expect_int(closing.rc, -ECANCELED);
    expect_int(td_scope_join(&scope), 0);
    expect_int(queued.rc, -ECANCELED);
    expect_int(running.rc, kind_of(arg) == TD_THREADS ? running.rc : -ECANCELED);
    expect_int(running.ends, 1);
    expect_int(atomic_load(&w.gate->left), kind_of(arg) == TD_THREADS);
    td_shared_free(w.gate);
    return 0;
}

static void a_cancelled_close_ends_the_jobs_and_closes(void **state)
{
    assert_int_equal(run(state, close_in_haste, state), 0);
}

struct plan {
    struct world w;
    struct closing closing;
    struct call call, next;
    td_event go;
};

static int close_on_demand(void *arg)
{
    struct plan *plan = arg;

    expect_int(td_event_wait(&plan->go), 0);
    return close_pool(&plan->closing);
}

/* A cancellation reaches the closing task first, and then the caller of the last job, whose end wakes a closer too. */
static int cancel_closer_and_caller(void *arg)
{
    struct plan plan = {.closing.w = &plan.w};
    td_scope scope;

    world_open(&plan.w, arg, (td_pool_opts){.workers = 1});
    td_event_init(&plan.go);
    td_scope_open(&scope);
    td_spawn(&scope, close_on_demand, &plan);
    settle();
    spawn_call(&plan.w, &scope, &plan.call, pass_gate);
    td_event_set(&plan.go);
    settle();
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), 0);
    expect_int(plan.closing.ends, 1);
    expect_int(plan.call.ends, 1);
    td_shared_free(plan.w.gate);
    return 0;
}

static int run_cancel_closer_and_caller(void **state)
{
    alarm(10);
    return td_run_with(&(td_opts){.backend = backend_of(state)}, cancel_closer_and_caller, state);
}

static void a_cancelled_closer_is_woken_once(void **state)
{
    struct ending ending = in_child(state, run_cancel_closer_and_caller);

    assert_ended_well(&ending);
}

/* While the pool closes its only worker is killed, with a caller waiting for room: that one is still owed an answer. */
static int die_while_closing(void *arg)
{
    struct plan plan = {.closing.w = &plan.w};
    td_scope scope;

    world_open(&plan.w, arg, (td_pool_opts){.workers = 1, .queue = TD_QUEUE_NONE});
    td_scope_open(&scope);
    spawn_call(&plan.w, &scope, &plan.call, stay_in_gate);
    wait_entered(&plan.w, 1);
    spawn_call(&plan.w, &scope, &plan.next, pass_gate);
    td_spawn(&scope, close_pool, &plan.closing);
    settle();
    kill(atomic_load(&plan.w.gate->pid), SIGKILL);
    expect_int(td_scope_join(&scope), 0);
    expect_int(plan.call.rc, -EOWNERDEAD);
    expect_int(plan.next.rc, 0);
    expect_int(plan.closing.rc, 0);
    td_shared_free(plan.w.gate);
    return 0;
}

static int run_die_while_closing(void **state)
{
    alarm(10);
    return td_run_with(&(td_opts){.backend = backend_of(state)}, die_while_closing, state);
}

static void a_death_while_closing_loses_nobody(void **state)
{
    struct ending ending = in_child(state, run_die_while_closing);

    assert_ended_well(&ending);
}

static int close_twice(void *arg)
{
    struct call running;
    struct world w;
    struct closing closing = {&w};
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    spawn_call(&w, &scope, &running, stay_in_gate);
    td_spawn(&scope, close_pool, &closing);
    settle();
    td_pool_close(w.pool);
    return td_scope_join(&scope);
}

static int run_close_twice(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, close_twice, state);
}

static void a_second_close_is_a_mistake(void **state)
{
    assert_aborts_saying(state, run_close_twice, "the pool is being closed already");
}

static int idle_deaths(void *arg)
{
    struct call running;
    struct world w;
    struct closing closing = {&w};
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 3});
    td_scope_open(&scope);
    spawn_call(&w, &scope, &running, stay_in_gate);
    wait_entered(&w, 1);
    td_spawn(&scope, close_pool, &closing);
    settle();
    children_signal(NULL, SIGKILL);
    expect_int(td_scope_join(&scope), 0);
    expect_int(running.rc, -EOWNERDEAD);
    expect_int(closing.rc, 0);
    td_shared_free(w.gate);
    return 0;
}

static void a_pool_closes_though_all_its_children_are_killed(void **state)
{
    assert_int_equal(run(state, idle_deaths, state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(a_pool_closes_before_its_workers_are_there), ON_ALL(a_close_waits_for_the_jobs_the_pool_holds),
        ON_ALL(a_close_waits_for_callers_who_wait_for_room), ON_ALL(a_cancelled_close_ends_the_jobs_and_closes),
        ON_ALL(a_cancelled_closer_is_woken_once), WITH_PROCESSES(a_death_while_closing_loses_nobody),
        ON_ALL(a_second_close_is_a_mistake), WITH_PROCESSES(a_pool_closes_though_all_its_children_are_killed),
    };

    return cmocka_run_group_tests_name("pool close", tests, NULL, NULL);
}
