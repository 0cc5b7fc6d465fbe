/* SPDX-License-Identifier: MIT */
/*
 * Law 10: the clock and randomness come through the loop, so a test can have a day of sleep at once, and the same
 * luck twice.
 */
#include "run/harness.h"

#include "base/clock.h"

static int run_virtual(void **state, uint64_t seed, td_fn fn, void *arg)
{
    return run_with(state, (td_opts){.virtual_time = true, .seed = seed}, fn, arg);
}

struct nap {
    td_time for_ns;
    int *next, place;
};

static int nap(void *arg)
{
    struct nap *nap = arg;

    expect_int(td_sleep(nap->for_ns), 0);
    nap->place = (*nap->next)++;
    return 0;
}

static int sleep_for_a_day(void *arg)
{
    td_time began = td_now(), really = clock_real();
    int next = 0;
    struct nap naps[] = {{td_sec(86400), &next, 0}, {td_sec(1), &next, 0}, {td_sec(3600), &next, 0}};
    td_scope scope;

    td_scope_open(&scope);
    for (size_t i = 0; i < COUNT(naps); i++)
        expect_int(td_spawn(&scope, nap, &naps[i]), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(td_now() - began, td_sec(86400));  /* to the nanosecond: nothing else moves this clock */
    expect(clock_real() - really < PATIENCE);
    expect_int(naps[1].place, 0);
    expect_int(naps[2].place, 1);
    expect_int(naps[0].place, 2);
    return 0;
}

static void a_day_of_sleep_passes_at_once_and_in_order(void **state)
{
    assert_int_equal(run_virtual(state, 0, sleep_for_a_day, NULL), 0);
}

static int compute_without_time(void *arg)
{
    td_time began = td_now(), until = clock_real() + td_ms(5);

    while (clock_real() < until)
        ;
    expect_int(td_now(), began);
    expect_int(td_yield(), 0);
    expect_int(td_now(), began);
    return 0;
}

static void the_clock_stands_while_tasks_run(void **state)
{
    assert_int_equal(run_virtual(state, 0, compute_without_time, NULL), 0);
}

static int wait_for_what_never_comes(void *arg)
{
    td_time began = td_now();
    td_event never;
    td_scope scope;

    td_event_init(&never);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_sec(600)));
    expect_int(td_event_wait(&never), -ECANCELED);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    expect_int(td_now() - began, td_sec(600));
    return 0;
}

static void a_deadline_passes_in_virtual_time(void **state)
{
    assert_int_equal(run_virtual(state, 0, wait_for_what_never_comes, NULL), 0);
}

/* What a descriptor of our own holds is seen before the clock jumps. */
static int read_before_the_deadline(void *arg)
{
    td_time began = td_now();
    td_scope scope;
    int pair[2];

    expect_int(pipe2(pair, O_CLOEXEC), 0);
    expect_int(write(pair[1], "x", 1), 1);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_us(1)));
    expect_int(td_wait_readable(pair[0]), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(td_now(), began);
    close(pair[0]);
    close(pair[1]);
    return 0;
}

static void a_completion_that_is_there_comes_before_any_timer(void **state)
{
    assert_int_equal(run_virtual(state, 0, read_before_the_deadline, NULL), 0);
}

static int work_a_little(void *arg)
{
    struct timespec wait = {0, 20000000};

    nanosleep(&wait, NULL);
    return 7;
}

static int offload_beside_a_sleeper(void *arg)
{
    td_pool_opts opts = {.kind = TD_THREADS, .workers = 1};
    td_time began = td_now();
    int next = 0;
    struct nap sleeper = {td_sec(3600), &next, 0};
    td_pool *pool;
    td_scope scope;

    expect_int(td_pool_open(&pool, &opts), 0);
    td_scope_open(&scope);
    expect_int(td_spawn(&scope, nap, &sleeper), 0);
    expect_int(td_offload(pool, work_a_little, NULL), 7);
    expect_int(td_now(), began);
    expect_int(td_scope_join(&scope), 0);
    expect_int(td_pool_close(pool), 0);
    expect_int(td_now() - began, td_sec(3600));
    return 0;
}

static void the_clock_stands_while_a_pool_works(void **state)
{
    assert_int_equal(run_virtual(state, 0, offload_beside_a_sleeper, NULL), 0);
}

static int offload_too_long(void *arg)
{
    td_pool_opts opts = {.kind = TD_THREADS, .workers = 1, .deadline = td_ms(5)};
    td_pool *pool;

    expect_int(td_pool_open(&pool, &opts), 0);
    expect_int(td_offload(pool, work_a_little, NULL), -ETIMEDOUT);
    expect_int(td_pool_close(pool), 0);
    return 0;
}

static void a_job_that_takes_too_long_meets_its_deadline_all_the_same(void **state)
{
    assert_int_equal(run_virtual(state, 0, offload_too_long, NULL), 0);
}

static int draw(void *arg)
{
    uint64_t *numbers = arg;

    for (int i = 0; i < 4; i++)
        numbers[i] = td_random();
    numbers[4] = td_seed();
    return 0;
}

static void the_same_seed_gives_the_same_numbers(void **state)
{
    uint64_t first[5], again[5], other[5], unasked[5];

    assert_int_equal(run_virtual(state, 4711, draw, first), 0);
    assert_int_equal(run_virtual(state, 4711, draw, again), 0);
    assert_int_equal(run_virtual(state, 4712, draw, other), 0);
    assert_int_equal(run_virtual(state, 0, draw, unasked), 0);
    assert_memory_equal(first, again, sizeof first);
    assert_int_equal(first[4], 4711);
    assert_true(unasked[4] != 0);
    for (int i = 0; i < 4; i++)
        assert_true(first[i] != other[i] && first[i] != unasked[i]);
}

static void the_real_clock_is_back_after_the_run(void **state)
{
    td_time before = clock_real(), now;

    assert_int_equal(run_virtual(state, 0, sleep_for_a_day, NULL), 0);
    now = td_now();
    assert_true(before <= now && now <= clock_real());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_day_of_sleep_passes_at_once_and_in_order),
        ON_BOTH(the_clock_stands_while_tasks_run),
        ON_BOTH(a_deadline_passes_in_virtual_time),
        ON_BOTH(a_completion_that_is_there_comes_before_any_timer),
        ON_BOTH(the_clock_stands_while_a_pool_works),
        ON_BOTH(a_job_that_takes_too_long_meets_its_deadline_all_the_same),
        ON_BOTH(the_same_seed_gives_the_same_numbers),
        ON_BOTH(the_real_clock_is_back_after_the_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
