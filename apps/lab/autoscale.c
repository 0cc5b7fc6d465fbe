/* SPDX-License-Identifier: MIT */
/*
 * autoscale: a pool that may grow, under a load that comes and goes, through seven minutes of virtual time.
 *
 * The workers and the clock are the simulation's (tandem/sim.h): a job takes a drawn while and no processor, so the
 * minutes pass in a moment, and the same seed makes the same curve on every machine. What decides on growth is the code
 * that decides for real workers. Jobs come at random, as calls of many independent users do (Poisson).
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <tandem.h>
#include <tandem/sim.h>

#include "experiment.h"

#define WORKERS_MIN 2
#define WORKERS_MAX 10
#define QUEUE 256
#define CALM_BEFORE_S 30
#define BUSY_S 240
#define CALM_AFTER_S 150
#define SECONDS (CALM_BEFORE_S + BUSY_S + CALM_AFTER_S)
#define LOAD_CALM 0.6    /* workers' worth of work that comes in */
#define LOAD_BUSY 4.0
#define GOAL 0.7         /* the share of their time that workers are to be busy */
#define DELAY_MS 2       /* a simulated job takes 1 to 20 of these, all as likely */
#define JOB_S (DELAY_MS * 10.5 / 1e3)
#define COLUMNS 60       /* of the curve, seven seconds each */

struct second {
    unsigned workers;
    double busy;         /* of them */
};

struct day {
    td_pool *pool;
    td_scope *users;
    struct second seconds[SECONDS];
    unsigned long long came, served;
    td_pool_stats after;
};

static int work(void *arg)
{
    (void)arg;
    return 0;
}

static int user(void *arg)
{
    struct day *day = arg;
    int rc = td_offload(day->pool, work, NULL);

    day->served += rc == 0;
    return rc == -ECANCELED ? rc : 0;  /* a job that was lost is what we are looking for, and no reason to stop */
}

/* A draw of the time until the next one comes, where `rate` come in a second. */
static td_time gap(double rate)
{
    double uniform = (double)(td_random() >> 11) / 9007199254740992.0;  /* 2 to the 53 */

    return (td_time)(-log(1 - uniform) / rate * 1e9);
}

static int users_come(struct day *day, double load, int seconds)
{
    td_time end = td_after(td_sec(seconds));
    int rc = 0;

    for (;;) {
        td_time pause = gap(load / JOB_S);

        if (td_after(pause) >= end)
            return td_sleep(end - td_now());
        rc = td_sleep(pause);
        if (rc == 0)
            rc = td_spawn(day->users, user, day);
        if (rc < 0)
            return rc;
        day->came++;
    }
}

static int users_of_the_day(void *arg)
{
    struct day *day = arg;
    int rc = users_come(day, LOAD_CALM, CALM_BEFORE_S);

    if (rc == 0)
        rc = users_come(day, LOAD_BUSY, BUSY_S);
    return rc < 0 ? rc : users_come(day, LOAD_CALM, CALM_AFTER_S);
}

/* What the pool shows at the end of each second. */
static int keep_watch(void *arg)
{
    struct day *day = arg;
    int rc = 0;

    for (int i = 0; rc == 0 && i < SECONDS; i++) {
        td_pool_stats stats;

        rc = td_sleep(td_sec(1));
        td_pool_statistics(day->pool, &stats);
        day->seconds[i] = (struct second){stats.workers, stats.busy_share * stats.workers};
    }
    return rc;
}

static int live_through(struct day *day)
{
    td_scope scope;
    int rc;

    td_scope_open(&scope);
    day->users = &scope;
    rc = td_spawn(&scope, keep_watch, day);
    if (rc == 0)
        rc = td_spawn(&scope, users_of_the_day, day);
    if (rc < 0)
        td_scope_cancel(&scope);
    return rc < 0 ? td_scope_join(&scope), rc : td_scope_join(&scope);
}

static int on_loop(void *arg)
{
    struct day *day = arg;
    int rc = td_sim_faults(&(td_sim_fault_opts){.delay_min = td_ms(DELAY_MS), .delay_max = td_ms(DELAY_MS)});

    if (rc == 0)
        rc = td_pool_open(&day->pool, &(td_pool_opts){.kind = TD_PROCESSES, .workers = WORKERS_MIN, .workers_max = WORKERS_MAX,
                                                      .queue = QUEUE, .name = "autoscale"});
    if (rc < 0)
        return rc;
    rc = live_through(day);
    td_pool_statistics(day->pool, &day->after);
    td_pool_close(day->pool);
    return rc;
}

