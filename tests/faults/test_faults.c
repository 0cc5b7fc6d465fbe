/* SPDX-License-Identifier: MIT */
/*
 * Everything that the library asks of the system or of the allocator fails once, and then for good, at every place where
 * it is asked (law 8). Each run must end, with success or with an error; without a crash, a lie, or anything left.
 *
 *   test_faults some                    the first two calls of each kind, in the scenarios that take no time
 *   test_faults all [SCENARIO]          every call, every error
 *   test_faults SCENARIO BACKEND WHO CALL NTH ERROR once|on      one fault, with what it led to
 *
 * The runs of a scenario share a process, forked anew where one of them went wrong.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults/inject.h"
#include "faults/scenarios.h"
#include "run/processes.h"

#define RUN_SECONDS_MAX 20     /* then it hangs */
#define FAILURES_MAX 10        /* of a scenario: the rest would be more of the same */
#define SOME_NTH 2
#define EVERY_NTH 40           /* further calls of one kind are tried in growing steps */
#define SLOW_NTH 3             /* where each run waits for seconds */
#define SKIPPED 77

static const struct scenario *const all[] = {scenarios, scenarios_net, scenarios_fetch, scenarios_os};

/* Shared with the process that runs: where it is. */
struct progress {
    struct fault fault;
    unsigned error_at;         /* of the call's errors */
    unsigned points;
};

static struct {
    struct progress *progress;
    const struct scenario *scenario;
    td_backend backend;
    bool some;
    char complaint[2048];
} driver;

bool truth_at(bool truth, const char *where, const char *what)
{
    if (!truth && !driver.complaint[0])
        snprintf(driver.complaint, sizeof driver.complaint, "%s: %s does not hold", where, what);
    return truth;
}

static void complain(const char *format, ...)
{
    va_list args;

    if (driver.complaint[0])
        return;
    va_start(args, format);
    vsnprintf(driver.complaint, sizeof driver.complaint, format, args);
    va_end(args);
}

static const char *backend_name(void)
{
    return driver.backend == TD_BACKEND_URING ? "uring" : "epoll";
}

/* What of the process itself must be as before. */
struct world {
    int descriptors;
    struct sigaction segv, bus;
    stack_t stack;
    sigset_t mask;
};

static void look(struct world *world)
{
    memset(world, 0, sizeof *world);
    world->descriptors = descriptors_count();
    sigaction(SIGSEGV, NULL, &world->segv);
    sigaction(SIGBUS, NULL, &world->bus);
    sigaltstack(NULL, &world->stack);
    pthread_sigmask(SIG_SETMASK, NULL, &world->mask);
}

static void compare(const struct world *before)
{
    struct world after;
    char text[1024];

    look(&after);
    if (faults_left(text, sizeof text) > 0)
        complain("left behind: %s", text);
    if (after.descriptors != before->descriptors)
        complain("%d descriptors before, %d after", before->descriptors, after.descriptors);
    if (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD)
        complain("a child was left behind");
    if (after.segv.sa_handler != before->segv.sa_handler || after.bus.sa_handler != before->bus.sa_handler)
        complain("a signal handler was left behind");
    if (after.stack.ss_sp != before->stack.ss_sp || after.stack.ss_flags != before->stack.ss_flags)
        complain("a signal stack was left behind");
    if (memcmp(&after.mask, &before->mask, sizeof after.mask) != 0)
        complain("the signal mask was changed");
}

/* One run with one fault. Returns what td_run did; driver.complaint says what was wrong with it. */
static int run_once(const struct fault *fault)
{
    td_opts opts = {.backend = driver.backend, .stall_after = driver.scenario->watched ? td_ms(1) : TD_FOREVER,
                    .shared_bytes_max = 64 * 1024 * 1024};
    struct world before;
    int rc;

    driver.complaint[0] = '\0';
    look(&before);
    alarm(RUN_SECONDS_MAX);
    faults_begin(fault);
    rc = td_run_with(&opts, driver.scenario->fn, NULL);
    faults_end();
    alarm(0);
    compare(&before);
    if (rc > 0 || rc < -4095 || rc == -EDEADLK)
        complain("td_run returned %d", rc);
    if (rc < 0 && !faults_hit())
        complain("it failed (%s) although nothing was made to fail", td_strerror(rc));
    if (rc < 0 && fault->error == EINTR && !fault->on)
        complain("an interruption made it fail: %s", td_strerror(rc));
    return rc;
}

/* An interruption that never ends, or a moment's shortage, is nobody's fault. */
static bool may_stay(const struct fault *fault)
{
    return fault->error != EINTR && fault->error != EAGAIN && fault->error != EBUSY && fault->error != ECONNABORTED &&
           fault->call != FAULT_shutdown;
}

static bool next_call(struct fault *fault)
{
    do {
        if (++fault->call == FAULT_CALLS) {
            fault->call = 0;
            if (++fault->role == FAULT_ROLES)
                return false;
        }
    } while (!fault_errors(fault->call)[0]);
    return true;
}

/* Goes to the next fault. `hit`: the last one was met, so that there may be a later call of its kind. */
static bool step(struct progress *progress, bool hit)
{
    struct fault *fault = &progress->fault;
    unsigned last = driver.some ? SOME_NTH : fault->on && driver.scenario->slow ? SLOW_NTH : UINT_MAX;

    if (hit && fault->nth < last) {
        fault->nth += fault->nth < EVERY_NTH ? 1 : fault->nth / 2;
        return true;
    }
    fault->nth = 1;
    if (!fault->on && !driver.some && may_stay(fault))
        return fault->on = true;
    fault->on = false;
    if (driver.some || !fault_errors(fault->call)[++progress->error_at]) {
        progress->error_at = 0;
        if (!next_call(fault))
            return false;
    }
    fault->error = fault_errors(fault->call)[progress->error_at];
    return true;
}

