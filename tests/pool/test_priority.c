/* SPDX-License-Identifier: MIT */
/* Priorities within a pool: the more urgent first, each level in its order, nobody starved; and workers for the urgent alone. */
#include "pool/jobs.h"

static td_offload_opts with_priority(td_priority priority)
{
    return (td_offload_opts){.when_full = TD_POOL_DEFAULT, .priority = priority};
}

/* A single worker is held in the gate, jobs are submitted with these priorities, and the gate is opened. */
static void expect_order(void **state, const td_priority *priorities, const int *wanted, int count)
{
    struct world w;
    struct handed first, jobs[30];
    struct row *row = td_shared_calloc(1, sizeof *row);
    struct turn *turns = td_shared_calloc((size_t)count, sizeof *turns);
    td_scope scope;

    if (!expect(row && turns && count <= (int)COUNT(jobs)))
        return;
    world_open(&w, state, (td_pool_opts){.workers = 1});
    td_scope_open(&scope);
    hand(&w, &scope, &first, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    for (int i = 0; i < count; i++) {
        turns[i] = (struct turn){row, i};
        expect_int(hand(&w, &scope, &jobs[i], take_turn, &turns[i], with_priority(priorities[i])), 0);
    }
    expect_int((long long)stats_of(&w).depth, count);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(row->count, count);
    for (int i = 0; i < count; i++)
        expect_int(row->who[i], wanted[i]);
    td_shared_free(turns);
    td_shared_free(row);
    world_close(&w);
}

STORY(high_comes_before_normal_and_normal_before_low)
{
    static const td_priority priorities[] = {TD_PRIORITY_LOW, TD_PRIORITY_NORMAL, TD_PRIORITY_HIGH,
                                             TD_PRIORITY_LOW, TD_PRIORITY_HIGH, TD_PRIORITY_NORMAL};

    expect_order(arg, priorities, (int[]){2, 4, 1, 5, 0, 3}, COUNT(priorities));
    return 0;
}

STORY(within_a_level_the_first_is_served_first)
{
    static const td_priority levels[] = {TD_PRIORITY_NORMAL, TD_PRIORITY_HIGH, TD_PRIORITY_LOW};
    td_priority priorities[30];
    int wanted[30];

    for (size_t level = 0; level < COUNT(levels); level++) {
        for (int i = 0; i < 30; i++) {
            priorities[i] = levels[level];
            wanted[i] = i;
        }
        expect_order(arg, priorities, wanted, 30);
    }
    return 0;
}

/* Keeps urgent jobs coming, as long as a less urgent one waits. */
struct crowd {
    struct world *w;
    struct handed *waits;
    td_priority priority;
    int *urgent;  /* how many ran so far */
};

#define URGENT_MAX 20000

static int work_a_little(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    return 0;
}

static int press_forward(void *arg)
{
    struct crowd *crowd = arg;
    td_offload_opts opts = with_priority(crowd->priority);

    while (!td_job_done(&crowd->waits->job) && *crowd->urgent < URGENT_MAX) {
        expect_int(td_offload_with(crowd->w->pool, work_a_little, NULL, &opts), 0);
        ++*crowd->urgent;
    }
    return 0;
}

/* A stream of urgent jobs, many of them waiting at each moment, and one that is less urgent. */
static void expect_no_starving(void **state, td_priority patient, td_priority urgent)
{
    struct world w;
    struct handed first, job;
    int count = 0;
    struct crowd crowd = {.w = &w, .waits = &job, .priority = urgent, .urgent = &count};
    td_scope scope;

    world_open(&w, state, (td_pool_opts){.workers = 1, .queue = 200});
    td_scope_open(&scope);
    hand(&w, &scope, &first, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    expect_int(hand(&w, &scope, &job, pass_gate, w.gate, with_priority(patient)), 0);
    for (int i = 0; i < 100; i++)
        td_spawn(&scope, press_forward, &crowd);
    settle();
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect(count < URGENT_MAX);
    expect(count >= 5);  /* and yet some went first */
    world_close(&w);
}

STORY(a_less_urgent_job_is_not_starved_for_ever)
{
    expect_no_starving(arg, TD_PRIORITY_LOW, TD_PRIORITY_HIGH);
    expect_no_starving(arg, TD_PRIORITY_LOW, TD_PRIORITY_NORMAL);
    expect_no_starving(arg, TD_PRIORITY_NORMAL, TD_PRIORITY_HIGH);
    return 0;
}

STORY(a_reserved_worker_takes_urgent_jobs_only)
{
    struct world w;
    struct handed common[3], lowly;
    struct gate *fast = new_gate();
    td_offload_opts high = with_priority(TD_PRIORITY_HIGH);
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2, .workers_reserved = 1});
    td_scope_open(&scope);
    for (int i = 0; i < 3; i++)
        hand(&w, &scope, &common[i], stay_in_gate, w.gate, AS_THE_POOL);
    hand(&w, &scope, &lowly, stay_in_gate, w.gate, with_priority(TD_PRIORITY_LOW));
    wait_entered(&w, 1);
    for (int i = 0; i < 200; i++)  /* all of them by the reserved one, which looks at the queue after each */
        expect_int(td_offload_with(w.pool, pass_gate, fast, &high), 0);
    expect_int(atomic_load(&w.gate->entered), 1);
    expect_int((long long)stats_of(&w).depth, 3);
    expect_int((long long)stats_of(&w).busy, 1);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(atomic_load(&w.gate->left), 4);
    td_shared_free(fast);
    world_close(&w);
    return 0;
}

