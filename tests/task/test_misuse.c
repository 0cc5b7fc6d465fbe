/* SPDX-License-Identifier: MIT */
/* Law 8: a programming error ends the program, with a sentence that says what to do. And a stack overflow says whose. */
#include <pthread.h>

#include "run/harness.h"

static int run_here(void **state, td_fn fn)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, fn, NULL);
}

static int sleep_outside(void **state)
{
    return td_sleep(td_ms(1));
}

static int open_outside(void **state)
{
    td_scope scope;

    td_scope_open(&scope);
    return 0;
}

static int spawn_outside(void **state)
{
    td_scope scope = {.open = true};

    return td_spawn(&scope, no_task, NULL);
}

static int channel_outside(void **state)
{
    td_chan *chan;

    return td_chan_open(&chan, &(td_chan_opts){.item_size = 1, .capacity = 1});
}

static int pool_outside(void **state)
{
    td_pool *pool;

    return td_pool_open(&pool, &(td_pool_opts){.workers = 1});
}

static int listen_outside(void **state)
{
    td_listener *listener;

    return td_listen(&listener, "127.0.0.1:0", NULL);
}

static int read_outside(void **state)
{
    return td_wait_readable(0);
}

static int statistics_outside(void **state)
{
    td_loop_stats stats;

    td_loop_statistics(&stats);
    return 0;
}

static void task_functions_outside_a_task(void **state)
{
    static const struct { int (*body)(void **state); const char *name; } functions[] = {
        {sleep_outside, "td_sleep"}, {open_outside, "td_scope_open"}, {spawn_outside, "td_spawn"},
        {channel_outside, "td_chan_open"}, {pool_outside, "td_pool_open"}, {listen_outside, "td_listen"},
        {read_outside, "td_wait_readable"}, {statistics_outside, "td_loop_statistics"},
    };

    for (size_t i = 0; i < COUNT(functions); i++) {
        char text[100];

        snprintf(text, sizeof text, "%s was called outside a task; call it from", functions[i].name);
        assert_aborts_saying(NULL, functions[i].body, text);
    }
}

static int leave_open(void *arg)
{
    static td_scope scope;

    td_scope_open(&scope);
    return 0;
}

static int spawn_leaver(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn_at(&scope, leave_open, NULL, "house.c:42");
    return td_scope_join(&scope);
}

static int end_with_open_scope(void **state)
{
    return run_here(state, spawn_leaver);
}

static void a_task_that_ends_with_an_open_scope(void **state)
{
    assert_aborts_saying(state, end_with_open_scope, "the task spawned at house.c:42 returned without joining a scope");
}

static int join_it(void *arg)
{
    return td_scope_join(arg);
}

static int spawn_stranger(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, join_it, &scope);
    return td_scope_join(&scope);
}

static int join_by_stranger(void **state)
{
    return run_here(state, spawn_stranger);
}

static void a_join_by_a_stranger(void **state)
{
    assert_aborts_saying(state, join_by_stranger, "only the task that opened a scope may join it");
}

static int cross_joins(void *arg)
{
    td_scope outer, inner;

    td_scope_open(&outer);
    td_scope_open(&inner);
    td_scope_join(&outer);
    return td_scope_join(&inner);
}

static int join_out_of_order(void **state)
{
    return run_here(state, cross_joins);
}

static void a_join_out_of_order(void **state)
{
    assert_aborts_saying(state, join_out_of_order, "join scopes in the reverse order of opening");
}

static int reuse(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_scope_join(&scope);
    return td_spawn(&scope, no_task, NULL);
}

static int spawn_after_join(void **state)
{
    return run_here(state, reuse);
}

static int join_twice(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_scope_join(&scope);
    return td_scope_join(&scope);
}

static int run_join_twice(void **state)
{
    return run_here(state, join_twice);
}

static void a_scope_that_was_joined(void **state)
{
    assert_aborts_saying(state, spawn_after_join, "td_spawn: the scope is not open");
    assert_aborts_saying(state, run_join_twice, "td_scope_join: the scope is not open");
}

static int spawn_abroad(void *arg)
{
    return td_spawn((td_scope *)arg, no_task, NULL);
}

static void *other_loop(void *arg)
{
    td_run_with(&(td_opts){.backend = TD_BACKEND_EPOLL}, spawn_abroad, arg);
    return NULL;
}

