/* SPDX-License-Identifier: MIT */
/*
 * Ten workers that die in a row, and no job that is finished in between: then the pool refuses work for a while, instead of
 * feeding jobs to a machine that kills them. In the simulation, where a death is drawn and time is free; and for real.
 */
#include "pool/jobs.h"

#define DEATHS 10

static td_offload_opts reported(td_job_report *report)
{
    return (td_offload_opts){.when_full = TD_POOL_DEFAULT, .report = report};
}

/* Submits one job; says whether it was refused because the pool is broken. */
static bool is_refused(struct world *w, td_fn fn, void *arg, int *rc)
{
    td_job_report report;
    td_offload_opts opts = reported(&report);

    *rc = td_offload_with(w->pool, fn, arg, &opts);
    expect(report.refusal == TD_REFUSED_NOT || (report.refusal == TD_REFUSED_BROKEN && *rc == -EOWNERDEAD));
    expect(report.refusal == TD_REFUSED_NOT || (report.ran_ns == 0 && report.deaths == 0));
    return report.refusal == TD_REFUSED_BROKEN;
}

static void die_often(struct world *w, td_fn fn, int times)
{
    for (int i = 0; i < times; i++) {
        int rc;

        expect(!stats_of(w).broken);
        expect(!is_refused(w, fn, NULL, &rc));
        expect_int(rc, -EOWNERDEAD);
    }
}

static void set_deaths(double share)
{
    expect_int(td_sim_faults(&(td_sim_fault_opts){.delay_max = td_ms(1), .partial = -1, .death = share}), 0);
}

static int on_sim(uint64_t seed, td_fn fn)
{
    void *state = (void *)(uintptr_t)CASE(TD_BACKEND_SIM, TD_PROCESSES);

    return run_with(&state, (td_opts){.seed = seed}, fn, &state);
}

static int break_and_mend(void *arg)
{
    struct world w;
    unsigned long long refused = 1, asked;
    int rc;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    set_deaths(1);
    die_often(&w, no_task, DEATHS);
    expect(stats_of(&w).broken);
    expect(is_refused(&w, no_task, NULL, &rc));
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_BROKEN], 1);
    set_deaths(0);
    for (int i = 0; i < 100000 && is_refused(&w, no_task, NULL, &rc); i++, refused++)
        expect_int(td_sleep(td_ms(100)), 0);
    expect_int(rc, 0);  /* it came back */
    expect(!stats_of(&w).broken);
    asked = DEATHS + refused + 1;
    for (int i = 0; i < 20; i++, asked++)
        expect_int(td_offload(w.pool, no_task, NULL), 0);
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_BROKEN], (long long)refused);
    expect_accounted(&w, asked);
    set_deaths(1);
    die_often(&w, no_task, DEATHS);  /* and it may break anew: the count began anew */
    expect(is_refused(&w, no_task, NULL, &rc));
    expect_accounted(&w, asked + DEATHS + 1);
    set_deaths(0);
    world_close(&w);
    return 0;
}

static void ten_deaths_in_a_row_break_the_pool_for_a_while(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        assert_int_equal(on_sim(seed, break_and_mend), 0);
}

static int finish_in_between(void *arg)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (int i = 0; i < 4; i++) {
        set_deaths(1);
        die_often(&w, no_task, DEATHS - 1);
        set_deaths(0);
        expect_int(td_offload(w.pool, no_task, NULL), 0);
    }
    expect(!stats_of(&w).broken);
    expect_int((long long)stats_of(&w).died, 4 * (DEATHS - 1));
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_BROKEN], 0);
    world_close(&w);
    return 0;
}

static void a_finished_job_begins_the_count_anew(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        assert_int_equal(on_sim(seed, finish_in_between), 0);
}

static int fail_in_between(void *arg)
{
    struct world w;
    int *number = td_shared_calloc(1, sizeof *number);

    *number = -EIO;
    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (int i = 0; i < 2; i++) {
        set_deaths(1);
        die_often(&w, no_task, DEATHS - 1);
        set_deaths(0);
        expect_int(td_offload(w.pool, say_number, number), -EIO);  /* finished, if not well: the worker lives */
    }
    expect(!stats_of(&w).broken);
    td_shared_free(number);
    world_close(&w);
    return 0;
}

static void a_job_that_returns_an_error_is_finished_too(void **state)
{
    assert_int_equal(on_sim(1, fail_in_between), 0);
}

#define WAITING 30

/* Those who wait when the pool breaks are answered, in the queue and before its door. */
static int break_with_a_queue(void *arg)
{
    struct world w;
    struct call calls[WAITING];
    int died = 0, refused = 0;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .queue = 12});
    set_deaths(1);
    td_scope_open(&scope);
    for (int i = 0; i < WAITING; i++) {
        calls[i] = (struct call){w.pool, no_task, NULL, {.when_full = TD_WAIT}, .rc = 1};
        td_spawn(&scope, submit, &calls[i]);
    }
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < WAITING; i++) {
        expect_int(calls[i].ends, 1);
        expect_int(calls[i].rc, -EOWNERDEAD);
        died += calls[i].report.refusal == TD_REFUSED_NOT;
        refused += calls[i].report.refusal == TD_REFUSED_BROKEN;
        expect_int(calls[i].report.deaths, calls[i].report.refusal == TD_REFUSED_NOT);
    }
    expect_int(died + refused, WAITING);
    expect(died >= DEATHS && refused > 0);
    expect_int((long long)stats_of(&w).refused[TD_REFUSED_BROKEN], refused);
    expect_accounted(&w, WAITING);
    set_deaths(0);
    world_close(&w);
    return 0;
}

static void those_who_wait_when_it_breaks_are_answered(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        assert_int_equal(on_sim(seed, break_with_a_queue), 0);
}

static int break_and_close(void *arg)
{
    struct world w;
    int rc;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    set_deaths(1);
    die_often(&w, no_task, DEATHS);
    expect(is_refused(&w, no_task, NULL, &rc));
    world_close(&w);
    return 0;
}

static void a_broken_pool_can_be_closed(void **state)
{
    assert_int_equal(on_sim(1, break_and_close), 0);
}

/* For real; pauses between the deaths grow, so that this takes a few seconds. */
STORY(ten_real_deaths_break_the_pool_too)
{
    struct world w;
    struct gate *other;
    int rc;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    other = new_gate();
    die_often(&w, drop_dead, DEATHS);
    expect(is_refused(&w, pass_gate, other, &rc));
    expect(stats_of(&w).broken);
    expect_int(atomic_load(&other->entered), 0);
    eventually(!is_refused(&w, pass_gate, other, &rc));
    expect_int(rc, 0);
    expect(!stats_of(&w).broken);
    expect_int((long long)stats_of(&w).deaths, DEATHS);
    td_shared_free(other);
    world_close(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_deaths_in_a_row_break_the_pool_for_a_while),
        cmocka_unit_test(a_finished_job_begins_the_count_anew), cmocka_unit_test(a_job_that_returns_an_error_is_finished_too),
        cmocka_unit_test(those_who_wait_when_it_breaks_are_answered), cmocka_unit_test(a_broken_pool_can_be_closed),
        WITH_PROCESSES(ten_real_deaths_break_the_pool_too),
    };

    return cmocka_run_group_tests_name("pool breaker", tests, NULL, NULL);
}
