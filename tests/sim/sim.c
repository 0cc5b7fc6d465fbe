/* SPDX-License-Identifier: MIT */
/*
 * Runs scenarios over many seeds.
 *
 *     sim [NAME...] [--seeds N] [--first N] [--twice]    N seeds of each (or of the named) scenarios
 *     sim NAME --seed N [--trace FILE]                   one run, with its trace
 *
 * A few processes share the seeds, so that a crash and a hang are results, too. Exit status 1 when a seed failed, with
 * the command that repeats it.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim/scenario.h"

#define WORKERS 2
#define RUN_SECONDS_MAX 60   /* of a seed's run: then it hangs */
#define FAILURES_MAX 5       /* of a scenario that are told */

static const struct scenario *const scenarios[] = {&scenario_echo, &scenario_cancel, &scenario_program,
                                                   &scenario_http, &scenario_chat, &scenario_walk, &scenario_pool,
                                                   &scenario_sync};

#define SCENARIOS (sizeof scenarios / sizeof *scenarios)

/* What a worker process tells its parent. */
struct report {
    int said;                /* a file with what its present run wrote to standard error */
    uint64_t seed;           /* that it runs, for the parent to name after a crash */
    uint64_t done, failed;
};

struct options {
    uint64_t seeds, first, seed;
    bool one, twice;
    const char *trace;
};

struct first {
    const struct scenario *scenario;
    const struct options *options;
    struct world world;
    td_sim_stats stats;
};

static int first_task(void *arg)
{
    struct first *first = arg;
    int rc = first->options->trace ? td_sim_trace(first->options->trace) : 0;

    if (rc == 0)
        rc = first->scenario->run(&first->world);
    td_sim_statistics(&first->stats);
    must(&first->world, first->stats.sockets == 0, "%llu sockets were left open", first->stats.sockets);
    return rc;
}

static void run_once(struct first *first, const struct scenario *scenario, uint64_t seed, const struct options *options)
{
    const td_opts opts = {.backend = TD_BACKEND_SIM, .seed = seed, .stall_after = TD_FOREVER, .keep_signals = true,
                          .shared_bytes_max = 64 << 20};
    int rc;

    *first = (struct first){.scenario = scenario, .options = options};
    alarm(RUN_SECONDS_MAX);
    rc = td_run_with(&opts, first_task, first);
    alarm(0);
    must(&first->world, rc == 0, "the run returned %d (%s)", rc, td_strerror(rc));
}

static void tell(const struct scenario *scenario, uint64_t seed, const char *what)
{
    const char *commit = getenv("TANDEM_COMMIT");

    printf("%s, seed %" PRIu64 ": %s\n        again: ./test sim %s --seed %" PRIu64 "%s%s\n", scenario->name, seed, what,
           scenario->name, seed, commit ? "   # at commit " : "", commit ? commit : "");
    fflush(stdout);
}

/* Runs a seed, twice if so asked. True when all held. */
static bool run_seed(const struct scenario *scenario, uint64_t seed, const struct options *options)
{
    struct first first, again;

    run_once(&first, scenario, seed, options);
    if (first.world.complaint[0]) {
        tell(scenario, seed, first.world.complaint);
        return false;
    }
    if (options->one)
        printf("%s, seed %" PRIu64 ": all held; %llu events, trace %016" PRIx64 "\n", scenario->name, seed,
               first.stats.events, first.stats.trace);
    if (!options->twice)
        return true;
    run_once(&again, scenario, seed, options);
    if (again.stats.trace == first.stats.trace && again.stats.events == first.stats.events)
        return true;
    tell(scenario, seed, "two runs of this seed differ: something does not come through the loop");
    return false;
}

/* Shows the end of what the run wrote to standard error. */
static void show_said(int said)
{
    char text[2000];
    off_t size = lseek(said, 0, SEEK_END), from = size > (off_t)sizeof text ? size - (off_t)sizeof text : 0;
    ssize_t n = pread(said, text, sizeof text, from);

    if (n > 0)
        printf("%.*s", (int)n, text);
    fflush(stdout);
}

