/* SPDX-License-Identifier: MIT */
/*
 * Law 7 in a storm: workers are killed at random while many tasks offload. Every job ends exactly once, with its result or with
 * -EOWNERDEAD, and in the end nothing is left: no descriptor, no shared memory, no child, no zombie.
 */
#include "pool/jobs.h"

#define TASKS 50
#define JOBS_EACH (SANITIZED ? 10 : 40)  /* their forks are slow */
#define WORKERS 4

struct storm {
    void **state;
    struct random random;
    struct world w;
    unsigned long long ok, died;
    int working, strange;  /* tasks under way; a result that is none of a job's */
    bool zygote_too;
};

struct load {
    int microseconds, number;
    _Atomic int begun, ended;
};

static int work(void *arg)
{
    struct load *load = arg;
    td_time end = td_after(td_us(load->microseconds));

    atomic_fetch_add(&load->begun, 1);
    while (td_now() < end)
        ;
    atomic_fetch_add(&load->ended, 1);
    return load->number;
}

static int offload_on_and_on(void *arg)
{
    struct storm *storm = arg;
    struct load *load = td_shared_calloc(1, sizeof *load);

    for (int i = 0; i < JOBS_EACH; i++) {
        int rc;

        load->number = i;
        load->microseconds = (int)random_below(&storm->random, 800);
        atomic_store(&load->begun, 0);
        atomic_store(&load->ended, 0);
        rc = td_offload(storm->w.pool, work, load);
        storm->ok += rc == i;
        storm->died += rc == -EOWNERDEAD;
        storm->strange = rc == i || rc == -EOWNERDEAD ? storm->strange : rc;
        if (rc == i)
            expect_int(atomic_load(&load->ended), 1);
        expect_int(atomic_load(&load->begun) <= 1, 1);  /* what had begun is not begun again */
    }
    td_shared_free(load);
    storm->working--;
    return 0;
}

static void kill_one(struct storm *storm)
{
    int pids[CHILDREN_MAX], count = children_list(getpid(), storm->zygote_too ? NULL : "tandem-worker", pids);

    if (count > 0)
        kill(pids[random_below(&storm->random, (size_t)count)], SIGKILL);
}

static int storm(void *arg)
{
    struct storm *storm = arg;
    td_scope scope;

    world_open(&storm->w, storm->state, (td_pool_opts){.workers = WORKERS, .queue = 10});
    td_scope_open(&scope);
    storm->working = TASKS;
    for (int i = 0; i < TASKS; i++)
        td_spawn(&scope, offload_on_and_on, storm);
    while (storm->working > 0) {
        unsigned long long before = storm->ok + storm->died;

        kill_one(storm);
        td_sleep(td_us((int64_t)random_below(&storm->random, 3000)));
        eventually(storm->ok + storm->died > before || storm->working == 0);  /* on a slow machine, too, the work goes on */
    }
    expect_int(td_scope_join(&scope), 0);
    expect_int(storm->strange, 0);
    expect_int((long long)(storm->ok + storm->died), TASKS * JOBS_EACH);
    expect_int((long long)stats_of(&storm->w).ok, (long long)storm->ok);
    expect_int((long long)stats_of(&storm->w).died, (long long)storm->died);
    expect_int((long long)outcomes(&storm->w), TASKS * JOBS_EACH);
    expect(stats_of(&storm->w).deaths > 0);
    expect_int(td_offload(storm->w.pool, pass_gate, storm->w.gate), 0);
    world_close(&storm->w);
    return 0;
}

/* `run` itself checks that descriptors and children are as many as before. */
static void every_job_ends_once_while_workers_are_killed(void **state)
{
    struct storm s = {.state = state, .random = random_seeded()};

    assert_int_equal(run(state, storm, &s), 0);
    print_message("%llu results, %llu deaths\n", s.ok, s.died);
}

static void every_job_ends_once_while_the_zygote_is_killed_too(void **state)
{
    struct storm s = {.state = state, .random = random_seeded(), .zygote_too = true};

    assert_int_equal(run(state, storm, &s), 0);
    print_message("%llu results, %llu deaths\n", s.ok, s.died);
}

static int stop_zygote(void *arg)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    expect_int(children_signal("tandem-zygote", SIGSTOP), 1);
    expect_int(children_signal("tandem-worker", SIGKILL), 1);
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    world_close(&w);
    return 0;
}

static void a_zygote_that_does_not_answer_is_replaced(void **state)
{
    assert_int_equal(run(state, stop_zygote, state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROCESSES(every_job_ends_once_while_workers_are_killed),
        WITH_PROCESSES(every_job_ends_once_while_the_zygote_is_killed_too),
        WITH_PROCESSES(a_zygote_that_does_not_answer_is_replaced),
    };

    return cmocka_run_group_tests_name("pool storm", tests, NULL, NULL);
}