/* A column is a few seconds: its mean, each row a worker. */
static void draw(struct findings *findings, const struct day *day)
{
    const int width = SECONDS / COLUMNS;

    for (int row = WORKERS_MAX; row >= 1; row--) {
        char line[COLUMNS + 1];
        size_t end = 0;

        memset(line, ' ', COLUMNS);
        for (size_t column = 0; column < COLUMNS; column++) {
            double workers = 0, busy = 0;

            for (int i = 0; i < width; i++) {
                workers += day->seconds[(int)column * width + i].workers;
                busy += day->seconds[(int)column * width + i].busy;
            }
            if (busy / width > row - 0.5)
                line[column] = '#';
            else if (workers / width > row - 0.5)
                line[column] = '-';
            if (line[column] != ' ')
                end = column + 1;
        }
        findings_line(findings, "%2d%s%.*s", row, end ? " " : "", (int)end, line);
    }
    findings_line(findings, "   |0 s      |70 s     |140 s    |210 s    |280 s    |350 s");
    findings_line(findings, "workers: # busy, - idle. Work for %.1f of them comes in, from %d to", LOAD_CALM, CALM_BEFORE_S);
    findings_line(findings, "%d s for %.1f; %llu jobs in all. More than it takes at first, since", CALM_BEFORE_S + BUSY_S,
                  LOAD_BUSY, day->came);
    findings_line(findings, "what waited meanwhile keeps every worker busy.");
}

/* The first second from `from` on in which there are more (or fewer) workers than in the one before; SECONDS for never. */
static int changes(const struct day *day, int from, bool grows)
{
    int i = from;

    while (i < SECONDS && (grows ? day->seconds[i].workers <= day->seconds[i - 1].workers
                                 : day->seconds[i].workers >= day->seconds[i - 1].workers))
        i++;
    return i;
}

static void judge(struct findings *findings, const struct day *day)
{
    const int busy_end = CALM_BEFORE_S + BUSY_S;
    double settled = 0, share = 0;
    unsigned most = 0;

    for (int i = 0; i < SECONDS; i++)
        most = day->seconds[i].workers > most ? day->seconds[i].workers : most;
    for (int i = busy_end - 60; i < busy_end; i++) {
        settled += day->seconds[i].workers / 60.0;
        share += day->seconds[i].busy / 60.0;
    }
    share /= settled;
    findings_claim(findings, (struct claim){COUNTED, "from the load to one more", "s", AT_MOST, 5,
                   changes(day, CALM_BEFORE_S, true) + 1 - CALM_BEFORE_S});
    findings_claim(findings, (struct claim){COUNTED, "workers, once settled", "", AT_LEAST, LOAD_BUSY / GOAL,
                   settled});
    findings_claim(findings, (struct claim){COUNTED, "their busy share then", "", AT_MOST, GOAL * 1.1, share});
    findings_claim(findings, (struct claim){COUNTED, "workers at the most", "", AT_MOST, WORKERS_MAX, most});
    findings_claim(findings, (struct claim){COUNTED, "calm until one less", "s", AT_LEAST, 60,
                   changes(day, busy_end, false) + 1 - busy_end});
    findings_claim(findings, (struct claim){COUNTED, "workers in the end", "", EXACTLY, WORKERS_MIN,
                   day->seconds[SECONDS - 1].workers});
    findings_claim(findings, (struct claim){COUNTED, "jobs killed, refused or lost", "", EXACTLY, 0,
                   (double)(day->came - day->served)});
    findings_claim(findings, (struct claim){COUNTED, "workers that died", "", EXACTLY, 0, (double)day->after.deaths});
}

static int run(struct findings *findings)
{
    struct day day = {0};
    int rc = td_run_with(&(td_opts){.backend = TD_BACKEND_SIM, .seed = 70}, on_loop, &day);

    if (rc < 0)
        return rc;
    draw(findings, &day);
    judge(findings, &day);
    return 0;
}

const struct experiment experiment_autoscale = {
    .name = "autoscale",
    .summary = "a pool grows with its load, and shrinks without killing a job",
    .theory = "Workers are to be busy 70 % of their time: work for 4 of them takes 6. So the pool grows within seconds when they "
              "are busier than that, and it gives workers back one by one, after a minute of calm. Simulated workers and "
              "virtual time: seven minutes in a moment.",
    .because = "At 70 % a handful of workers still has somebody idle for almost everyone who comes; near 100 % the queue would "
               "grow without end. Growing is quick, since waiting users pay for slowness; shrinking is slow, since a "
               "worker costs little and the next rush comes. A worker that goes is asked between two jobs, and so no job "
               "pays for it.",
    .run = run,
};
