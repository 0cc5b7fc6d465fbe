/* SPDX-License-Identifier: MIT */
/*
 * A pool grows while its workers are busy and shrinks when they are not, by telling one to retire: no job is lost on the way.
 * In virtual time, where a calm of minutes is over at once; and for real, as far as that is a matter of seconds.
 */
#include "pool/jobs.h"

#define CALLERS 12

static void set_durations(td_time most)
{
    td_sim_faults(&(td_sim_fault_opts){.delay_min = most / 5, .delay_max = most, .partial = -1});
}

static int on_sim(uint64_t seed, td_pool_kind kind, td_fn fn)
{
    void *state = (void *)(uintptr_t)CASE(TD_BACKEND_SIM, kind);

    return run_with(&state, (td_opts){.seed = seed}, fn, &state);
}

struct load {
    struct world *w;
    td_time until, pause;
    unsigned long long *done;
};

static int offload_until(void *arg)
{
    struct load *load = arg;

    while (td_now() < load->until) {
        expect_int(td_offload(load->w->pool, pass_gate, load->w->gate), 0);
        ++*load->done;
        if (load->pause > 0)
            td_sleep(load->pause);
    }
    return 0;
}

/* So many callers, one job after the other, for so long. Returns how many jobs there were. */
static unsigned long long put_under_load(struct world *w, int callers, td_time for_ns, td_time pause)
{
    unsigned long long done = 0;
    struct load load = {w, td_after(for_ns), pause, &done};
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < callers; i++)
        td_spawn(&scope, offload_until, &load);
    expect_int(td_scope_join(&scope), 0);
    return done;
}

static int grow_and_shrink(void *arg)
{
    struct world w;
    unsigned long long done;
    unsigned peak;

    set_durations(td_ms(100));
    world_open(&w, arg, (td_pool_opts){.workers = 1, .workers_max = 4, .queue = 100});
    expect_int(stats_of(&w).workers_min, 1);
    expect_int(stats_of(&w).workers_max, 4);
    done = put_under_load(&w, CALLERS, td_sec(20), 0);
    peak = stats_of(&w).workers;
    expect(peak > 1 && peak <= 4);
    expect_int((long long)stats_of(&w).grown, (long long)(peak - 1 + stats_of(&w).shrunk));
    set_durations(td_ms(1));
    done += put_under_load(&w, 1, td_sec(600), td_sec(2));  /* so little that one would do */
    expect_int(stats_of(&w).workers, 1);
    expect_int((long long)stats_of(&w).shrunk, (long long)stats_of(&w).grown);
    set_durations(td_ms(100));
    done += put_under_load(&w, CALLERS, td_sec(20), 0);
    expect(stats_of(&w).workers > 1);
    td_sleep(td_sec(600));  /* nothing at all */
    expect_int(stats_of(&w).workers, 1);
    expect_int((long long)stats_of(&w).ok, (long long)done);
    expect_int((long long)atomic_load(&w.gate->left), (long long)done);
    expect_int((long long)stats_of(&w).deaths, 0);  /* by a token, never by a signal */
    expect_accounted(&w, done);
    world_close(&w);
    return 0;
}

static void a_pool_grows_under_load_and_shrinks_in_calm(void **state)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        assert_int_equal(on_sim(seed, TD_THREADS, grow_and_shrink), 0);
        assert_int_equal(on_sim(seed, TD_PROCESSES, grow_and_shrink), 0);
    }
}

static int stay_as_it_is(void *arg)
{
    struct world w;

    set_durations(td_ms(100));
    world_open(&w, arg, (td_pool_opts){.workers = 2, .queue = 100});
    put_under_load(&w, CALLERS, td_sec(20), 0);
    expect_int(stats_of(&w).workers, 2);
    td_sleep(td_sec(600));
    expect_int(stats_of(&w).workers, 2);
    expect(stats_of(&w).grown == 0 && stats_of(&w).shrunk == 0);
    world_close(&w);
    return 0;
}

static void a_pool_that_was_not_told_to_never_grows(void **state)
{
    assert_int_equal(on_sim(1, TD_THREADS, stay_as_it_is), 0);
    assert_int_equal(on_sim(1, TD_PROCESSES, stay_as_it_is), 0);
}

/* A worker is held in the gate for more than two seconds: then there is another one. */
STORY(a_pool_grows_for_real)
{
    struct world w;
    struct handed jobs[4];
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .workers_max = 2});
    td_scope_open(&scope);
    for (int i = 0; i < 4; i++)
        hand(&w, &scope, &jobs[i], stay_in_gate, w.gate, AS_THE_POOL);
    wait_entered(&w, 2);
    expect_int(stats_of(&w).workers, 2);
    expect_int((long long)stats_of(&w).grown, 1);
    expect_int((long long)stats_of(&w).depth, 2);
    td_sleep(td_ms(100));
    expect_int(atomic_load(&w.gate->entered), 2);  /* and no more than that */
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_accounted(&w, 4);
    world_close(&w);
    return 0;
}

/* Real workers, and a clock that jumps when nobody works: they leave in peace. */
static int shrink_in_calm(void *arg)
{
    struct world w;
    struct handed jobs[4];
    struct gate *calm = new_gate();
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .workers_max = 2});
    td_scope_open(&scope);
    for (int i = 0; i < 4; i++)
        hand(&w, &scope, &jobs[i], stay_in_gate, w.gate, AS_THE_POOL);
    for (int i = 0; i < 1000 && atomic_load(&w.gate->entered) < 2; i++)
        td_sleep(td_ms(100));
    expect_int(atomic_load(&w.gate->entered), 2);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 600 && stats_of(&w).shrunk == 0; i++) {
        td_sleep(td_sec(1));
        expect_int(td_offload(w.pool, pass_gate, calm), 0);
    }
    expect_int((long long)stats_of(&w).shrunk, 1);
    for (int i = 0; i < 20000 && stats_of(&w).workers > 1; i++) {  /* its end is nothing that virtual time waits for */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        td_sleep(td_us(1));
    }
    expect_int(stats_of(&w).workers, 1);
    expect_int((long long)stats_of(&w).deaths, 0);
    for (int i = 0; i < 5; i++)
        expect_int(td_offload(w.pool, pass_gate, calm), 0);
    td_shared_free(calm);
    world_close(&w);
    return 0;
}

static void a_real_worker_retires_in_peace(void **state)
{
    assert_int_equal(run_with(state, (td_opts){.virtual_time = true}, shrink_in_calm, state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pool_grows_under_load_and_shrinks_in_calm), cmocka_unit_test(a_pool_that_was_not_told_to_never_grows),
        ON_ALL(a_pool_grows_for_real), ON_ALL(a_real_worker_retires_in_peace),
    };

    return cmocka_run_group_tests_name("pool grow", tests, NULL, NULL);
}
