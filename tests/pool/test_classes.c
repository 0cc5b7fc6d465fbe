/* SPDX-License-Identifier: MIT */
/* The loop's ready-made pools: what waits for one thing never waits behind another; and how they begin and end. */
#include <sched.h>

#include "pool/jobs.h"
#include "run/refused.h"

#define WAITING_MAX 8  /* threads of FILES and NAMES, and as many left behind: tandem/classes.h */
#define CALLS 12

struct crowd {
    struct world w;
    td_scope scope;
    struct call calls[CALLS];
};

static void crowd_open(struct crowd *crowd, void **state, td_class of)
{
    *crowd = (struct crowd){.w = {.state = state, .pool = td_pool_of(of), .gate = td_shared_calloc(1, sizeof(struct gate))}};
    expect(crowd->w.pool != NULL && crowd->w.gate != NULL);
    td_scope_open(&crowd->scope);
}

static void crowd_spawn_from(struct crowd *crowd, int first, int count, td_time deadline)
{
    for (int i = first; i < first + count; i++) {
        struct call *call = &crowd->calls[i];

        *call = (struct call){crowd->w.pool, stay_in_gate, crowd->w.gate, {.when_full = TD_POOL_DEFAULT, .deadline = deadline},
                              .rc = 1};
        expect_int(td_spawn(&crowd->scope, submit, call), 0);
    }
    settle();
}

static void crowd_spawn(struct crowd *crowd, int count, td_time deadline)
{
    crowd_spawn_from(crowd, 0, count, deadline);
}

static int ended(const struct crowd *crowd)
{
    int count = 0;

    for (int i = 0; i < CALLS; i++)
        count += crowd->calls[i].ends;
    return count;
}

static void crowd_close(struct crowd *crowd)
{
    open_gate(&crowd->w);
    (void)td_scope_join(&crowd->scope);
    eventually(stats_of(&crowd->w).stuck == 0);
    td_shared_free(crowd->w.gate);
}

static int nothing(void *arg)
{
    return 5;
}

static int lanes_body(void *arg)
{
    struct crowd compression, disks;

    crowd_open(&compression, arg, TD_CLASS_CPU);
    crowd_spawn(&compression, CALLS, 0);
    eventually(stats_of(&compression.w).busy == stats_of(&compression.w).workers_max);
    expect_int(td_offload(td_pool_of(TD_CLASS_FILES), nothing, NULL), 5);
    expect_int(td_offload(td_pool_of(TD_CLASS_NAMES), nothing, NULL), 5);
    crowd_open(&disks, arg, TD_CLASS_FILES);
    crowd_spawn(&disks, CALLS, 0);
    wait_entered(&disks.w, WAITING_MAX);
    expect_int(td_offload(td_pool_of(TD_CLASS_NAMES), nothing, NULL), 5);
    expect_int(atomic_load(&compression.w.gate->left) + atomic_load(&disks.w.gate->left), 0);
    crowd_close(&disks);
    crowd_close(&compression);
    return 0;
}

/* Every thread that computes is busy, and a queue behind them; then every one that waits for disks, too. */
static void a_class_never_waits_behind_another(void **state)
{
    assert_int_equal(run(state, lanes_body, state), 0);
}

static int thread_each_body(void *arg)
{
    struct crowd crowd;

    crowd_open(&crowd, arg, TD_CLASS_NAMES);
    expect_int(stats_of(&crowd.w).workers, 1);
    crowd_spawn(&crowd, CALLS, 0);
    expect_int(td_sleep(td_ms(1)), 0);
    expect_int(stats_of(&crowd.w).workers, WAITING_MAX);  /* now, and not after a second or two of growth */
    expect_int((long long)stats_of(&crowd.w).depth, CALLS - WAITING_MAX);
    wait_entered(&crowd.w, WAITING_MAX);
    expect_int(atomic_load(&crowd.w.gate->entered), WAITING_MAX);
    crowd_close(&crowd);
    expect_int(ended(&crowd), CALLS);
    return 0;
}

static void a_job_that_finds_no_idle_thread_gets_a_new_one(void **state)
{
    assert_int_equal(run(state, thread_each_body, state), 0);
}

static int one_after_the_other_body(void *arg)
{
    for (int i = 0; i < 100; i++)
        expect_int(td_offload(td_pool_of(TD_CLASS_CPU), nothing, NULL), 5);
    expect_int(stats_of(&(struct world){.pool = td_pool_of(TD_CLASS_CPU)}).workers, 1);
    return 0;
}

static void one_job_at_a_time_needs_one_thread(void **state)
{
    assert_int_equal(run(state, one_after_the_other_body, state), 0);
}

