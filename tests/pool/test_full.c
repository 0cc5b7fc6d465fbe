/* SPDX-License-Identifier: MIT */
/* Law 4: the queue is bounded, and says what happens to the next job. Two workers, room for two more, and five jobs. */
#include "pool/jobs.h"

/* Two jobs run, two wait in the queue. */
static void world_fill(struct world *w, void **state, td_scope *scope, struct call calls[5], td_when_full when_full)
{
    world_open(w, state, (td_pool_opts){.workers = 2, .queue = 2, .when_full = when_full});
    td_scope_open(scope);
    for (int i = 0; i < 2; i++)
        spawn_call(w, scope, &calls[i], stay_in_gate);
    wait_entered(w, 2);
    for (int i = 2; i < 4; i++)
        spawn_call(w, scope, &calls[i], pass_gate);
    expect_int((long long)stats_of(w).depth, 2);
    expect_int((long long)stats_of(w).queue, 2);
    expect_int((long long)stats_of(w).busy, 2);
    expect_int((long long)stats_of(w).workers, 2);
}

static void world_finish(struct world *w, td_scope *scope, struct call calls[5], const int wanted[5])
{
    open_gate(w);
    expect_int(td_scope_join(scope), 0);
    for (int i = 0; i < 5; i++) {
        expect_int(calls[i].ends, 1);
        expect_int_at(calls[i].rc, wanted[i], "the job", (const char *[]){"1", "2", "3", "4", "5"}[i]);
    }
    expect_int((long long)stats_of(w).depth, 0);
    expect_int((long long)stats_of(w).depth_peak, 2);
    world_close(w);
}

static int reject(void *arg)
{
    struct call calls[5];
    struct world w;
    td_scope scope;

    world_fill(&w, arg, &scope, calls, TD_REJECT);
    spawn_call(&w, &scope, &calls[4], pass_gate);
    expect_int(calls[4].rc, -EBUSY);  /* at once */
    expect_int((long long)stats_of(&w).rejected, 1);
    expect_int((long long)outcomes(&w), 0);
    world_finish(&w, &scope, calls, (int[]){0, 0, 0, 0, -EBUSY});
    return 0;
}

static void a_rejecting_pool_says_so_at_once(void **state)
{
    assert_int_equal(run(state, reject, state), 0);
}

static int wait_for_room(void *arg)
{
    struct call calls[5];
    struct world w;
    td_scope scope;

    world_fill(&w, arg, &scope, calls, TD_WAIT);
    spawn_call(&w, &scope, &calls[4], pass_gate);
    td_sleep(td_ms(2));
    expect_int(calls[4].ends, 0);
    expect_int((long long)stats_of(&w).depth, 2);
    world_finish(&w, &scope, calls, (int[]){0, 0, 0, 0, 0});
    return 0;
}

static void a_waiting_pool_holds_the_caller(void **state)
{
    assert_int_equal(run(state, wait_for_room, state), 0);
}

static int drop_oldest(void *arg)
{
    struct call calls[5];
    struct world w;
    td_scope scope;

    world_fill(&w, arg, &scope, calls, TD_DROP_OLDEST);
    spawn_call(&w, &scope, &calls[4], pass_gate);
    expect_int(calls[2].rc, -EBUSY);  /* the oldest that waits gives way; those that run do not */
    expect_int(calls[3].ends + calls[4].ends, 0);
    expect_int((long long)stats_of(&w).dropped, 1);
    expect_int((long long)stats_of(&w).depth, 2);
    expect_int((long long)stats_of(&w).rejected, 0);
    world_finish(&w, &scope, calls, (int[]){0, 0, -EBUSY, 0, 0});
    return 0;
}

static void a_dropping_pool_gives_up_the_oldest(void **state)
{
    assert_int_equal(run(state, drop_oldest, state), 0);
}

/* With no queue at all a job runs or is refused; it does not run late. */
static int no_queue(void *arg)
{
    static const td_when_full policies[] = {TD_REJECT, TD_DROP_OLDEST};

    for (size_t i = 0; i < COUNT(policies); i++) {
        struct call calls[3];
        struct world w;
        td_scope scope;

        world_open(&w, arg, (td_pool_opts){.workers = 2, .queue = TD_QUEUE_NONE, .when_full = policies[i]});
        td_scope_open(&scope);
        for (int j = 0; j < 2; j++)
            spawn_call(&w, &scope, &calls[j], stay_in_gate);
        wait_entered(&w, 2);
        spawn_call(&w, &scope, &calls[2], stay_in_gate);
        expect_int(calls[2].rc, -EBUSY);  /* nobody waits who could give way */
        open_gate(&w);
        expect_int(td_scope_join(&scope), 0);
        expect_int(calls[0].rc, 0);
        expect_int(calls[1].rc, 0);
        expect_int((long long)stats_of(&w).queue, 0);
        expect_int((long long)stats_of(&w).depth_peak, 0);
        world_close(&w);
    }
    return 0;
}

