/* SPDX-License-Identifier: MIT */
/* How children end: by themselves, by a signal, or because nobody wants them any more; and never as a zombie. */
#include "child/shell.h"

#define CROWD 200

static int tell_endings(void *arg)
{
    td_child_exit exit, again;
    td_child *child;

    expect_int(td_child_spawn(&child, &(td_child_opts){.argv = SHELL("exit 42")}), 0);
    expect_int(td_child_wait(child, &exit), 0);
    expect(exit.status == 42 && exit.signal == 0 && !exit.core_dumped);
    expect_int(td_child_wait(child, &again), 0);
    expect_int(again.status, 42);
    expect_int(td_child_signal(child, SIGTERM), -ESRCH);
    td_child_close(child);
    expect_int(td_child_spawn(&child, &(td_child_opts){.argv = SHELL("kill -USR1 $$")}), 0);
    expect_int(td_child_wait(child, &exit), 0);
    expect(exit.status == -1 && exit.signal == SIGUSR1);
    td_child_close(child);
    expect_int(td_child_spawn(&child, &(td_child_opts){.argv = SHELL("exec sleep 1000")}), 0);
    expect_int(td_child_signal(child, 1000), -EINVAL);
    expect_int(td_child_signal(child, SIGKILL), 0);
    expect_int(td_child_wait(child, &exit), 0);
    expect_int(exit.signal, SIGKILL);
    td_child_close(child);
    return 0;
}

static void endings_are_told(void **state)
{
    assert_int_equal(run(state, tell_endings, NULL), 0);
}

/* Waits until the child has said that it is ready: it wrote a line. */
static void wait_for_line(td_child *child)
{
    char text[64];

    expect(td_fd_read(td_child_stdout(child), text, sizeof text) > 0);
}

/* SIGTERM first: a program that wants to may end in order. */
static int close_gently(void *arg)
{
    td_child_opts opts = {.argv = SHELL("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done"),
                          .out = {TD_CHILD_PIPE, 0}, .grace_ns = PATIENCE};
    td_time began = td_now();
    td_child *child;
    pid_t pid;

    expect_int(td_child_spawn(&child, &opts), 0);
    wait_for_line(child);
    pid = td_child_pid(child);
    td_child_close(child);
    expect(process_is_gone(pid));
    expect(td_now() - began < PATIENCE);
    return 0;
}

static void a_close_asks_first(void **state)
{
    assert_int_equal(run(state, close_gently, NULL), 0);
}

static int close_stubborn(void *arg)
{
    td_child_opts opts = {.argv = SHELL("trap '' TERM; echo ready; while :; do sleep 0.01; done"), .out = {TD_CHILD_PIPE, 0},
                          .grace_ns = td_ms(20)};
    td_time began;
    td_child *child;
    td_scope scope;
    pid_t pid;

    expect_int(td_child_spawn(&child, &opts), 0);
    wait_for_line(child);
    pid = td_child_pid(child);
    td_scope_open(&scope);
    td_scope_cancel(&scope);
    began = td_now();
    expect_int(td_child_wait(child, NULL), -ECANCELED);
    td_child_close(child);  /* the grace is shielded from the cancellation */
    expect(td_now() - began >= td_ms(20));
    expect(process_is_gone(pid));
    expect_int(td_scope_join(&scope), 0);
    return 0;
}

static void who_ignores_sigterm_is_killed(void **state)
{
    assert_int_equal(run(state, close_stubborn, NULL), 0);
}

/* With a group of its own, a child's children go with it. */
static int close_group(void *arg)
{
    td_child_opts opts = {.argv = SHELL("sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.01; done' & wait"),
                          .out = {TD_CHILD_PIPE, 0}, .new_group = true, .grace_ns = td_ms(5)};
    char text[64] = "";
    td_child *child;
    pid_t grandchild;

    expect_int(td_child_spawn(&child, &opts), 0);
    expect(td_fd_read(td_child_stdout(child), text, sizeof text - 1) > 0);
    grandchild = (pid_t)strtol(text, NULL, 10);
    expect(grandchild > 1 && !process_is_gone(grandchild));
    td_child_close(child);
    /* It has another parent now, who takes its end. */
    for (struct process process; process_look(grandchild, &process) && process.state != 'Z' && td_sleep(td_ms(1)) == 0;)
        ;
    return 0;
}

static void a_group_ends_together(void **state)
{
    assert_int_equal(run(state, close_group, NULL), 0);
}

static int wait_too(void *arg)
{
    td_child_exit exit;

    expect_int(td_child_wait(arg, &exit), 0);
    expect_int(exit.status, 7);
    return 0;
}

static int wait_together(void *arg)
{
    td_child *child;
    td_scope scope;

    expect_int(td_child_spawn(&child, &(td_child_opts){.argv = SHELL("read x; exit 7"), .in = {TD_CHILD_PIPE, 0}}), 0);
    td_scope_open(&scope);
    for (int i = 0; i < 5; i++)
        td_spawn(&scope, wait_too, child);
    settle();
    td_child_end_input(child);
    td_child_end_input(child);
    expect_int(td_scope_join(&scope), 0);
    td_child_close(child);
    return 0;
}

static void several_tasks_wait_for_one_child(void **state)
{
    assert_int_equal(run(state, wait_together, NULL), 0);
}

static int run_one(void *arg)
{
    int *number = arg;
    char script[64], wanted[32];
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    td_child_output output;

    snprintf(script, sizeof script, "echo %d; exit %d", *number, *number % 100);
    snprintf(wanted, sizeof wanted, "%d\n", *number);
    if (expect_int(td_child_run(&(td_child_opts){.argv = argv}, NULL, 0, &output, 100), 0)) {
        expect_text(output.out, wanted);
        expect_int(output.exit.status, *number % 100);
    }
    td_child_output_free(&output);
    return 0;
}

static int run_crowd(void *arg)
{
    int numbers[CROWD];
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < CROWD; i++) {
        numbers[i] = i;
        expect_int(td_spawn(&scope, run_one, &numbers[i]), 0);
    }
    expect_int(td_scope_join(&scope), 0);
    return 0;
}

static void two_hundred_at_once_are_told_apart(void **state)
{
    assert_int_equal(run(state, run_crowd, NULL), 0);
}

/* Where SIGCHLD is ignored, the system throws ends away: nobody knows, and nobody hangs. */
static int wait_for_nobody(void *arg)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    td_child *child;

    sigaction(SIGCHLD, &ignore, &before);
    expect_int(td_child_spawn(&child, &(td_child_opts){.argv = SHELL("read x; exit 3"), .in = {TD_CHILD_PIPE, 0}}), 0);
    td_child_end_input(child);
    expect_int(td_child_wait(child, NULL), -ECHILD);
    expect_int(td_child_wait(child, NULL), -ECHILD);
    td_child_close(child);
    sigaction(SIGCHLD, &before, NULL);
    return 0;
}

static void an_end_that_others_took_is_no_riddle(void **state)
{
    assert_int_equal(run(state, wait_for_nobody, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(endings_are_told), ON_BOTH(a_close_asks_first), ON_BOTH(who_ignores_sigterm_is_killed),
        ON_BOTH(a_group_ends_together), ON_BOTH(several_tasks_wait_for_one_child), ON_BOTH(two_hundred_at_once_are_told_apart),
        ON_BOTH(an_end_that_others_took_is_no_riddle),
    };

    return cmocka_run_group_tests_name("child end", tests, NULL, NULL);
}