static int lend_scope(void *arg)
{
    pthread_t thread;
    td_scope scope;

    td_scope_open(&scope);
    if (pthread_create(&thread, NULL, other_loop, &scope) == 0)
        pthread_join(thread, NULL);
    return td_scope_join(&scope);
}

static int cross_loops(void **state)
{
    return run_here(state, lend_scope);
}

/* Law 1: a task, and its scopes, live on one loop. */
static void a_spawn_into_another_loops_scope(void **state)
{
    assert_aborts_saying(state, cross_loops, "the scope belongs to another loop");
}

static int overflow(int depth)
{
    volatile char frame[512];

    frame[0] = (char)depth;
    return depth < 0 ? 0 : overflow(depth + 1) + frame[0];
}

static int overflow_task(void *arg)
{
    return overflow(1);
}

static int spawn_overflow(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn_at(&scope, overflow_task, NULL, "deep.c:7");
    return td_scope_join(&scope);
}

static int overflow_stack(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state), .stack_size = 128 * 1024}, spawn_overflow, NULL);
}

static void a_stack_overflow_names_the_task(void **state)
{
    struct ending ending = in_child(state, overflow_stack);

    assert_killed_by(&ending, SIGSEGV);
    assert_says(&ending, "stack overflow in the task spawned at deep.c:7: its stack has 128 KiB");
    assert_says(&ending, "\n        at overflow+");
}

static int spawn_named_overflow(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn_with_at(&scope, &(td_spawn_opts){.name = "the diver", .stack_size = 256 * 1024}, overflow_task, NULL, "deep.c:9");
    return td_scope_join(&scope);
}

static int overflow_named(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, spawn_named_overflow, NULL);
}

static void a_stack_overflow_names_a_name(void **state)
{
    struct ending ending = in_child(state, overflow_named);

    assert_killed_by(&ending, SIGSEGV);
    assert_says(&ending, "stack overflow in the task the diver, spawned at deep.c:9: its stack has 256 KiB");
}

static int open_twice(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_scope_open(&scope);
    return td_scope_join(&scope);
}

static int run_open_twice(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, open_twice, NULL);
}

static void a_scope_opened_twice(void **state)
{
    assert_aborts_saying(state, run_open_twice, "opened a second time while it was open");
}

static void *set_event(void *event)
{
    td_event_set(event);
    return NULL;
}

static int set_from_another_thread(void *arg)
{
    pthread_t thread;
    td_event event;

    td_event_init(&event);
    return pthread_create(&thread, NULL, set_event, &event) != 0 || pthread_join(thread, NULL) != 0;
}

static int run_set_from_another_thread(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, set_from_another_thread, NULL);
}

static void an_event_set_by_another_thread(void **state)
{
    assert_aborts_saying(state, run_set_from_another_thread, "td_event_set was called outside a task");
}

static int other_fault(void *arg)
{
    volatile uintptr_t nowhere = 16;

    *(volatile int *)nowhere = 1;
    return 0;
}

static int run_other_fault(void **state)
{
    return run_here(state, other_fault);
}

static int raise_fault(void *arg)
{
    raise(SIGSEGV);
    return 0;
}

static int run_raise(void **state)
{
    return run_here(state, raise_fault);
}

static void another_fault_is_not_taken_for_an_overflow(void **state)
{
    struct ending ending = in_child(state, run_other_fault);

    assert_killed_by(&ending, SIGSEGV);
    assert_null(strstr(ending.text, "overflow"));
}

/* Signals that somebody sent do what they would have done without us. */
static void a_sent_sigsegv_is_not_swallowed(void **state)
{
    struct ending ending = in_child(state, run_raise);

    assert_killed_by(&ending, SIGSEGV);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(task_functions_outside_a_task), ON_BOTH(a_task_that_ends_with_an_open_scope),
        ON_BOTH(a_join_by_a_stranger), ON_BOTH(a_join_out_of_order), ON_BOTH(a_scope_that_was_joined),
        ON_BOTH(a_spawn_into_another_loops_scope), ON_BOTH(a_stack_overflow_names_the_task),
        ON_BOTH(a_stack_overflow_names_a_name), ON_BOTH(a_scope_opened_twice), ON_BOTH(an_event_set_by_another_thread),
        ON_BOTH(another_fault_is_not_taken_for_an_overflow), ON_BOTH(a_sent_sigsegv_is_not_swallowed),
    };

    return cmocka_run_group_tests_name("task misuse", tests, NULL, NULL);
}
