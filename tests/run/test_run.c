/* SPDX-License-Identifier: MIT */
/* td_run: what it returns, what it refuses, and that it leaves nothing behind. */
#include <pthread.h>

#include "run/harness.h"

#define DEEP (900u * 1024)

static int give_back(void *arg)
{
    td_yield();
    return *(int *)arg;
}

static void it_returns_what_the_first_task_did(void **state)
{
    int values[] = {0, -EIO, -ECANCELED, -EDEADLK, 17, INT32_MIN};

    for (size_t i = 0; i < COUNT(values); i++)
        assert_int_equal(run(state, give_back, &values[i]), values[i]);
}

static void no_options_are_the_defaults(void **state)
{
    int five = 5;

    assert_int_equal(td_run(give_back, &five), 5);
    assert_int_equal(td_run_with(NULL, give_back, &five), 5);
    assert_int_equal(td_run_with(&(td_opts){0}, give_back, &five), 5);
}

static int refuse_options(void **state)
{
    static const td_opts wrong[] = {
        {.backend = TD_BACKEND_SIM + 1}, {.backend = (td_backend)-1}, {.stall_after = -1},
        {.stack_size = 1}, {.stack_size = 16 * 1024 - 1}, {.stack_size = SIZE_MAX}, {.stack_size = (size_t)1 << 40},
    };
    int five = 5;

    for (size_t i = 0; i < COUNT(wrong); i++)
        expect_int(td_run_with(&wrong[i], give_back, &five), -EINVAL);
    expect_int(td_run(NULL, NULL), -EINVAL);
    expect_int(td_run(give_back, &five), 5);  /* law 8: nothing was left half done */
    return 0;
}

static void options_out_of_range_are_refused(void **state)
{
    struct ending ending = in_child(NULL, refuse_options);

    assert_ended_well(&ending);
}

static void the_smallest_stack_will_do(void **state)
{
    int five = 5;

    assert_int_equal(run_with(state, (td_opts){.stack_size = 16 * 1024}, give_back, &five), 5);
}

static int go_deep(void *arg)
{
    volatile char frame[DEEP];

    frame[0] = 'a';
    frame[DEEP - 1] = 'z';
    td_yield();
    return frame[0] == 'a' && frame[DEEP - 1] == 'z' ? 0 : -EIO;
}

static void a_large_stack_is_there(void **state)
{
    assert_int_equal(run_with(state, (td_opts){.stack_size = 1024 * 1024}, go_deep, NULL), 0);
}

static int run_inside(void *arg)
{
    int five = 5;

    expect(td_run(give_back, &five) < 0);
    return td_yield();
}

static int run_in_run(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, run_inside, NULL);
}

static void a_run_inside_a_task_is_refused(void **state)
{
    struct ending ending = in_child(state, run_in_run);

    assert_ended_well(&ending);
    assert_says(&ending, "td_run was called inside a task");
}

static int run_often(void **state)
{
    int five = 5, before = descriptors_count();

    for (int i = 0; i < 30; i++)
        expect_int(td_run_with(&(td_opts){.backend = backend_of(state)}, give_back, &five), 5);
    expect_int(descriptors_count(), before);
    expect_int(children_count(getpid()), 0);
    return 0;
}

static void run_after_run(void **state)
{
    struct ending ending = in_child(state, run_often);

    assert_ended_well(&ending);
    assert_string_equal(ending.text, "");
}

struct traveller {
    td_backend backend;
    int wrong, done;
};

static int stay_here(void *arg)
{
    struct traveller *traveller = arg;
    pthread_t here = pthread_self();

    for (int i = 0; i < 200; i++) {
        if (i % 2 ? td_sleep(td_us(20)) : td_yield())
            traveller->wrong++;
        traveller->wrong += !pthread_equal(pthread_self(), here);
    }
    traveller->done++;
    return 0;
}

static int stay_together(void *arg)
{
    struct traveller *traveller = arg;
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < 10; i++)
        td_spawn(&scope, stay_here, traveller);
    return td_scope_join(&scope);
}

static void *run_on_thread(void *arg)
{
    struct traveller *traveller = arg;

    traveller->wrong += td_run_with(&(td_opts){.backend = traveller->backend}, stay_together, traveller) != 0;
    return NULL;
}