static void tell(FILE *file)
{
    const struct fault *fault = &driver.progress->fault;

    fprintf(file, "test_faults %s %s %s %s %u %s %s", driver.scenario->name, backend_name(), fault_role_name(fault->role),
            fault_call_name(fault->call), fault->nth, strerrorname_np(fault->error), fault->on ? "on" : "once");
}

/* In the process that runs: goes on from where progress says. Does not return. */
_Noreturn static void sweep(void)
{
    struct progress *progress = driver.progress;
    bool hit = true;

    while (step(progress, hit)) {
        (void)run_once(&progress->fault);
        hit = faults_hit();
        progress->points += hit;
        if (!driver.complaint[0])
            continue;
        fprintf(stderr, "%s\n%s", driver.complaint, faults_log());
        _exit(1);
    }
    _exit(0);
}

/* Forks and waits. Returns the status. */
static int in_process(void (*body)(void))
{
    int status = 0;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0)
        body();
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        perror("test_faults");
        exit(1);
    }
    return status;
}

static void how_it_ended(int status)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        fprintf(stderr, "it hung\n%s", faults_log());
    else if (WIFSIGNALED(status))
        fprintf(stderr, "it died of signal %d (%s)\n%s", WTERMSIG(status), sigdescr_np(WTERMSIG(status)), faults_log());
}

/* Without a fault all is well; twice, because the first run opens what stays open. Exit status 77: not here. */
_Noreturn static void without_fault(void)
{
    static const struct fault none;
    int rc = 0;

    for (int i = 0; i < 2; i++) {
        rc = run_once(&none);
        if (rc == -ENOSYS || rc == -EPERM || rc == -EACCES)
            _exit(SKIPPED);
    }
    if (driver.complaint[0])
        fprintf(stderr, "%s\n%s", driver.complaint, faults_log());
    _exit(driver.complaint[0] != '\0');
}

/* Returns how many faults went wrong. */
static int try_scenario(void)
{
    int status = in_process(without_fault), failures = 0;

    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
        printf("%s on %s: not here\n", driver.scenario->name, backend_name());
        return 0;
    }
    if (status != 0) {
        how_it_ended(status);
        fprintf(stderr, "%s on %s goes wrong without any fault\n", driver.scenario->name, backend_name());
        return 1;
    }
    *driver.progress = (struct progress){.fault.error = fault_errors(0)[0]};
    while (failures < FAILURES_MAX && (status = in_process(sweep)) != 0) {
        how_it_ended(status);
        fprintf(stderr, "    see it again: ");
        tell(stderr);
        fprintf(stderr, "\n\n");
        failures++;
    }
    printf("%s on %s: %u faults, %d of them went wrong\n", driver.scenario->name, backend_name(), driver.progress->points,
           failures);
    return failures;
}

static int try_all(const char *name)
{
    int failures = 0, tried = 0;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (driver.scenario = all[i]; driver.scenario->name; driver.scenario++) {
            if (name ? strcmp(name, driver.scenario->name) != 0 : driver.some && driver.scenario->slow)
                continue;
            for (driver.backend = TD_BACKEND_URING; driver.backend <= TD_BACKEND_EPOLL; driver.backend++, tried++)
                failures += try_scenario();
        }
    }
    if (tried == 0)
        fprintf(stderr, "test_faults: no scenario is called %s\n", name);
    return failures > 0 || tried == 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: test_faults some | all [SCENARIO] | SCENARIO uring|epoll loop|thread|child CALL NTH ERROR once|on\n");
    return 2;
}

static bool find_scenario(const char *name)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (driver.scenario = all[i]; driver.scenario->name; driver.scenario++)
            if (strcmp(driver.scenario->name, name) == 0)
                return true;
    return false;
}

static bool parse_fault(char **args, struct fault *fault)
{
    for (fault->role = 0; fault->role < FAULT_ROLES && strcmp(args[0], fault_role_name(fault->role)) != 0; fault->role++)
        ;
    for (fault->call = 0; fault->call < FAULT_CALLS && strcmp(args[1], fault_call_name(fault->call)) != 0; fault->call++)
        ;
    fault->nth = (unsigned)strtoul(args[2], NULL, 10);
    for (fault->error = 1; fault->error < 200; fault->error++)
        if (strerrorname_np(fault->error) && strcmp(args[3], strerrorname_np(fault->error)) == 0)
            break;
    fault->on = strcmp(args[4], "on") == 0;
    return fault->role < FAULT_ROLES && fault->call < FAULT_CALLS && fault->error < 200;
}

static int try_one(char **args)
{
    struct fault fault;
    int rc;

    if (!find_scenario(args[0]) || !parse_fault(args + 2, &fault))
        return usage();
    driver.backend = strcmp(args[1], "epoll") == 0 ? TD_BACKEND_EPOLL : TD_BACKEND_URING;
    rc = run_once(&fault);
    printf("%s; td_run returned %d (%s)\n%s%s\n", faults_hit() ? "the fault was met" : "no such call was made", rc,
           td_strerror(rc), faults_log(), driver.complaint);
    return driver.complaint[0] != '\0';
}

int main(int argc, char **argv)
{
    faults_open();
    driver.progress = mmap(NULL, sizeof *driver.progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (driver.progress == MAP_FAILED)
        return 1;
    if (argc == 8)
        return try_one(argv + 1);
    driver.some = argc == 2 && strcmp(argv[1], "some") == 0;
    if (!driver.some && (argc > 3 || argc < 2 || strcmp(argv[1], "all") != 0))
        return usage();
    return try_all(argc == 3 ? argv[2] : NULL);
}
