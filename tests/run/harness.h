/* SPDX-License-Identifier: MIT */
/*
 * What tests of running loops share: each case on both backends, with a name that says which; checks that tasks may
 * make; programs that are expected to die.
 *
 * cmocka's own assertions jump to the test's stack and leave the loop behind, so a task uses `expect`: it takes note of the first
 * failure and goes on, and `run` fails the case when the loop has ended. Every run must leave as many descriptors and
 * children behind as it found.
 */
#ifndef TANDEM_TESTS_RUN_HARNESS_H
#define TANDEM_TESTS_RUN_HARNESS_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/list.h"
#include "run/random.h"
#include "run/processes.h"
#include "tandem.h"
#include "task/task.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define UNUSED __attribute__((unused))
#define PATIENCE td_sec(20)     /* for what must come in the end, on a busy machine too */
#define CASE_SECONDS_MAX 60     /* then a case is hung */
#define NOT_HERE 77             /* a child's status when its backend is not available */

#define ON(backend, label, test) {label #test, test, NULL, NULL, (void *)(uintptr_t)(backend)}
#define ON_BOTH(test) ON(TD_BACKEND_URING, "uring: ", test), ON(TD_BACKEND_EPOLL, "epoll: ", test)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

#ifdef __SANITIZE_THREAD__
#define RACES_WATCHED true
#else
#define RACES_WATCHED false
#endif

/* Cases that make no sense under a sanitizer are not in its lists: what is skipped is what a machine lacks. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NOT_SANITIZED(...)
#else
#define NOT_SANITIZED(...) __VA_ARGS__,
#endif
#ifdef __SANITIZE_THREAD__
#define NOT_UNDER_TSAN(...)
#else
#define NOT_UNDER_TSAN(...) __VA_ARGS__,
#endif

#ifdef __SANITIZE_THREAD__
/* It counts its own thread, and would end every child that starts another. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#endif

UNUSED static struct { atomic_bool made; } complaint;  /* by a task of any loop */

UNUSED static bool expect_at(bool holds, const char *where, const char *what, long long got, long long wanted)
{
    if (!holds && !atomic_exchange(&complaint.made, true))
        print_error("%s: %s: got %lld, expected %lld\n", where, what, got, wanted);
    return holds;
}

/* For tasks. Both say whether it was so, for tests that had better stop where it was not. */
#define expect(condition) expect_at((condition), __FILE__ ":" TD_STRING(__LINE__), #condition, 0, 1)
#define expect_int(got, wanted) expect_int_at((got), (wanted), __FILE__ ":" TD_STRING(__LINE__), #got)

UNUSED static bool expect_int_at(long long got, long long wanted, const char *where, const char *what)
{
    return expect_at(got == wanted, where, what, got, wanted);
}

#define expect_text(got, wanted) expect_text_at((got), (wanted), __FILE__ ":" TD_STRING(__LINE__))

UNUSED static bool expect_text_at(const char *got, const char *wanted, const char *where)
{
    bool same = strcmp(got, wanted) == 0;

    if (!same)
        print_error("%s: got \"%s\", expected \"%s\"\n", where, got, wanted);
    if (!same)
        complaint.made = true;
    return same;
}

/* Waits in a task until the condition holds. */
#define eventually(condition) \
    do { \
        td_time end_ = td_after(PATIENCE); \
        while (!(condition) && td_now() < end_ && td_sleep(td_ms(1)) == 0) \
            ; \
        expect(condition); \
    } while (0)

/* Lets the others run until each of them waits. The caller must not be cancelled. */
UNUSED static void settle(void)
{
    while (expect_int(td_yield(), 0) && sched_current()->ready)
        ;
}

static td_backend backend_of(void **state)
{
    return (td_backend)((uintptr_t)*state % 16);  /* a case may keep more above it */
}

static int no_task(void *arg)
{
    return 0;
}

