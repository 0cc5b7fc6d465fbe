/* SPDX-License-Identifier: MIT */
/* Law 5: whoever holds the loop is named, with what he does. */
#include <poll.h>
#include <pthread.h>

#include "run/harness.h"

#define STALL td_ms(20)
#define INCIDENTS 8         /* fewer than are reported in a minute */
#ifdef __SANITIZE_THREAD__
#define SIGNALS_WAIT true   /* ThreadSanitizer holds a signal back until the thread calls something */
#else
#define SIGNALS_WAIT false
#endif

/* The log is read from the pipe that stands in for standard error. */
struct stage {
    int log[2];
    char text[4096];
    size_t size;
};

static void listen_to_log(struct stage *stage, int wait_ms)
{
    struct pollfd ask = {.fd = stage->log[0], .events = POLLIN};
    ssize_t n;

    if (poll(&ask, 1, wait_ms) <= 0)
        return;
    n = read(stage->log[0], stage->text + stage->size, sizeof stage->text - 1 - stage->size);
    stage->size += n > 0 ? (size_t)n : 0;
    stage->text[stage->size] = '\0';
}

static td_time cpu_time(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return td_sec(now.tv_sec) + now.tv_nsec;
}

static void spin(td_time for_ns)
{
    td_time end = td_after(for_ns);

    while (td_now() < end)
        ;
}

static void compute_a_little(void)
{
    spin(STALL / 4);
}

__attribute__((noinline)) static void block_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 4 * STALL}, NULL);
}

/*
 * Holds the loop until that is reported in the wanted words. Where the machine is busy with something else a report may truly say
 * that the kernel did not run us: then once more, as a new incident. Who computed most of the time is told so, though.
 */
static int hold(struct stage *stage, void (*deed)(void), const char *wanted)
{
    td_time end = td_after(PATIENCE);

    for (int incident = 0; incident < INCIDENTS && !strstr(stage->text, wanted) && td_now() < end; incident++) {
        td_time began = td_now(), cpu = cpu_time();

        stage->size = 0;
        stage->text[0] = '\0';
        while (!strchr(stage->text, '\n') && td_now() < end) {
            deed();
            listen_to_log(stage, 0);
        }
        expect(deed != compute_a_little || strstr(stage->text, wanted) || (cpu_time() - cpu) * 10 < (td_now() - began) * 7);
        td_sleep(1);
    }
    return 0;
}

static int compute(void *arg)
{
    return hold(arg, compute_a_little, "computing");
}

static int block(void *arg)
{
    return hold(arg, block_a_little, "blocked");
}

static int take_turns(void *arg)
{
    for (int i = 0; i < 60; i++) {
        spin(td_ms(5));
        td_yield();  /* 300 ms altogether, but never 200 at a time */
    }
    return 0;
}

static int wait_quietly(void *arg)
{
    return td_sleep(3 * STALL);
}

static td_fn deed;
static td_time stall_after;
static struct stage stage;

static int spawn_deed(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn_at(&scope, deed, &stage, "kitchen.c:99");
    return td_scope_join(&scope);
}

static int stall(void **state)
{
    int rc;

    if (pipe2(stage.log, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    dup2(stage.log[1], STDERR_FILENO);
    rc = td_run_with(&(td_opts){.backend = backend_of(state), .stall_after = stall_after}, spawn_deed, NULL);
    listen_to_log(&stage, 0);
    return rc < 0 ? rc : 0;
}

/* The log travels back as this child's own standard error, which `stall` has replaced. */
static int stall_and_tell(void **state)
{
    int error = dup(STDERR_FILENO), rc = stall(state);

    dup2(error, STDERR_FILENO);
    print_error("%s", stage.text);
    return rc;
}

static struct ending act(void **state, td_fn fn, td_time limit_ns)
{
    struct ending ending;

    deed = fn;
    stall_after = limit_ns;
    ending = in_child(state, stall_and_tell);
    assert_ended_well(&ending);
    return ending;
}

static void a_computing_task_is_named(void **state)
{
    struct ending ending = act(state, compute, STALL);

    assert_says(&ending, "by the task spawned at kitchen.c:99");
    if (!strstr(ending.text, "computing"))
        skip();  /* the machine was too busy to let us be guilty */
    assert_says(&ending, "td_offload");
    if (!SIGNALS_WAIT)
        assert_says(&ending, "\n        at hold+");
}

static void a_blocking_task_is_named(void **state)
{
    struct ending ending = act(state, block, STALL);

    assert_says(&ending, "by the task spawned at kitchen.c:99");
    if (!strstr(ending.text, "blocked"))
        skip();  /* likewise */
    assert_true(strstr(ending.text, "(it is in clock_nanosleep)") || strstr(ending.text, "(it is in a sleep, "));
    assert_says(&ending, "\n        at clock_nanosleep+");
    if (!RACES_WATCHED)  /* ThreadSanitizer's own frame in between has no tables */
        assert_says(&ending, "\n        at block_a_little+");
}

static bool is_stopped(pid_t pid)
{
    char path[32], text[256] = "";
    int fd;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
        _exit(1);
    close(fd);
    return strstr(text, ") T ") != NULL;
}

/* Stops the process, watchdog and all, and wakes it up after a time that nobody can have overlooked. */
static int stop_for_a_while(void *arg)
{
    pid_t parent = getpid(), waker = fork();

    if (waker == 0) {
        while (!is_stopped(parent))
            sched_yield();
        nanosleep(&(struct timespec){.tv_nsec = 8 * STALL}, NULL);
        kill(parent, SIGCONT);
        _exit(0);
    }
    if (waker < 0)
        return -errno;
    kill(parent, SIGSTOP);
    return waitpid(waker, NULL, 0) == waker ? td_yield() : -errno;
}

static void a_stop_of_the_process_is_told(void **state)
{
    struct ending ending = act(state, stop_for_a_while, STALL);

    assert_true(strstr(ending.text, "has been held for") || strstr(ending.text, "nobody could look meanwhile"));
}

/* Where the machine is busy with something else the kernel may hold a task for long: such lines accuse nobody. */
static void assert_nobody_accused(const struct ending *ending)
{
    assert_null(strstr(ending->text, "computing"));
    assert_null(strstr(ending->text, "blocked"));
}

static void a_waiting_task_is_not_accused(void **state)
{
    struct ending ending = act(state, wait_quietly, STALL);

    assert_nobody_accused(&ending);
}

static int stop_at_once(void **state)
{
    for (int i = 0; i < 50; i++)
        if (td_run_with(&(td_opts){.backend = backend_of(state), .stall_after = 1}, no_task, NULL) < 0)
            return -EIO;
    return 0;
}

static void the_watchdog_ends_with_its_loop(void **state)
{
    struct ending ending = in_child(state, stop_at_once);

    assert_ended_well(&ending);
}

static void taking_turns_is_not_computing(void **state)
{
    struct ending ending = act(state, take_turns, 10 * STALL);

    assert_nobody_accused(&ending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_computing_task_is_named), ON_BOTH(a_blocking_task_is_named), ON_BOTH(a_waiting_task_is_not_accused),
        ON_BOTH(the_watchdog_ends_with_its_loop), ON_BOTH(taking_turns_is_not_computing),
        ON_BOTH(a_stop_of_the_process_is_told),
    };

    return cmocka_run_group_tests_name("loop watchdog", tests, NULL, NULL);
}
