/* SPDX-License-Identifier: MIT */
/* td_run_with(.loops = N): a thread and a loop each, one failure for all, one arena. */
#include <pthread.h>
#include <stdatomic.h>

#include "run/harness.h"

#define LOOPS 4

struct crew {
    atomic_int runs[LOOPS], thread_ids[LOOPS];
    atomic_int arrived, cleaned, ended;
    int failing_index, failure;
    char port[TD_ADDRESS_MAX];
    atomic_bool listening;
    void *_Atomic blocks[LOOPS];
};

static int run_crew(void **state, struct crew *crew, td_fn fn)
{
    return run_with(state, (td_opts){.loops = LOOPS}, fn, crew);
}

/* Waits until all loops are at the same place. */
static void meet(struct crew *crew, int round)
{
    atomic_fetch_add(&crew->arrived, 1);
    eventually(atomic_load(&crew->arrived) >= round * LOOPS);
}

static int sign_in(void *arg)
{
    struct crew *crew = arg;
    unsigned index = td_loop_index();

    expect_int(td_loop_count(), LOOPS);
    atomic_fetch_add(&crew->runs[index], 1);
    atomic_store(&crew->thread_ids[index], gettid());
    meet(crew, 1);
    expect_int(td_loop_index(), index);
    return (int)index * 10 + 3;
}

static void the_function_runs_once_on_every_loop(void **state)
{
    struct crew crew = {0};

    assert_int_equal(run_crew(state, &crew, sign_in), 3);  /* what it returned on loop 0 */
    for (int i = 0; i < LOOPS; i++) {
        assert_int_equal(crew.runs[i], 1);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(crew.thread_ids[i], crew.thread_ids[j]);
    }
    assert_int_equal(crew.thread_ids[0], gettid());
}

static int clean_up(struct crew *crew)
{
    td_scope scope;

    td_scope_open_shielded(&scope, td_sec(20));
    expect_int(td_sleep(td_ms(2)), 0);
    td_scope_join(&scope);
    atomic_fetch_add(&crew->cleaned, 1);
    return -ECANCELED;
}

static int wait_for_ever(void *arg)
{
    expect_int(td_sleep(td_sec(1000)), -ECANCELED);
    expect_int(td_yield(), -ECANCELED);
    return clean_up(arg);
}

static int fail_on_one(void *arg)
{
    struct crew *crew = arg;
    td_scope scope;

    meet(crew, 1);
    if ((int)td_loop_index() == crew->failing_index)
        return crew->failure;
    td_scope_open(&scope);
    td_spawn(&scope, wait_for_ever, crew);
    return td_scope_join(&scope);
}

static void the_first_failure_cancels_the_other_loops_and_is_returned(void **state)
{
    for (int i = 0; i < LOOPS; i++) {
        struct crew crew = {.failing_index = i, .failure = -EXDEV};

        assert_int_equal(run_crew(state, &crew, fail_on_one), -EXDEV);
        assert_int_equal(crew.cleaned, LOOPS - 1);  /* and they have time to clean up */
    }
}

static int end_on_one(void *arg)
{
    struct crew *crew = arg;

    if (td_loop_index() == 2)
        return 0;
    expect_int(td_sleep(td_ms(5)), 0);
    atomic_fetch_add(&crew->ended, 1);
    return td_loop_index() == 0 ? 21 : 0;
}

static void a_loop_that_ends_well_leaves_the_others_alone(void **state)
{
    struct crew crew = {0};

    assert_int_equal(run_crew(state, &crew, end_on_one), 21);
    assert_int_equal(crew.ended, LOOPS - 1);
}

static int answer(void *arg)
{
    td_listener *listener = arg;
    td_stream *stream;
    int rc;

    while ((rc = td_accept(listener, &stream)) == 0) {
        expect_int(td_stream_write(stream, "y", 1), 1);
        td_stream_close(stream);
    }
    return rc;
}

static int call_often(void *arg)
{
    struct crew *crew = arg;
    char byte;

    for (int i = 0; i < 20; i++) {
        td_stream *stream;

        if (!expect_int(td_connect(&stream, crew->port), 0))
            return -EIO;
        expect_int(td_stream_read(stream, &byte, 1), 1);
        td_stream_close(stream);
    }
    return 0;
}

static int listen_and_call(void *arg)
{
    struct crew *crew = arg;
    td_listener *listener;
    td_scope scope;

    if (td_loop_index() == 0) {
        expect_int(td_listen(&listener, "127.0.0.1:0", &(td_listen_opts){.share_port = true}), 0);
        snprintf(crew->port, sizeof crew->port, "%s", td_listener_address(listener));
        atomic_store(&crew->listening, true);
    } else {
        eventually(atomic_load(&crew->listening));
        expect_int(td_listen(&listener, crew->port, &(td_listen_opts){.share_port = true}), 0);
    }
    meet(crew, 1);
    td_scope_open(&scope);
    td_spawn(&scope, answer, listener);
    expect_int(call_often(crew), 0);
    meet(crew, 2);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    td_listener_close(listener);
    return 0;
}

static void every_loop_listens_on_the_same_port(void **state)
{
    struct crew crew = {0};

    assert_int_equal(run_crew(state, &crew, listen_and_call), 0);
}

static int square(void *arg)
{
    *(int *)arg *= *(int *)arg;
    return 0;
}