/* Where the kernel forbids io_uring there is nothing to test. */
UNUSED static bool backend_is_forbidden(void **state)
{
    int rc = td_run_with(&(td_opts){.backend = backend_of(state), .stall_after = TD_FOREVER}, no_task, NULL);

    return rc == -ENOSYS || rc == -EPERM || rc == -EACCES;
}

/* Runs fn(arg) on the case's backend and returns what td_run did. Without a stall_after there is no watchdog. */
UNUSED static int run_with(void **state, td_opts opts, td_fn fn, void *arg)
{
    int descriptors = descriptors_count(), children = children_count(getpid()), rc;
    char left[1000];

    if (backend_is_forbidden(state))
        skip();
    complaint.made = false;
    opts.backend = backend_of(state);
    opts.stall_after = opts.stall_after ? opts.stall_after : TD_FOREVER;
    alarm(CASE_SECONDS_MAX);
    rc = td_run_with(&opts, fn, arg);
    alarm(0);
    if (complaint.made)
        fail();
    assert_int_equal(descriptors_count(), descriptors);
    children_tell(getpid(), left, sizeof left);
    if (children_count(getpid()) != children)
        fail_msg("%d children before, and after: %s", children, left);
    return rc;
}

UNUSED static int run(void **state, td_fn fn, void *arg)
{
    return run_with(state, (td_opts){0}, fn, arg);
}

/* How a child ended, and what it wrote to standard error. */
struct ending {
    int status;
    char text[16384];
};

static void read_all(int fd, char *text, size_t size)
{
    size_t at = 0;
    ssize_t n;

    while (at + 1 < size && (n = read(fd, text + at, size - at - 1)) > 0)
        at += (size_t)n;
    text[at] = '\0';
}

_Noreturn static void be_child(int error_fd, int (*body)(void **state), void **state)
{
    static const int caught[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};  /* by cmocka */

    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    for (size_t i = 0; i < COUNT(caught); i++)
        (void)signal(caught[i], SIG_DFL);
    dup2(error_fd, STDERR_FILENO);
    close(error_fd);
    alarm(CASE_SECONDS_MAX / 2);
    complaint.made = false;
    if (state && backend_is_forbidden(state))
        _exit(NOT_HERE);
    _exit(body(state) != 0 || complaint.made);
}

/* Runs body(state) in a child, whose exit status is 0 when it returned 0 and no `expect` failed. `state` may be NULL. */
UNUSED static struct ending in_child(void **state, int (*body)(void **state))
{
    struct ending ending;
    int pair[2];
    pid_t pid;

    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(pair[0]);
        be_child(pair[1], body, state);
    }
    close(pair[1]);
    read_all(pair[0], ending.text, sizeof ending.text);
    close(pair[0]);
    assert_int_equal(waitpid(pid, &ending.status, 0), pid);
    if (WIFEXITED(ending.status) && WEXITSTATUS(ending.status) == NOT_HERE)
        skip();
    return ending;
}

UNUSED static void assert_says(const struct ending *ending, const char *text)
{
    if (!strstr(ending->text, text))
        fail_msg("the child did not say \"%s\" but:\n%s", text, ending->text);
}

UNUSED static void assert_killed_by(const struct ending *ending, int signal)
{
    if (!WIFSIGNALED(ending->status) || WTERMSIG(ending->status) != signal)
        fail_msg("the child's status is 0x%x, not death by signal %d; it said:\n%s", ending->status, signal, ending->text);
}

UNUSED static void assert_ended_well(const struct ending *ending)
{
    if (!WIFEXITED(ending->status) || WEXITSTATUS(ending->status) != 0)
        fail_msg("the child's status is 0x%x, not 0; it said:\n%s", ending->status, ending->text);
}

/* A programming error ends the program, with a sentence. */
UNUSED static void assert_aborts_saying(void **state, int (*body)(void **state), const char *text)
{
    struct ending ending = in_child(state, body);

    assert_killed_by(&ending, SIGABRT);
    assert_says(&ending, text);
}

#endif