/*
 * Law 1. Loops of several threads do not know of each other. (ThreadSanitizer does not see that liburing unmaps a ring, and takes
 * the next one there for a race.)
 */
static void a_task_stays_on_its_thread(void **state)
{
    struct traveller travellers[3];
    pthread_t threads[3];

    if (backend_is_forbidden(state))
        skip();
    for (int i = 0; i < 3; i++) {
        travellers[i] = (struct traveller){backend_of(state)};
        assert_int_equal(pthread_create(&threads[i], NULL, run_on_thread, &travellers[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(travellers[i].wrong, 0);
        assert_int_equal(travellers[i].done, 10);
    }
}

/* All memory that may still be mapped is given away, so that stacks run out. */
static int spawn_until_refused(void *arg)
{
    struct rlimit limit;
    int rc = 0, spawned = 0, done = 0;
    td_scope scope;

    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = 1;
    td_scope_open(&scope);
    setrlimit(RLIMIT_AS, &limit);
    while (rc == 0 && spawned < 100000) {
        rc = td_spawn(&scope, give_back, &done);
        spawned += rc == 0;
    }
    expect_int(rc, -ENOMEM);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_AS, &limit);
    expect(spawned > 0);  /* the slab that was there */
    expect_int(td_scope_join(&scope), 0);
    td_scope_open(&scope);
    expect_int(td_spawn(&scope, give_back, &done), 0);
    return td_scope_join(&scope);
}

static int is_on_epoll(void *arg)
{
    td_loop_stats stats;

    td_loop_statistics(&stats);
    expect_text(stats.backend, "epoll");
    return 0;
}

/* As in a container: an ordinary user, who may lock 64 KiB. */
static int run_with_little_locked_memory(void **state)
{
    struct rlimit little = {64 * 1024, 64 * 1024};

    if (setrlimit(RLIMIT_MEMLOCK, &little) < 0 || (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0)))
        return -errno;
    return td_run_with(&(td_opts){.backend = TD_BACKEND_AUTO}, is_on_epoll, NULL);
}

UNUSED static void where_a_limit_forbids_rings_epoll_steps_in(void **state)
{
    struct ending ending = in_child(state, run_with_little_locked_memory);

    assert_ended_well(&ending);
    assert_says(&ending, "ulimit -l");
}

static int run_out_of_stacks(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, spawn_until_refused, NULL);
}

/* Sanitizers' own memory does not fit the limit. */
UNUSED static void without_memory_for_a_stack_a_spawn_fails(void **state)
{
    struct ending ending;

    ending = in_child(state, run_out_of_stacks);
    assert_ended_well(&ending);
    assert_says(&ending, "no stack for a new task");
}

static int name_backend(void *arg)
{
    td_loop_stats stats;

    td_loop_statistics(&stats);
    print_error("backend %s\n", stats.backend);
    return 0;
}

static int run_named(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, name_backend, NULL);
}

static void the_backend_is_the_one_asked_for(void **state)
{
    struct ending ending = in_child(state, run_named);

    assert_ended_well(&ending);
    assert_string_equal(ending.text, backend_of(state) == TD_BACKEND_URING ? "backend uring\n" : "backend epoll\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(it_returns_what_the_first_task_did), cmocka_unit_test(no_options_are_the_defaults),
        cmocka_unit_test(options_out_of_range_are_refused), ON_BOTH(the_smallest_stack_will_do),
        ON_BOTH(a_large_stack_is_there), ON_BOTH(a_run_inside_a_task_is_refused), ON_BOTH(run_after_run),
        NOT_UNDER_TSAN(ON(TD_BACKEND_URING, "uring: ", a_task_stays_on_its_thread))
        ON(TD_BACKEND_EPOLL, "epoll: ", a_task_stays_on_its_thread),
        NOT_SANITIZED(ON(TD_BACKEND_URING, "", where_a_limit_forbids_rings_epoll_steps_in))
        NOT_SANITIZED(ON_BOTH(without_memory_for_a_stack_a_spawn_fails))
        ON_BOTH(the_backend_is_the_one_asked_for),
    };

    return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