static int offload_here(void *arg)
{
    td_pool_kind kinds[] = {TD_THREADS, TD_PROCESSES};
    int *numbers = td_shared_alloc(8 * sizeof *numbers);

    for (int k = 0; k < 2; k++) {
        td_pool *pool;

        expect_int(td_pool_open(&pool, &(td_pool_opts){.kind = kinds[k], .workers = 2}), 0);
        for (int i = 0; i < 8; i++)
            numbers[i] = i;
        expect_int(td_pool_map(pool, square, numbers, 8, sizeof *numbers), 0);
        for (int i = 0; i < 8; i++)
            expect_int(numbers[i], i * i);
        expect_int(td_pool_close(pool), 0);
    }
    td_shared_free(numbers);
    return 0;
}

static void pools_of_both_kinds_work_on_every_loop(void **state)
{
    struct crew crew = {0};

    assert_int_equal(run_crew(state, &crew, offload_here), 0);
}

/* Loops hand each other blocks and free them; in the end nothing is left. */
static int share_blocks(void *arg)
{
    struct crew *crew = arg;
    unsigned seed = td_loop_index() + 1;
    td_shared_stats stats;

    for (int i = 0; i < 3000; i++) {
        size_t size = 1 + (seed = seed * 1103515245 + 12345) % 40000;
        unsigned char *mine = td_shared_alloc(size), *other;

        if (!expect(mine != NULL))
            return -ENOMEM;
        memset(mine, (int)seed, size < 64 ? size : 64);
        other = atomic_exchange(&crew->blocks[seed % LOOPS], (void *)mine);
        td_shared_free(other);
        if (i % 100 == 0)
            td_yield();
    }
    meet(crew, 1);
    if (td_loop_index() == 0)
        for (int i = 0; i < LOOPS; i++)
            td_shared_free(atomic_exchange(&crew->blocks[i], NULL));
    meet(crew, 2);
    td_shared_statistics(&stats);
    expect_int((long long)stats.blocks, 0);
    expect_int((long long)stats.used_bytes, 0);
    return 0;
}

static void one_loop_frees_what_another_allocated(void **state)
{
    struct crew crew = {0};

    assert_int_equal(run_crew(state, &crew, share_blocks), 0);
}

static int deadlock_on_one(void *arg)
{
    td_event never;

    td_event_init(&never);
    if (td_loop_index() == 1)
        return td_event_wait(&never);
    expect_int(td_sleep(td_sec(1000)), -ECANCELED);
    return -ECANCELED;
}

static int run_deadlock(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state), .loops = LOOPS, .stall_after = TD_FOREVER}, deadlock_on_one,
                       NULL) != -EDEADLK;
}

/* No other loop could end what it waits for, so nobody waits for the others. */
static void a_deadlock_of_one_loop_ends_them_all_and_says_which(void **state)
{
    struct ending ending = in_child(state, run_deadlock);

    assert_ended_well(&ending);
    assert_says(&ending, "deadlock: all 1 tasks of loop 1 wait");
}

static int compute_on_one(void *arg)
{
    td_time end = td_after(td_ms(200));

    while (td_loop_index() == 2 && td_now() < end)
        ;
    return 0;
}

static int run_computing(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state), .loops = 3, .stall_after = td_ms(20)}, compute_on_one, NULL);
}

static void the_watchdog_says_which_loop_is_held(void **state)
{
    struct ending ending = in_child(state, run_computing);

    assert_ended_well(&ending);
    assert_says(&ending, "loop 2 ");
}

static int dig(int depth)
{
    volatile char frame[2048];

    frame[0] = (char)depth;
    return depth <= 0 ? frame[0] : dig(depth - 1) + frame[0];
}

static int overflow_on_one(void *arg)
{
    if (td_loop_index() == 1)
        return dig(1000000);
    return td_sleep(td_sec(20));
}

static int run_overflow(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state), .loops = 2}, overflow_on_one, NULL);
}

/* Sanitizers have handlers of their own. */
UNUSED static void an_overflow_on_any_loop_is_named(void **state)
{
    struct ending ending;

    ending = in_child(state, run_overflow);
    assert_killed_by(&ending, SIGSEGV);
    assert_says(&ending, "stack overflow in the task spawned at td_run on loop 1");
}

static int refuse_options(void **state)
{
    expect_int(td_run_with(&(td_opts){.loops = 100000}, no_task, NULL), -EINVAL);
    expect_int(td_run_with(&(td_opts){.loops = 2, .virtual_time = true}, no_task, NULL), -EINVAL);
    expect_int(td_run_with(&(td_opts){.loops = 2, .backend = TD_BACKEND_SIM}, no_task, NULL), -EINVAL);
    expect_int(td_run_with(&(td_opts){.loops = 2, .stack_size = 1}, no_task, NULL), -EINVAL);  /* on every thread */
    expect_int(td_run_with(&(td_opts){.loops = 2}, no_task, NULL), 0);
    return 0;
}

static void options_that_do_not_go_together_are_refused(void **state)
{
    struct ending ending = in_child(NULL, refuse_options);

    assert_ended_well(&ending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(the_function_runs_once_on_every_loop), ON_BOTH(the_first_failure_cancels_the_other_loops_and_is_returned),
        ON_BOTH(a_loop_that_ends_well_leaves_the_others_alone), ON_BOTH(every_loop_listens_on_the_same_port),
        ON_BOTH(pools_of_both_kinds_work_on_every_loop), ON_BOTH(one_loop_frees_what_another_allocated),
        ON_BOTH(a_deadlock_of_one_loop_ends_them_all_and_says_which), ON_BOTH(the_watchdog_says_which_loop_is_held),
        NOT_SANITIZED(ON_BOTH(an_overflow_on_any_loop_is_named)) cmocka_unit_test(options_that_do_not_go_together_are_refused),
    };

    return cmocka_run_group_tests_name("run loops", tests, NULL, NULL);
}
