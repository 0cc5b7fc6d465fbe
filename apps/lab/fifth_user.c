/* SPDX-License-Identifier: MIT */
/*
 * fifth-user: four workers, all of them busy for a good while, and a fifth user arrives. Three kitchens, one for each
 * policy, at the same time: the workers sit in a blocking call, so they do not need a core each.
 *
 * Each begins with a round of four jobs, from which the pool learns how long one takes: that makes the estimates that
 * the fifth user is told.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <tandem.h>
#include <time.h>

#include "experiment.h"

#define WORKERS 4
#define JOB_MS 1000
#define TRIES_MAX 6

/* One kitchen, and what its fifth user saw. */
struct kitchen {
    const char *policy;
    td_when_full when_full;
    size_t queue;
    td_pool *pool;
    double told_ms;       /* from the arrival until the user knew */
    double expected_s;    /* that it was told: until it is served, or may come again */
    double served_ms;     /* from the arrival until it was served */
    unsigned told;        /* told something true: a place in the queue, or a reason and a time */
    unsigned tries;
    char words[40];       /* of what it was told */
    td_pool_stats after;  /* when all was over */
    unsigned submitted;
};

/* A job: a recogniser in a library that blocks. */
static int recognise(void *arg)
{
    struct timespec left = {.tv_sec = JOB_MS / 1000, .tv_nsec = JOB_MS % 1000 * 1000000L};

    (void)arg;
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
    return 0;
}

static double since_ms(td_time began)
{
    return (double)(td_now() - began) / 1e6;
}

/* How long somebody at this place of the queue waits, as far as the pool can know: from 1, the next. */
static double expected_s(const td_pool_stats *stats, size_t place)
{
    size_t rounds = (place + WORKERS - 1) / WORKERS;

    return (double)rounds * (double)stats->mean_ran_ns / 1e9;
}

/* Four jobs; returns when every worker has one. */
static int occupy(struct kitchen *kitchen, td_scope *scope, td_job *jobs)
{
    td_offload_opts patient = {.when_full = TD_WAIT};
    td_pool_stats stats;
    int rc = 0;

    for (int i = 0; rc == 0 && i < WORKERS; i++, kitchen->submitted++)
        rc = td_submit(scope, &jobs[i], kitchen->pool, recognise, NULL, &patient);
    do {
        if (rc == 0)
            rc = td_sleep(td_ms(1));
        td_pool_statistics(kitchen->pool, &stats);
    } while (rc == 0 && stats.busy < WORKERS);
    return rc;
}

static int waits(struct kitchen *kitchen, td_scope *scope, td_job *job)
{
    td_time arrived = td_now();
    td_pool_stats stats;
    int rc = td_submit(scope, job, kitchen->pool, recognise, NULL, NULL);

    kitchen->submitted++;
    td_pool_statistics(kitchen->pool, &stats);
    kitchen->told_ms = since_ms(arrived);
    kitchen->expected_s = expected_s(&stats, stats.depth);
    kitchen->told = rc == 0 && stats.depth == 1;
    snprintf(kitchen->words, sizeof kitchen->words, "queued, place %zu of %zu", stats.depth, stats.queue);
    if (rc == 0)
        rc = td_job_wait(job);
    kitchen->tries = 1;
    kitchen->served_ms = since_ms(arrived);
    return rc;
}

/* It comes again when it was told to. */
static int is_refused(struct kitchen *kitchen, td_scope *scope, td_job *job)
{
    td_time arrived = td_now();
    td_job_report report = {0};
    td_offload_opts opts = {.report = &report};
    int rc;

    do {
        td_time came = td_now();
        td_pool_stats stats;

        rc = td_submit(scope, job, kitchen->pool, recognise, NULL, &opts);
        kitchen->submitted++;
        kitchen->tries++;
        if (rc != -EBUSY)
            break;
        td_pool_statistics(kitchen->pool, &stats);
        kitchen->expected_s = expected_s(&stats, stats.depth + 1);
        kitchen->told_ms = since_ms(came);
        kitchen->told = report.refusal == TD_REFUSED_QUEUE;
        snprintf(kitchen->words, sizeof kitchen->words, "busy, %s", td_refusal_name(report.refusal));
        rc = td_sleep((td_time)(kitchen->expected_s * 1e9));
    } while (rc == 0 && kitchen->tries < TRIES_MAX);
    if (rc == 0)
        rc = td_job_wait(job);
    kitchen->served_ms = since_ms(arrived);
    return rc;
}

/* Live data: its newer piece takes the place of its older one, which is told. */
static int drops(struct kitchen *kitchen, td_scope *scope, td_job *jobs)
{
    td_job_report report = {0};
    td_offload_opts opts = {.report = &report};
    td_time arrived;
    td_pool_stats stats;
    int older, rc = td_submit(scope, &jobs[0], kitchen->pool, recognise, NULL, &opts);

    if (rc < 0)
        return rc;
    arrived = td_now();
    rc = td_submit(scope, &jobs[1], kitchen->pool, recognise, NULL, NULL);
    kitchen->submitted += 2;
    older = td_job_wait(&jobs[0]);
    td_pool_statistics(kitchen->pool, &stats);
    kitchen->told_ms = since_ms(arrived);
    kitchen->expected_s = expected_s(&stats, stats.depth);
    kitchen->told = rc == 0 && older == -EBUSY && report.refusal == TD_REFUSED_DROPPED && stats.depth == 1;
    snprintf(kitchen->words, sizeof kitchen->words, "older %s, newer queued", td_refusal_name(report.refusal));
    if (rc == 0)
        rc = td_job_wait(&jobs[1]);
    kitchen->tries = 1;
    kitchen->served_ms = since_ms(arrived);
    return rc;
}

