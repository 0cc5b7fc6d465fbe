/* SPDX-License-Identifier: MIT */
/* Law 7 when workers die: exactly the job that one ran ends with -EOWNERDEAD, and the work goes on. */
#include "pool/jobs.h"

static int fault(void *arg)
{
    volatile uintptr_t nowhere = 16;

    (void)signal(SIGSEGV, SIG_DFL);  /* a sanitizer would explain it at length */
    *(volatile int *)nowhere = 1;
    return 0;
}

static int give_up(void *arg)
{
    abort();
}

static int leave(void *arg)
{
    exit(3);
}

static int end_itself(void *arg)
{
    raise(SIGKILL);
    return 0;
}

static int die_all_ways(void *arg)
{
    static const struct { td_fn fn; int signal; } ways[] = {
        {fault, SIGSEGV}, {give_up, SIGABRT}, {leave, 0}, {end_itself, SIGKILL},
    };
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (size_t i = 0; i < COUNT(ways); i++) {
        struct call call = {w.pool, ways[i].fn, w.gate, {.when_full = TD_POOL_DEFAULT}};

        submit(&call);
        expect_int(call.rc, -EOWNERDEAD);
        expect_int(call.report.signal, ways[i].signal);
        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    }
    expect_int((long long)stats_of(&w).died, COUNT(ways));
    expect_int((long long)stats_of(&w).deaths, COUNT(ways));
    expect_int((long long)stats_of(&w).ok, COUNT(ways));
    world_close(&w);
    return 0;
}

static int run_all_ways(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, die_all_ways, state);
}

static void a_crash_costs_its_own_job(void **state)
{
    struct ending ending = in_child(state, run_all_ways);

    assert_ended_well(&ending);
    assert_says(&ending, "was ended by signal 11");
    assert_says(&ending, "was ended by signal 6");
    assert_says(&ending, "exited with status 3");
    assert_says(&ending, "was ended by signal 9");
    assert_says(&ending, "while it ran a job; starting another");
}

static int kill_one_of_two(void *arg)
{
    struct call victim, beside, queued;
    struct gate *side = td_shared_calloc(1, sizeof *side);
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    td_scope_open(&scope);
    spawn_call(&w, &scope, &beside, stay_in_gate);
    wait_entered(&w, 1);
    victim = (struct call){w.pool, stay_in_gate, side, {.when_full = TD_POOL_DEFAULT}};
    td_spawn(&scope, submit, &victim);
    eventually(atomic_load(&side->entered) == 1);
    spawn_call(&w, &scope, &queued, pass_gate);
    expect_int(kill(atomic_load(&side->pid), SIGKILL), 0);
    eventually(victim.ends == 1 && queued.ends == 1);
    expect_int(victim.rc, -EOWNERDEAD);
    expect_int(victim.report.signal, SIGKILL);
    expect_int(queued.rc, 0);
    expect_int(beside.ends, 0);
    open_gate(&w);
    expect_int(td_scope_join(&scope), 0);
    expect_int(beside.rc, 0);
    expect_int((long long)outcomes(&w), 3);
    td_shared_free(side);
    world_close(&w);
    return 0;
}

static void a_killed_worker_costs_its_own_job(void **state)
{
    assert_int_equal(run(state, kill_one_of_two, state), 0);
}

static int kill_idle(void *arg)
{
    int pids[CHILDREN_MAX];
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = *(unsigned *)((void **)arg)[1]});
    for (int i = 0; i < 6; i++) {
        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
        eventually(children_list(getpid(), "tandem-worker", pids) == (int)stats_of(&w).workers);
        expect(children_signal("tandem-worker", SIGKILL) > 0);
        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);  /* it had not begun, so it is given to another worker */
    }
    expect_int((long long)stats_of(&w).died, 0);
    expect_int((long long)stats_of(&w).ok, 12);
    world_close(&w);
    return 0;
}

static void an_idle_workers_death_costs_nothing(void **state)
{
    for (unsigned workers = 1; workers <= 7; workers += 3) {
        void *both[] = {*state, &workers};

        assert_int_equal(run(state, kill_idle, both), 0);
    }
}

static int kill_everybody(void *arg)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = *(unsigned *)((void **)arg)[1]});
    for (int i = 0; i < 5; i++) {
        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
        expect(children_signal(NULL, SIGKILL) > 0);  /* the zygote, too, where it lives again */
        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    }
    expect_int((long long)stats_of(&w).ok, 10);
    expect_int((long long)outcomes(&w), 10);
    world_close(&w);
    return 0;
}

static void killing_all_children_costs_waiting_jobs_nothing(void **state)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        void *both[] = {*state, &workers};

        assert_int_equal(run(state, kill_everybody, both), 0);
    }
}