static int left_behind_body(void *arg)
{
    struct crowd crowd;

    crowd_open(&crowd, arg, TD_CLASS_FILES);
    crowd_spawn(&crowd, WAITING_MAX, td_ms(500));
    wait_entered(&crowd.w, WAITING_MAX);
    eventually(ended(&crowd) == WAITING_MAX);
    for (int i = 0; i < WAITING_MAX; i++)
        expect_int(crowd.calls[i].rc, -ETIMEDOUT);
    expect_int(stats_of(&crowd.w).stuck, WAITING_MAX);
    expect_int(td_offload(crowd.w.pool, nothing, NULL), 5);  /* in another's place */
    crowd_spawn_from(&crowd, WAITING_MAX, 1, td_ms(500));
    wait_entered(&crowd.w, WAITING_MAX + 1);
    expect_int(td_sleep(td_ms(600)), 0);
    expect_int(ended(&crowd), WAITING_MAX);  /* no more may be left behind: it waits for its thread */
    expect_int(td_offload(crowd.w.pool, nothing, NULL), 5);
    crowd_close(&crowd);
    expect_int(ended(&crowd), WAITING_MAX + 1);
    expect_int((long long)stats_of(&crowd.w).timeout, WAITING_MAX + 1);
    return 0;
}

/* A file server that is gone: its callers are told, the class works on, and the threads that hang are counted and bounded. */
static void threads_that_hang_are_replaced_and_bounded(void **state)
{
    assert_int_equal(run(state, left_behind_body, state), 0);
}

static int cancelled_body(void *arg)
{
    struct crowd names, files;
    td_scope wanted;

    td_scope_open(&wanted);
    crowd_open(&files, arg, TD_CLASS_FILES);
    crowd_spawn(&files, 1, 0);
    crowd_open(&names, arg, TD_CLASS_NAMES);
    crowd_spawn(&names, 1, 0);
    wait_entered(&names.w, 1);
    wait_entered(&files.w, 1);
    td_scope_cancel(&names.scope);
    td_scope_join(&names.scope);
    expect_int(names.calls[0].rc, -ECANCELED);
    expect_int(stats_of(&names.w).stuck, 1);
    td_scope_cancel(&files.scope);
    expect_int(files.calls[0].ends, 0);  /* what it opened would be lost */
    expect_int(stats_of(&files.w).stuck, 0);
    open_gate(&files.w);
    td_scope_join(&files.scope);
    expect_int(files.calls[0].rc, 0);
    open_gate(&names.w);
    td_scope_join(&wanted);
    eventually(stats_of(&names.w).stuck == 0);
    td_shared_free(names.w.gate);
    td_shared_free(files.w.gate);
    return 0;
}

/* A resolver hangs for many seconds; who was cancelled, by a deadline maybe, does not. */
static void a_cancelled_caller_leaves_a_lookup_behind(void **state)
{
    assert_int_equal(run(state, cancelled_body, state), 0);
}

static struct { atomic_bool over; } lingering;

static int linger(void *arg)
{
    _Atomic int *done = arg;

    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    atomic_store(done, 1);
    atomic_store(&lingering.over, true);
    return 0;
}

static int ends_body(void *arg)
{
    _Atomic int *done = td_shared_calloc(1, sizeof *done);
    td_offload_opts opts = {.when_full = TD_POOL_DEFAULT, .deadline = td_ms(10)};

    expect(done != NULL);
    expect_int(td_offload(td_pool_of(TD_CLASS_CPU), nothing, NULL), 5);
    expect_int(td_offload_with(td_pool_of(TD_CLASS_FILES), linger, done, &opts), -ETIMEDOUT);
    expect_int(atomic_load(done), 0);
    td_shared_free(done);  /* it writes there all the same, later: the pool holds the block */
    return 0;
}

/* The first task has returned, a thread still hangs: the run waits for it, or it would write to memory that is gone. */
static void the_run_waits_for_threads_left_behind(void **state)
{
    atomic_store(&lingering.over, false);
    assert_int_equal(run(state, ends_body, state), 0);
    assert_true(atomic_load(&lingering.over));
}

static int stays_deadlocked(void *arg)
{
    td_event event;

    td_event_init(&event);
    expect_int(td_offload(td_pool_of(TD_CLASS_CPU), nothing, NULL), 5);
    expect_int(td_event_wait(&event), -ECANCELED);
    return 0;
}

static void an_idle_class_hides_no_deadlock(void **state)
{
    assert_int_equal(run(state, stays_deadlocked, state), -EDEADLK);
}

static int refused_body(void *arg)
{
    td_offload_opts soon = {.when_full = TD_POOL_DEFAULT, .deadline = td_ms(20)};
    struct world w;
    td_pool_stats stats;

    atomic_store(&refusing.now, true);
    w.pool = td_pool_of(TD_CLASS_NAMES);
    expect_int(td_offload_with(w.pool, nothing, NULL, &soon), -ETIMEDOUT);
    expect_int(td_offload(w.pool, nothing, NULL), -EAGAIN);
    stats = stats_of(&w);
    expect_int((long long)stats.depth, 0);
    expect_int((long long)stats.busy, 0);
    expect(atomic_load(&refusing.times) > 0);
    atomic_store(&refusing.now, false);
    expect_int(td_offload(w.pool, nothing, NULL), 5);
    return 0;
}

/* tokio 8406: no thread can be started. Each job has its outcome, and the class works again when there are threads. */
static void refused_threads_are_an_error_and_no_orphan(void **state)
{
    assert_int_equal(run(state, refused_body, state), 0);
    atomic_store(&refusing.now, false);
}

