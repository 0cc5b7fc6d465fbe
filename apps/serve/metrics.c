/* SPDX-License-Identifier: MIT */
/* GET /metrics. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "metrics.h"

#define LAG_BUCKETS 15
#define LAG_BUCKET_SECONDS 64e-6  /* td_loop_stats: bucket i holds what is no longer than 2^i * 64 microseconds */

void metrics_begin(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_gauge(FILE *out, const char *name, const char *help, double value)
{
    metrics_begin(out, name, "gauge", help);
    fprintf(out, "%s %.15g\n", name, value);
}

void metrics_counter(FILE *out, const char *name, const char *help, double value)
{
    metrics_begin(out, name, "counter", help);
    fprintf(out, "%s %.15g\n", name, value);
}

static void loop_metrics(FILE *out)
{
    td_loop_stats stats;
    unsigned long long below = 0;

    td_loop_statistics(&stats);
    metrics_gauge(out, "tandem_tasks", "Tasks alive on the loop.", (double)stats.tasks);
    metrics_counter(out, "tandem_loop_turns_total", "Turns of the event loop.", (double)stats.turns);
    metrics_counter(out, "tandem_task_switches_total", "Resumptions of tasks.", (double)stats.switches);
    metrics_counter(out, "tandem_loop_stalls_total",
                    "Turns that something held longer than the watchdog allows.", (double)stats.stalls);
    metrics_counter(out, "tandem_loop_stall_seconds_total", "Time spent in those turns.", (double)stats.stalled_ns / 1e9);
    metrics_begin(out, "tandem_loop_lag_seconds", "histogram",
                  "How long ready I/O and timers may have waited: the length of each turn.");
    for (int i = 0; i < LAG_BUCKETS; i++) {
        below += stats.lag_bucket[i];
        fprintf(out, "tandem_loop_lag_seconds_bucket{le=\"%g\"} %llu\n", LAG_BUCKET_SECONDS * (1 << i), below);
    }
    below += stats.lag_bucket[LAG_BUCKETS];
    fprintf(out, "tandem_loop_lag_seconds_bucket{le=\"+Inf\"} %llu\n", below);
    fprintf(out, "tandem_loop_lag_seconds_sum %.9f\ntandem_loop_lag_seconds_count %llu\n", (double)stats.lag_sum_ns / 1e9, below);
}

static void connection_metrics(FILE *out, struct app *app)
{
    td_http_stats stats;

    td_http_server_statistics(app->server, &stats);
    metrics_gauge(out, "tandem_connections", "Open connections, WebSockets included.", (double)stats.connections);
    metrics_counter(out, "tandem_connections_accepted_total", "Connections accepted.", (double)stats.accepted);
    metrics_counter(out, "tandem_connections_refused_total", "Connections answered 503 because there were too many.",
            (double)stats.refused);
    metrics_counter(out, "tandem_http_requests_total", "HTTP requests handled.", (double)stats.requests);
    metrics_counter(out, "tandem_http_bad_requests_total", "Requests refused as malformed, too large or too slow.",
            (double)stats.bad_requests);
    metrics_counter(out, "tandem_messages_total", "WebSocket messages received.", (double)app->counters.messages_in);
    metrics_counter(out, "tandem_messages_sent_total", "WebSocket messages sent.", (double)app->counters.messages_out);
    metrics_begin(out, "tandem_dropped_total", "counter", "What was dropped, by reason.");
    fprintf(out,
            "tandem_dropped_total{reason=\"audio_late\"} %llu\n"
            "tandem_dropped_total{reason=\"slow_consumer\"} %llu\n"
            "tandem_dropped_total{reason=\"worker_died\"} %llu\n",
            app->counters.audio_late, app->counters.slow_consumer, app->counters.worker_died);
    metrics_gauge(out, "tandem_uptime_seconds", "Time since the start.", (double)(td_now() - app->started) / 1e9);
    metrics_gauge(out, "tandem_draining", "1 while the server drains.", app->draining);
}

static void tls_metrics(FILE *out, const td_tls *tls)
{
    td_tls_stats stats;

    td_tls_statistics(tls, &stats);
    metrics_begin(out, "tandem_tls_handshakes_total", "counter", "TLS handshakes, by outcome.");
    fprintf(out,
            "tandem_tls_handshakes_total{outcome=\"ok\"} %llu\n"
            "tandem_tls_handshakes_total{outcome=\"failed\"} %llu\n"
            "tandem_tls_handshakes_total{outcome=\"refused\"} %llu\n",
            stats.done, stats.failed - stats.refused, stats.refused);
    metrics_counter(out, "tandem_tls_resumed_total", "Handshakes that resumed an earlier session.", (double)stats.resumed);
    metrics_gauge(out, "tandem_tls_handshakes", "TLS handshakes that compute or wait for their peer.", (double)stats.running);
    metrics_gauge(out, "tandem_tls_handshakes_waiting", "TLS handshakes that wait for their turn.", (double)stats.waiting);
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
    if (app->tls)
        tls_metrics(out, app->tls);
    loop_metrics(out);
    metrics_of_pools(out, app);
    rc = fclose(out) == 0 ? td_http_respond(http, 200, "Cache-Control: no-store\r\n", "text/plain; version=0.0.4; charset=utf-8",
                                            text, size) : -ENOMEM;
    free(text);
    return rc;
}