static int kill_at_start(void *arg)
{
    for (int i = 0; i < 4; i++) {
        struct call call;
        struct world w;
        td_scope scope;

        world_open(&w, arg, (td_pool_opts){.workers = 2});
        td_scope_open(&scope);
        spawn_call(&w, &scope, &call, pass_gate);
        children_signal(NULL, SIGKILL);  /* who may be just being born */
        expect_int(td_scope_join(&scope), 0);
        expect(call.rc == 0 || call.rc == -EOWNERDEAD);
        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
        world_close(&w);
    }
    return 0;
}

static void killing_all_children_at_birth(void **state)
{
    assert_int_equal(run(state, kill_at_start, state), 0);
}

static int kill_zygote(void *arg)
{
    struct world w;

    world_open(&w, arg, (td_pool_opts){.workers = 1});
    for (int i = 0; i < 5; i++) {
        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
        expect_int(children_signal("tandem-zygote", SIGKILL), 1);
        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);       /* the worker lives */
        expect_int(td_offload(w.pool, end_itself, w.gate), -EOWNERDEAD);
        expect_int(td_offload(w.pool, pass_gate, w.gate), 0);       /* a new zygote made it */
    }
    world_close(&w);
    return 0;
}

static void the_zygote_is_replaced_too(void **state)
{
    assert_int_equal(run(state, kill_zygote, state), 0);
}

static int many_deaths(void *arg)
{
    struct world w;
    struct call calls[10];
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    td_scope_open(&scope);
    for (int i = 0; i < 10; i++)
        spawn_call(&w, &scope, &calls[i], i == 9 ? pass_gate : end_itself);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 10; i++)
        expect_int(calls[i].rc, i == 9 ? 0 : -EOWNERDEAD);
    expect_int((long long)stats_of(&w).died, 9);
    world_close(&w);
    return 0;
}

/* Also when no job in between finishes; it only takes a little longer. */
static void death_after_death(void **state)
{
    assert_int_equal(run(state, many_deaths, state), 0);
}

static int die_without_descriptors(void *arg)
{
    struct call call;
    struct rlimit limit;
    struct world w;
    int pids[CHILDREN_MAX], spare[16], count = 0;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 2});
    expect_int(td_offload(w.pool, pass_gate, w.gate), 0);
    eventually(children_list(getpid(), "tandem-worker", pids) == 2);  /* looking takes a descriptor, too */
    getrlimit(RLIMIT_NOFILE, &limit);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)descriptors_count() + 8, limit.rlim_max});
    children_signal("tandem-worker", SIGKILL);
    while (count < 16 && (spare[count] = dup(0)) >= 0)
        count++;
    td_scope_open(&scope);
    spawn_call(&w, &scope, &call, pass_gate);
    td_sleep(td_ms(30));
    while (count > 0)
        close(spare[--count]);
    expect_int(td_scope_join(&scope), 0);
    expect_int(call.rc, 0);
    world_close(&w);
    setrlimit(RLIMIT_NOFILE, &limit);
    return 0;
}

static int run_die_without_descriptors(void **state)
{
    int rc = td_run_with(&(td_opts){.backend = backend_of(state)}, die_without_descriptors, state);

    return rc < 0 ? rc : children_count(getpid());
}

/* A worker is known by a descriptor. When there is none for it, it must not serve unknown. */
static void without_descriptors_workers_come_later(void **state)
{
    struct ending ending = in_child(state, run_die_without_descriptors);

    assert_ended_well(&ending);
}

static int scribble(void *arg)
{
    /* Everything the worker has open: its pool's eventfd. It cannot take the pool down with it. */
    for (int fd = 3; fd < 100; fd++)
        close(fd);
    return 0;
}

static int close_all(void *arg)
{
    struct call call;
    struct world w;
    td_scope scope;

    world_open(&w, arg, (td_pool_opts){.workers = 1, .deadline = td_ms(100)});
    td_scope_open(&scope);
    spawn_call(&w, &scope, &call, scribble);
    expect_int(td_scope_join(&scope), 0);
    expect_int(call.ends, 1);
    expect(call.rc == 0 || call.rc == -ETIMEDOUT);  /* the deadline finds what nobody told of */
    world_close(&w);
    return 0;
}

static void a_worker_that_lost_its_voice_is_heard_at_the_deadline(void **state)
{
    assert_int_equal(run(state, close_all, state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROCESSES(a_crash_costs_its_own_job), WITH_PROCESSES(a_killed_worker_costs_its_own_job),
        WITH_PROCESSES(an_idle_workers_death_costs_nothing),
        WITH_PROCESSES(killing_all_children_costs_waiting_jobs_nothing),
        WITH_PROCESSES(killing_all_children_at_birth), WITH_PROCESSES(the_zygote_is_replaced_too),
        WITH_PROCESSES(death_after_death), WITH_PROCESSES(without_descriptors_workers_come_later),
        WITH_PROCESSES(a_worker_that_lost_its_voice_is_heard_at_the_deadline),
    };

    return cmocka_run_group_tests_name("pool death", tests, NULL, NULL);
}
