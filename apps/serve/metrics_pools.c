/* SPDX-License-Identifier: MIT */
/*
 * tandem_pool_* are all pools together, without a label: names that others rely on. tandem_named_pool_* are the same of
 * each pool, and more, with the label `pool`. They differ in name because a sum over one name must not count twice.
 */
#include "metrics.h"
#include "pools.h"

#define FIRST_BUCKET_NS 1024               /* 1 microsecond, 4, 16, ... */
#define LAST_BUCKET_NS (INT64_C(1) << 38)  /* 275 s */

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

static void bounds_of_each(FILE *out, const td_pool_stats *of)
{
    const td_pool_stats *a = &of[POOL_COMPUTE], *b = &of[POOL_AUDIO];

    of_each(out, "tandem_named_pool_queue_bytes", "gauge", "Shared memory that waiting jobs hold.",
            (double[]){(double)a->bytes, (double)b->bytes});
    of_each(out, "tandem_named_pool_queue_bytes_peak", "gauge", "The most that they ever held.",
            (double[]){(double)a->bytes_peak, (double)b->bytes_peak});
    of_each(out, "tandem_named_pool_queue_bytes_limit", "gauge", "What they may hold.",
            (double[]){(double)a->queue_bytes, (double)b->queue_bytes});
    of_each(out, "tandem_named_pool_workers_limit", "gauge", "Workers that there may be.",
            (double[]){a->workers_max, b->workers_max});
    of_each(out, "tandem_named_pool_stuck_workers", "gauge", "Threads left behind in jobs past their deadline.",
            (double[]){a->stuck, b->stuck});
    of_each(out, "tandem_named_pool_busy_share", "gauge", "Of the workers' time over the last second or so.",
            (double[]){a->busy_share, b->busy_share});
    of_each(out, "tandem_named_pool_broken", "gauge", "1 while no job is begun since worker after worker died.",
            (double[]){a->broken, b->broken});
    of_each(out, "tandem_named_pool_grown_total", "counter", "Workers added because the others were busy.",
            (double[]){(double)a->grown, (double)b->grown});
    of_each(out, "tandem_named_pool_shrunk_total", "counter", "Workers retired because they were not.",
            (double[]){(double)a->shrunk, (double)b->shrunk});
}

static void reasons(FILE *out, const td_pool_stats *of)
{
    metrics_begin(out, "tandem_named_pool_refused_total", "counter", "Jobs refused, or given up before they began, by reason.");
    for (unsigned i = 0; i < POOLS; i++)
        for (td_refusal reason = TD_REFUSED_NOT + 1; reason < TD_REFUSALS; reason++)
            fprintf(out, "tandem_named_pool_refused_total{reason=\"%s\",pool=\"%s\"} %llu\n", td_refusal_name(reason),
                    pool_names[i], of[i].refused[reason]);
    metrics_begin(out, "tandem_named_pool_worker_deaths_total", "counter",
                  "Worker processes that died, by cause. Each is replaced.");
    for (unsigned i = 0; i < POOLS; i++)
        for (td_death cause = 0; cause < TD_DEATHS; cause++)
            fprintf(out, "tandem_named_pool_worker_deaths_total{cause=\"%s\",pool=\"%s\"} %llu\n", td_death_name(cause),
                    pool_names[i], of[i].deaths_by[cause]);
}

/* One bucket for two doublings: a histogram has eight for each, which is more than anybody stores. */
static void histogram(FILE *out, const char *name, const char *pool, const td_histogram *histogram)
{
    td_time limit = FIRST_BUCKET_NS;
    unsigned long long below = 0;

    for (unsigned i = 0; i < TD_HISTOGRAM_BUCKETS; i++) {
        below += histogram->buckets[i];
        if (limit > LAST_BUCKET_NS || td_histogram_bound(i) < limit - 1)
            continue;
        fprintf(out, "%s_bucket{pool=\"%s\",le=\"%.9g\"} %llu\n", name, pool, seconds(td_histogram_bound(i)), below);
        limit *= 4;
    }
    fprintf(out, "%s_bucket{pool=\"%s\",le=\"+Inf\"} %llu\n%s_sum{pool=\"%s\"} %.9f\n%s_count{pool=\"%s\"} %llu\n", name, pool,
            below, name, pool, seconds(histogram->sum_ns), name, pool, below);
}

static void histograms(FILE *out, struct app *app)
{
    td_histogram sojourn[POOLS], service[POOLS];

    for (unsigned i = 0; i < POOLS; i++)
        pools_histograms(app, i, &sojourn[i], &service[i]);
    metrics_begin(out, "tandem_named_pool_sojourn_seconds", "histogram", "How long jobs waited for a worker.");
    for (unsigned i = 0; i < POOLS; i++)
        histogram(out, "tandem_named_pool_sojourn_seconds", pool_names[i], &sojourn[i]);
    metrics_begin(out, "tandem_named_pool_service_seconds", "histogram", "How long they ran there.");
    for (unsigned i = 0; i < POOLS; i++)
        histogram(out, "tandem_named_pool_service_seconds", pool_names[i], &service[i]);
}

static void shared_memory(FILE *out)
{
    td_shared_stats memory;

    td_shared_statistics(&memory);
    metrics_gauge(out, "tandem_shared_memory_used_bytes", "Shared memory in use.", (double)memory.used_bytes);
    metrics_gauge(out, "tandem_shared_memory_quarantined_bytes", "Of it, freed and still held by jobs.",
                  (double)memory.quarantined_bytes);
    metrics_gauge(out, "tandem_shared_memory_reserved_bytes", "Shared memory backed by pages.", (double)memory.reserved_bytes);
}

void metrics_of_pools(FILE *out, struct app *app)
{
    struct figures figures;

    read_figures(app, &figures);
    all_pools(out, &figures.all);
    each_pool(out, figures.of);
    bounds_of_each(out, figures.of);
    reasons(out, figures.of);
    histograms(out, app);
    shared_memory(out);
}
