/* SPDX-License-Identifier: MIT */
/*
 * GET /metrics: the Prometheus text format, version 0.0.4.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "app.h"

#define LAG_BUCKETS 15
#define LAG_BUCKET_SECONDS 64e-6  /* td_loop_stats: bucket i holds what is no longer than 2^i * 64 microseconds */

static void gauge(FILE *out, const char *name, const char *help, double value)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %.15g\n", name, help, name, name, value);
}

static void counter(FILE *out, const char *name, const char *help, double value)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s counter\n%s %.15g\n", name, help, name, name, value);
}

static void loop_metrics(FILE *out)
{
    td_loop_stats stats;
    unsigned long long below = 0;

    td_loop_statistics(&stats);
    gauge(out, "tandem_tasks", "Tasks alive on the loop.", (double)stats.tasks);
    counter(out, "tandem_loop_turns_total", "Turns of the event loop.", (double)stats.turns);
    counter(out, "tandem_task_switches_total", "Resumptions of tasks.", (double)stats.switches);
    counter(out, "tandem_loop_stalls_total", "Turns that something held longer than the watchdog allows.", (double)stats.stalls);
    counter(out, "tandem_loop_stall_seconds_total", "Time spent in those turns.", (double)stats.stalled_ns / 1e9);
    fputs("# HELP tandem_loop_lag_seconds How long ready I/O and timers may have waited: the length of each turn.\n"
          "# TYPE tandem_loop_lag_seconds histogram\n", out);
    for (int i = 0; i < LAG_BUCKETS; i++) {
        below += stats.lag_bucket[i];
        fprintf(out, "tandem_loop_lag_seconds_bucket{le=\"%g\"} %llu\n", LAG_BUCKET_SECONDS * (1 << i), below);
    }
    below += stats.lag_bucket[LAG_BUCKETS];
    fprintf(out, "tandem_loop_lag_seconds_bucket{le=\"+Inf\"} %llu\n", below);
    fprintf(out, "tandem_loop_lag_seconds_sum %.9f\ntandem_loop_lag_seconds_count %llu\n", (double)stats.lag_sum_ns / 1e9, below);
}

static void pool_metrics(FILE *out, struct app *app)
{
    td_pool_stats stats;
    td_shared_stats memory;

    td_pool_statistics(app->pool, &stats);
    gauge(out, "tandem_pool_workers", "Workers of the pool.", stats.workers);
    gauge(out, "tandem_pool_busy_workers", "Workers that run a job.", stats.busy);
    gauge(out, "tandem_pool_queue_depth", "Jobs that wait for a worker.", (double)stats.depth);
    gauge(out, "tandem_pool_queue_depth_peak", "The most that ever waited.", (double)stats.depth_peak);
    gauge(out, "tandem_pool_queue_limit", "Jobs that may wait.", (double)stats.queue);
    gauge(out, "tandem_pool_oldest_job_seconds", "Age of the job that waits longest.", (double)stats.oldest_age_ns / 1e9);
    fputs("# HELP tandem_pool_jobs_total Jobs by outcome.\n# TYPE tandem_pool_jobs_total counter\n", out);
    fprintf(out,
            "tandem_pool_jobs_total{outcome=\"ok\"} %llu\n"
            "tandem_pool_jobs_total{outcome=\"error\"} %llu\n"
            "tandem_pool_jobs_total{outcome=\"rejected\"} %llu\n"
            "tandem_pool_jobs_total{outcome=\"dropped\"} %llu\n"
            "tandem_pool_jobs_total{outcome=\"timeout\"} %llu\n"
            "tandem_pool_jobs_total{outcome=\"cancelled\"} %llu\n"
            "tandem_pool_jobs_total{outcome=\"died\"} %llu\n",
            stats.ok, stats.error, stats.rejected, stats.dropped, stats.timeout, stats.cancelled, stats.died);
    counter(out, "tandem_pool_worker_deaths_total", "Worker processes that died, those killed for a deadline included.",
            (double)stats.deaths);
    counter(out, "tandem_pool_run_seconds_total", "Time that finished jobs spent in workers.", (double)stats.ran_ns / 1e9);
    td_shared_statistics(&memory);
    gauge(out, "tandem_shared_memory_used_bytes", "Shared memory in use.", (double)memory.used_bytes);
    gauge(out, "tandem_shared_memory_reserved_bytes", "Shared memory backed by pages.", (double)memory.reserved_bytes);
}

static void connection_metrics(FILE *out, struct app *app)
{
    td_http_stats stats;

    td_http_server_statistics(app->server, &stats);
    gauge(out, "tandem_connections", "Open connections, WebSockets included.", (double)stats.connections);
    counter(out, "tandem_connections_accepted_total", "Connections accepted.", (double)stats.accepted);
    counter(out, "tandem_connections_refused_total", "Connections answered 503 because there were too many.",
            (double)stats.refused);
    counter(out, "tandem_http_requests_total", "HTTP requests handled.", (double)stats.requests);
    counter(out, "tandem_http_bad_requests_total", "Requests refused as malformed, too large or too slow.",
            (double)stats.bad_requests);
    counter(out, "tandem_messages_total", "WebSocket messages received.", (double)app->counters.messages_in);
    counter(out, "tandem_messages_sent_total", "WebSocket messages sent.", (double)app->counters.messages_out);
    fputs("# HELP tandem_dropped_total What was dropped, by reason.\n# TYPE tandem_dropped_total counter\n", out);
    fprintf(out,
            "tandem_dropped_total{reason=\"audio_late\"} %llu\n"
            "tandem_dropped_total{reason=\"slow_consumer\"} %llu\n"
            "tandem_dropped_total{reason=\"worker_died\"} %llu\n",
            app->counters.audio_late, app->counters.slow_consumer, app->counters.worker_died);
    gauge(out, "tandem_uptime_seconds", "Time since the start.", (double)(td_now() - app->started) / 1e9);
    gauge(out, "tandem_draining", "1 while the server drains.", app->draining);
}

int metrics_answer(td_http *http, struct app *app)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    int rc;

    if (!out)
        return -ENOMEM;
    connection_metrics(out, app);
    loop_metrics(out);
    pool_metrics(out, app);
    rc = fclose(out) == 0 ? td_http_respond(http, 200, "Cache-Control: no-store\r\n", "text/plain; version=0.0.4; charset=utf-8",
                                            text, size) : -ENOMEM;
    free(text);
    return rc;
}