static int fifth_arrives(struct kitchen *kitchen, td_scope *scope, td_job *jobs)
{
    switch (kitchen->when_full) {
    case TD_REJECT: return is_refused(kitchen, scope, jobs);
    case TD_DROP_OLDEST: return drops(kitchen, scope, jobs);
    default: return waits(kitchen, scope, jobs);
    }
}

static int evening(struct kitchen *kitchen)
{
    td_job warm[WORKERS], busy[WORKERS], fifth[2];
    td_scope scope;
    int rc, joined;

    td_scope_open(&scope);
    td_scope_collect(&scope);  /* a job that gave way is no reason to send the others home */
    rc = occupy(kitchen, &scope, warm);
    for (int i = 0; rc == 0 && i < WORKERS; i++)
        rc = td_job_wait(&warm[i]);
    if (rc == 0)
        rc = occupy(kitchen, &scope, busy);
    if (rc == 0)
        rc = fifth_arrives(kitchen, &scope, fifth);
    joined = td_scope_join(&scope);
    td_pool_statistics(kitchen->pool, &kitchen->after);
    return rc < 0 ? rc : joined;
}

static int open_kitchen(void *arg)
{
    struct kitchen *kitchen = arg;
    int rc = td_pool_open(&kitchen->pool, &(td_pool_opts){.kind = TD_PROCESSES, .workers = WORKERS, .queue = kitchen->queue,
                                                          .when_full = kitchen->when_full, .name = kitchen->policy});

    if (rc < 0)
        return rc;
    rc = evening(kitchen);
    td_pool_close(kitchen->pool);
    return rc;
}

static int on_loop(void *arg)
{
    struct kitchen *kitchens = arg;
    td_call calls[] = {{open_kitchen, &kitchens[0], 0}, {open_kitchen, &kitchens[1], 0}, {open_kitchen, &kitchens[2], 0}};

    return td_gather(calls, 3);
}

/* Every outcome that the pool counted. Refused jobs were never in it, and are counted too. */
static unsigned long long outcomes(const td_pool_stats *stats)
{
    return stats->ok + stats->error + stats->rejected + stats->dropped + stats->timeout + stats->cancelled + stats->died;
}

static int run(struct findings *findings)
{
    struct kitchen kitchens[] = {
        {.policy = "wait", .when_full = TD_WAIT, .queue = 8},
        {.policy = "reject", .when_full = TD_REJECT, .queue = TD_QUEUE_NONE},
        {.policy = "drop-oldest", .when_full = TD_DROP_OLDEST, .queue = 1},
    };
    double told = 0, slowest_ms = 0, unaccounted = 0, tries = 0;
    int rc = td_run(on_loop, kitchens);

    if (rc < 0)
        return rc;
    findings_line(findings, "%d workers, each in a call of %.1f s; then the fifth user:", WORKERS, JOB_MS / 1e3);
    findings_line(findings, "policy       after    was told                      wait     done");
    for (int i = 0; i < 3; i++) {
        struct kitchen *kitchen = &kitchens[i];

        findings_line(findings, "%-11s%6.1f us  %-28s%5.1f s  %5.1f s", kitchen->policy, kitchen->told_ms * 1e3, kitchen->words,
                      kitchen->expected_s, kitchen->served_ms / 1e3);
        told += kitchen->told;
        slowest_ms = kitchen->told_ms > slowest_ms ? kitchen->told_ms : slowest_ms;
        unaccounted += (double)kitchen->submitted - (double)outcomes(&kitchen->after);
        tries = kitchen->tries > tries ? kitchen->tries : tries;
    }
    findings_claim(findings, (struct claim){COUNTED, "told where they stand", "of 3", EXACTLY, 3, told});
    findings_claim(findings, (struct claim){COUNTED, "jobs without an outcome", "", EXACTLY, 0, unaccounted});
    findings_claim(findings, (struct claim){TIMED, "a job's time to the telling", "", AT_LEAST, 10, JOB_MS / slowest_ms});
    findings_claim(findings, (struct claim){TIMED, "refused, and served at try", "", AT_MOST, 3, tries});
    return 0;
}

const struct experiment experiment_fifth_user = {
    .name = "fifth-user",
    .summary = "four busy workers, and somebody else arrives",
    .theory = "The loop is not busy, only the workers are. So the fifth user is answered at once, whatever the policy: with a "
              "place in the queue, with a no and a time to come again, or with word of what gave way. Silence is not among "
              "the answers, and whoever is told to wait or to come again is served in the end.",
    .because = "A queue with an end has to say something when it is reached, and its policy decides what: wait where the sender "
               "can be held, reject where no is an answer, drop the oldest where only the newest counts. What the pool "
               "learns from finished jobs turns into a time that the user can be told. A queue without an end would have "
               "told the fifth user nothing, and the five-hundredth as little.",
    .run = run,
};