static void work(const struct scenario *scenario, const struct options *options, unsigned index, struct report *report)
{
    dup2(report->said, STDERR_FILENO);
    for (uint64_t i = index; i < options->seeds && report->failed < FAILURES_MAX; i += WORKERS) {
        report->seed = options->first + i;
        (void)(ftruncate(report->said, 0) == 0 && lseek(report->said, 0, SEEK_SET));
        if (!run_seed(scenario, report->seed, options)) {
            report->failed++;
            show_said(report->said);
        }
        report->done++;
    }
}

/* A worker that died names its seed by dying: the others go on without it. */
static bool bury(const struct scenario *scenario, int status, const struct report *report)
{
    char what[128];

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return report->failed == 0;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(what, sizeof what, "it hangs");
    else
        snprintf(what, sizeof what, "it died: %s", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "by an exit");
    tell(scenario, report->seed, what);
    show_said(report->said);
    return false;
}

static bool run_scenario(const struct scenario *scenario, const struct options *options)
{
    struct report *reports = mmap(NULL, WORKERS * sizeof *reports, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct timespec began, ended;
    pid_t pids[WORKERS];
    bool good = true;
    uint64_t done = 0;

    if (reports == MAP_FAILED)
        return false;
    clock_gettime(CLOCK_MONOTONIC, &began);
    fflush(stdout);
    for (unsigned i = 0; i < WORKERS; i++) {
        reports[i].said = memfd_create("said", MFD_CLOEXEC);
        pids[i] = reports[i].said < 0 ? -1 : fork();
        if (pids[i] == 0) {
            work(scenario, options, i, &reports[i]);
            exit(0);  /* and not _exit: a leak is a result as well */
        }
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        int status = 1;

        if (pids[i] < 0 || waitpid(pids[i], &status, 0) != pids[i])
            good = false;
        else if (!bury(scenario, status, &reports[i]))
            good = false;
        done += reports[i].done;
        close(reports[i].said);
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%-10s %" PRIu64 " seeds from %" PRIu64 " in %.1f s: %s\n", scenario->name, done, options->first,
           (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9,
           good ? "all held" : "see above");
    munmap(reports, WORKERS * sizeof *reports);
    return good;
}

static int usage(void)
{
    fprintf(stderr, "usage: sim [NAME...] [--seeds N] [--first N] [--twice]\n       sim NAME --seed N [--trace FILE]\nnames:");
    for (size_t i = 0; i < SCENARIOS; i++)
        fprintf(stderr, " %s", scenarios[i]->name);
    fprintf(stderr, "\n");
    return 2;
}

static bool wanted(const struct scenario *scenario, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(scenario->name, names[i]) == 0)
            return true;
    return count == 0;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"seeds", required_argument, NULL, 'n'}, {"first", required_argument, NULL, 'f'},
                                          {"seed", required_argument, NULL, 's'},  {"trace", required_argument, NULL, 't'},
                                          {"twice", no_argument, NULL, '2'},       {0}};
    struct options options = {.seeds = 200, .first = 1};
    bool good = true;
    int c, ran = 0;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 0) : 0;

        if (c == 'n')
            options.seeds = number;
        else if (c == 'f')
            options.first = number;
        else if (c == 's')
            options.one = true, options.seed = number;
        else if (c == 't')
            options.trace = optarg;
        else if (c == '2')
            options.twice = true;
        else
            return usage();
    }
    if (options.one && argc - optind != 1)
        return usage();
    for (size_t i = 0; i < SCENARIOS; i++) {
        if (!wanted(scenarios[i], argv + optind, argc - optind))
            continue;
        ran++;
        if (options.one ? !run_seed(scenarios[i], options.seed, &options) : !run_scenario(scenarios[i], &options))
            good = false;
    }
    if (ran == 0)
        return usage();
    return good ? 0 : 1;
}