static void without_a_queue_a_job_runs_or_is_refused(void **state)
{
    assert_int_equal(run(state, no_queue, state), 0);
}

static int no_queue_wait(void *arg)
{
    struct call calls[5];
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2, .queue = TD_QUEUE_NONE});
    td_scope_open(&scope);
    for (int i = 0; i < 5; i++)
        spawn_call(&w, &scope, &calls[i], i < 2 ? stay_in_gate : pass_gate);
    wait_entered(&w, 2);
    expect_int((long long)stats_of(&w).depth, 0);
    expect_int(calls[2].ends + calls[3].ends + calls[4].ends, 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 5; i++)
        expect_int(calls[i].rc, 0);
    expect_int((long long)stats_of(&w).depth_peak, 0);
    world_close(&w);
    return 0;
}

static void without_a_queue_callers_can_wait_all_the_same(void **state)
{
    assert_int_equal(run(state, no_queue_wait, state), 0);
}

static int override(void *arg)
{
    struct call calls[5];
    struct world w;
    td_scope scope;

    world_fill(&w, arg, &scope, calls, TD_WAIT);
    expect_int(td_offload_with(w.pool, pass_gate, w.gate, &(td_offload_opts){.when_full = TD_REJECT}), -EBUSY);
    /* What is queued was submitted to wait, and does not give way. */
    expect_int(td_offload_with(w.pool, pass_gate, w.gate, &(td_offload_opts){.when_full = TD_DROP_OLDEST}), -EBUSY);
    expect_int((long long)stats_of(&w).rejected, 2);
    spawn_call(&w, &scope, &calls[4], pass_gate);  /* waits: the pool's own way */
    expect_int(calls[4].ends, 0);
    world_finish(&w, &scope, calls, (int[]){0, 0, 0, 0, 0});
    return 0;
}

static void a_single_job_may_have_its_own_policy(void **state)
{
    assert_int_equal(run(state, override, state), 0);
}

static int keep_place(void *arg)
{
    struct call running, keeps, drops, last;
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = 2, .when_full = TD_DROP_OLDEST});
    td_scope_open(&scope);
    spawn_call(&w, &scope, &running, stay_in_gate);
    wait_entered(&w, 1);
    keeps = (struct call){w.pool, pass_gate, w.gate, {.when_full = TD_WAIT}};
    td_spawn(&scope, submit, &keeps);
    settle();
    spawn_call(&w, &scope, &drops, pass_gate);
    spawn_call(&w, &scope, &last, pass_gate);
    expect_int(drops.rc, -EBUSY);
    expect_int(keeps.ends + last.ends, 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(keeps.rc, 0);
    expect_int(last.rc, 0);
    expect_int(running.rc, 0);
    world_close(&w);
    return 0;
}

static void a_job_that_was_to_wait_does_not_give_way(void **state)
{
    assert_int_equal(run(state, keep_place, state), 0);
}

struct ticket {
    struct gate *gate;
    int number, served;
};

static int serve(void *arg)
{
    struct ticket *ticket = arg;

    ticket->served = atomic_fetch_add(&ticket->gate->entered, 1);
    return 0;
}

static int queue_up(void *arg)
{
    struct ticket *tickets = td_shared_calloc(12, sizeof *tickets);
    struct call first, calls[12];
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = 3});
    td_scope_open(&scope);
    spawn_call(&w, &scope, &first, stay_in_gate);
    wait_entered(&w, 1);
    for (int i = 0; i < 12; i++) {  /* three in the queue, nine before its door */
        tickets[i] = (struct ticket){w.gate, i};
        calls[i] = (struct call){w.pool, serve, &tickets[i], {.when_full = TD_POOL_DEFAULT}};
        td_spawn(&scope, submit, &calls[i]);
        settle();
    }
    expect_int((long long)stats_of(&w).depth, 3);
    expect(stats_of(&w).oldest_age_ns > 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 12; i++)
        expect_int(tickets[i].served, i + 1);
    td_shared_free(tickets);
    expect_int((long long)stats_of(&w).oldest_age_ns, 0);
    world_close(&w);
    return 0;
}

static void jobs_are_served_in_the_order_they_came(void **state)
{
    assert_int_equal(run(state, queue_up, state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(a_rejecting_pool_says_so_at_once), ON_ALL(a_waiting_pool_holds_the_caller),
        ON_ALL(a_dropping_pool_gives_up_the_oldest), ON_ALL(without_a_queue_a_job_runs_or_is_refused),
        ON_ALL(without_a_queue_callers_can_wait_all_the_same), ON_ALL(a_single_job_may_have_its_own_policy),
        ON_ALL(a_job_that_was_to_wait_does_not_give_way),
        ON_ALL(jobs_are_served_in_the_order_they_came),
    };

    return cmocka_run_group_tests_name("pool full", tests, NULL, NULL);
}
