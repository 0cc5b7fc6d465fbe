/* SPDX-License-Identifier: MIT */
/*
 * tandem_pool_* are all pools together, without a label: names that others rely on. tandem_named_pool_* are the same of
 * each pool, and more, with the label `pool`. They differ in name because a sum over one name must not count twice.
 */
#include "metrics.h"
#include "pools.h"

struct figures {
    td_pool_stats of[POOLS], all;
};

static double seconds(td_time ns)
{
    return (double)ns / 1e9;
}

/* Sums what can be summed; of a peak and an age the largest. */
static void add(td_pool_stats *all, const td_pool_stats *one)
{
    all->workers += one->workers;
    all->busy += one->busy;
    all->depth += one->depth;
    all->queue += one->queue;
    all->ok += one->ok;
    all->error += one->error;
    all->rejected += one->rejected;
    all->dropped += one->dropped;
    all->timeout += one->timeout;
    all->cancelled += one->cancelled;
    all->died += one->died;
    all->deaths += one->deaths;
    all->ran_ns += one->ran_ns;
    all->depth_peak = one->depth_peak > all->depth_peak ? one->depth_peak : all->depth_peak;
    all->oldest_age_ns = one->oldest_age_ns > all->oldest_age_ns ? one->oldest_age_ns : all->oldest_age_ns;
}

static void read_figures(struct app *app, struct figures *figures)
{
    figures->all = (td_pool_stats){0};
    for (unsigned i = 0; i < POOLS; i++) {
        pools_statistics(app, i, &figures->of[i]);
        add(&figures->all, &figures->of[i]);
    }
}

/* `pool` NULL: of all of them. The label `outcome` alone is a name that others rely on, so it stands first. */
static void outcomes(FILE *out, const char *name, const char *pool, const td_pool_stats *stats)
{
    const struct { const char *outcome; unsigned long long count; } lines[] = {
        {"ok", stats->ok}, {"error", stats->error}, {"rejected", stats->rejected}, {"dropped", stats->dropped},
        {"timeout", stats->timeout}, {"cancelled", stats->cancelled}, {"died", stats->died}};

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        fprintf(out, "%s{outcome=\"%s\"%s%s%s} %llu\n", name, lines[i].outcome, pool ? ",pool=\"" : "", pool ? pool : "",
                pool ? "\"" : "", lines[i].count);
}

static void all_pools(FILE *out, const td_pool_stats *all)
{
    metrics_gauge(out, "tandem_pool_workers", "Workers of all pools.", all->workers);
    metrics_gauge(out, "tandem_pool_busy_workers", "Workers that run a job.", all->busy);
    metrics_gauge(out, "tandem_pool_queue_depth", "Jobs that wait for a worker.", (double)all->depth);
    metrics_gauge(out, "tandem_pool_queue_depth_peak", "The most that ever waited in one pool.", (double)all->depth_peak);
    metrics_gauge(out, "tandem_pool_queue_limit", "Jobs that may wait.", (double)all->queue);
    metrics_gauge(out, "tandem_pool_oldest_job_seconds", "Age of the job that waits longest.", seconds(all->oldest_age_ns));
    metrics_begin(out, "tandem_pool_jobs_total", "counter", "Jobs by outcome.");
    outcomes(out, "tandem_pool_jobs_total", NULL, all);
    metrics_counter(out, "tandem_pool_worker_deaths_total", "Worker processes that died, those killed for a deadline included.",
                    (double)all->deaths);
    metrics_counter(out, "tandem_pool_run_seconds_total", "Time that finished jobs spent in workers.", seconds(all->ran_ns));
}

/* A metric with one sample of each pool. */
static void of_each(FILE *out, const char *name, const char *type, const char *help, const double values[POOLS])
{
    metrics_begin(out, name, type, help);
    for (unsigned i = 0; i < POOLS; i++)
        fprintf(out, "%s{pool=\"%s\"} %.15g\n", name, pool_names[i], values[i]);
}

static void each_pool(FILE *out, const td_pool_stats *of)
{
    const td_pool_stats *a = &of[POOL_COMPUTE], *b = &of[POOL_AUDIO];

    of_each(out, "tandem_named_pool_workers", "gauge", "Workers.", (double[]){a->workers, b->workers});
    of_each(out, "tandem_named_pool_busy_workers", "gauge", "Workers that run a job.", (double[]){a->busy, b->busy});
    of_each(out, "tandem_named_pool_queue_depth", "gauge", "Jobs that wait for a worker.",
            (double[]){(double)a->depth, (double)b->depth});
    of_each(out, "tandem_named_pool_queue_depth_peak", "gauge", "The most that ever waited.",
            (double[]){(double)a->depth_peak, (double)b->depth_peak});
    of_each(out, "tandem_named_pool_queue_limit", "gauge", "Jobs that may wait.", (double[]){(double)a->queue, (double)b->queue});
    of_each(out, "tandem_named_pool_oldest_job_seconds", "gauge", "Age of the job that waits longest.",
            (double[]){seconds(a->oldest_age_ns), seconds(b->oldest_age_ns)});
    metrics_begin(out, "tandem_named_pool_jobs_total", "counter", "Jobs by outcome.");
    for (unsigned i = 0; i < POOLS; i++)
        outcomes(out, "tandem_named_pool_jobs_total", pool_names[i], &of[i]);
    of_each(out, "tandem_named_pool_run_seconds_total", "counter", "Time that finished jobs spent in workers.",
            (double[]){seconds(a->ran_ns), seconds(b->ran_ns)});
}

static void shared_memory(FILE *out)
{
    td_shared_stats memory;

    td_shared_statistics(&memory);
    metrics_gauge(out, "tandem_shared_memory_used_bytes", "Shared memory in use.", (double)memory.used_bytes);
    metrics_gauge(out, "tandem_shared_memory_reserved_bytes", "Shared memory backed by pages.", (double)memory.reserved_bytes);
}

void metrics_of_pools(FILE *out, struct app *app)
{
    struct figures figures;

    read_figures(app, &figures);
    all_pools(out, &figures.all);
    each_pool(out, figures.of);
    shared_memory(out);
}