STORY(urgent_jobs_may_use_every_worker)
{
    struct world w;
    struct handed jobs[3];
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 3, .workers_reserved = 1});
    td_scope_open(&scope);
    for (int i = 0; i < 3; i++)
        hand(&w, &scope, &jobs[i], stay_in_gate, w.gate, with_priority(TD_PRIORITY_HIGH));
    wait_entered(&w, 3);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    world_close(&w);
    return 0;
}

STORY(a_reserved_worker_that_died_is_replaced_by_a_reserved_one)
{
    struct world w;
    struct handed common[2];
    struct gate *fast = new_gate();
    td_offload_opts high = with_priority(TD_PRIORITY_HIGH);
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2, .workers_reserved = 1});
    td_scope_open(&scope);
    for (int i = 0; i < 2; i++)
        hand(&w, &scope, &common[i], stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    expect_int(td_offload_with(w.pool, drop_dead, NULL, &high), -EOWNERDEAD);
    for (int i = 0; i < 5; i++)
        expect_int(td_offload_with(w.pool, pass_gate, fast, &high), 0);
    expect_int(atomic_load(&w.gate->entered), 1);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    td_shared_free(fast);
    world_close(&w);
    return 0;
}

struct mapping {
    struct world *w;
    struct turn *turns;
};

static int map_urgently(void *arg)
{
    struct mapping *mapping = arg;

    return td_pool_map_with(mapping->w->pool, take_turn, mapping->turns, 10, sizeof *mapping->turns,
                            &(td_map_opts){.priority = TD_PRIORITY_HIGH});
}

STORY(a_map_has_a_priority_too)
{
    struct world w;
    struct handed first, job;
    struct row *row = td_shared_calloc(1, sizeof *row);
    struct turn *turns = td_shared_calloc(11, sizeof *turns);
    struct mapping mapping = {&w, turns};
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (int i = 0; i < 11; i++)
        turns[i] = (struct turn){row, i};
    td_scope_open(&scope);
    hand(&w, &scope, &first, stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 1);
    hand(&w, &scope, &job, take_turn, &turns[10], AS_THE_POOL);
    td_spawn(&scope, map_urgently, &mapping);
    settle();
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect(row->who[0] != 10);  /* it came first, and was not served first */
    expect_int(row->count, 11);
    td_shared_free(turns);
    td_shared_free(row);
    world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(high_comes_before_normal_and_normal_before_low), ON_ALL(within_a_level_the_first_is_served_first),
        ON_ALL(a_less_urgent_job_is_not_starved_for_ever), ON_ALL(a_reserved_worker_takes_urgent_jobs_only),
        ON_ALL(urgent_jobs_may_use_every_worker), WITH_PROCESSES(a_reserved_worker_that_died_is_replaced_by_a_reserved_one),
        ON_ALL(a_map_has_a_priority_too),
    };

    return cmocka_run_group_tests_name("pool priority", tests, NULL, NULL);
}