static int second_refused_body(void *arg)
{
    struct crowd crowd;

    crowd_open(&crowd, arg, TD_CLASS_FILES);
    atomic_store(&refusing.now, true);
    crowd_spawn(&crowd, CALLS, 0);
    wait_entered(&crowd.w, 1);
    expect_int(atomic_load(&crowd.w.gate->entered), 1);
    open_gate(&crowd.w);
    td_scope_join(&crowd.scope);
    expect_int(ended(&crowd), CALLS);
    for (int i = 0; i < CALLS; i++)
        expect_int(crowd.calls[i].rc, 0);
    td_shared_free(crowd.w.gate);
    return 0;
}

static void the_thread_there_is_does_the_work_of_all(void **state)
{
    assert_int_equal(run(state, second_refused_body, state), 0);
    atomic_store(&refusing.now, false);
}

static int shares_body(void *arg)
{
    td_pool_stats stats;
    unsigned whole = *(unsigned *)arg, share = whole / td_loop_count();

    expect_int(td_offload(td_pool_of(TD_CLASS_CPU), nothing, NULL), 5);
    td_pool_statistics(td_pool_of(TD_CLASS_CPU), &stats);
    expect_int(stats.workers_max, share ? share : 1);
    return 0;
}

static void loops_share_the_cores(void **state)
{
    cpu_set_t set;
    unsigned cores;

    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    cores = (unsigned)CPU_COUNT(&set);
    assert_int_equal(run_with(state, (td_opts){.loops = 3}, shares_body, &cores), 0);
    assert_int_equal(run_with(state, (td_opts){.loops = 1}, shares_body, &cores), 0);
}

static int no_pool_body(void *arg)
{
    td_scope scope;
    td_job job;
    int item = 0;

    td_scope_open(&scope);
    expect_int(td_offload(NULL, nothing, NULL), -ENOMEM);
    expect_int(td_submit(&scope, &job, NULL, nothing, NULL, NULL), -ENOMEM);
    expect(td_job_done(&job));
    expect_int(td_pool_map(NULL, nothing, &item, 1, sizeof item), -ENOMEM);
    return td_scope_join(&scope);
}

/* What td_pool_of answers when there is no memory is an answer to those who use it, too. */
static void no_pool_is_an_error(void **state)
{
    assert_int_equal(run(state, no_pool_body, state), 0);
}

/* Sometimes its thread is left behind with the output and the argument. */
static int late_with_output(void)
{
    void *output, *arg = td_shared_alloc(10);
    td_offload_opts opts = {.when_full = TD_POOL_DEFAULT, .deadline = td_us(500), .output_bytes = 100, .output = &output};
    int rc = td_offload_with(td_pool_of(TD_CLASS_FILES), nothing, arg, &opts);

    expect(rc == 5 || rc == -ETIMEDOUT);
    td_shared_free(output);
    td_shared_free(arg);
    return rc;
}

static int simulated_body(void *arg)
{
    unsigned *late = arg;

    for (int i = 0; i < TD_CLASSES; i++)
        expect_int(td_offload(td_pool_of((td_class)i), nothing, NULL), 5);
    for (int i = 0; i < 4; i++)
        *late += late_with_output() < 0;
    return 0;
}

static void classes_are_there_in_a_simulation(void **state)
{
    unsigned late = 0;

    for (uint64_t seed = 1; seed < 20; seed++)
        assert_int_equal(run_with(state, (td_opts){.seed = seed}, simulated_body, &late), 0);
    assert_true(late > 0 && late < 4 * 19);
}

static int close_body(void *arg)
{
    return td_pool_close(td_pool_of(TD_CLASS_CPU));
}

static int close_child(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, close_body, NULL);
}

static int wrong_body(void *arg)
{
    return td_pool_of((td_class)17) != NULL;
}

static int wrong_child(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, wrong_body, NULL);
}

static void misuse_ends_with_a_sentence(void **state)
{
    assert_aborts_saying(state, close_child, "the CPU class is the loop's own");
    assert_aborts_saying(state, wrong_child, "there is no class 17");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_class_never_waits_behind_another),
        ON_BOTH(a_job_that_finds_no_idle_thread_gets_a_new_one),
        ON_BOTH(one_job_at_a_time_needs_one_thread),
        ON_BOTH(threads_that_hang_are_replaced_and_bounded),
        ON_BOTH(a_cancelled_caller_leaves_a_lookup_behind),
        ON_BOTH(the_run_waits_for_threads_left_behind),
        ON_BOTH(an_idle_class_hides_no_deadlock),
        ON_BOTH(refused_threads_are_an_error_and_no_orphan),
        ON_BOTH(the_thread_there_is_does_the_work_of_all),
        ON_BOTH(loops_share_the_cores),
        ON_BOTH(no_pool_is_an_error),
        ON(TD_BACKEND_SIM, "sim: ", classes_are_there_in_a_simulation),
        ON_BOTH(misuse_ends_with_a_sentence),
    };

    return cmocka_run_group_tests_name("classes", tests, NULL, NULL);
}
