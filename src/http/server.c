/* SPDX-License-Identifier: MIT */
#include "http/server.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "http/connection.h"
#include "http/greeting.h"
#include "tandem/error.h"
#include "tandem/log.h"

#define REFUSING_MAX 256          /* even saying no has its limit, and more wait to be accepted */
#define ACCEPT_PAUSE_NS 50000000  /* when the system is short of descriptors or memory */
#define LOG_EVERY_NS 10000000000
#define GOODBYE_NS 1000000000     /* for the peer to read our last words */
#define REFUSED_NS 200000000      /* the same, for a connection beyond the limit */
#define SENT_STEP_MIN 4096

int http_lease(td_http_server *server, td_fn fn, void *arg, const char *site)
{
    struct sched *sched = &server->loop->sched;

    return task_create(sched, &sched->stacks, server->scope, fn, arg, site) ? 0 : -ENOMEM;
}

static size_t sent_at_least(const td_http_server *server)
{
    size_t bytes = (size_t)((double)server->opts.rate_min * (double)server->opts.send_timeout / 1e9);

    return bytes > SENT_STEP_MIN ? bytes : SENT_STEP_MIN;
}

int http_send(td_http_server *server, td_stream *stream, struct block *block, size_t bytes)
{
    int rc = stream_post(stream, block, SIZE_MAX), joined = 0;

    while (rc == 0 && stream_charge(stream) > bytes) {
        size_t charge = stream_charge(stream), step = sent_at_least(server);
        td_scope scope;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(server->opts.send_timeout));
        rc = stream_wait_sent(stream, charge > bytes + step ? charge - step : bytes);
        joined = td_scope_join(&scope);
    }
    if (rc != -ECANCELED || joined != -ETIMEDOUT)
        return rc;
    server->stats.timeouts_send++;
    return -ETIMEDOUT;
}

bool http_send_progress(const td_http_server *server, size_t *charge, const td_stream *stream)
{
    size_t before = *charge;

    *charge = stream_charge(stream);
    return *charge + sent_at_least(server) <= before;
}

const char *http_date(td_http_server *server)
{
    int64_t now = clock_calendar();

    if (now != server->date_second)
        http_format_date(server->date, now);
    server->date_second = now;
    return server->date;
}


/* Accepts the next connection; not while REFUSING_MAX are being refused. */
static int accept_next(td_http_server *server, td_stream **stream)
{
    while (server->refusing >= REFUSING_MAX) {
        int rc;

        td_event_clear(&server->refused_one);
        rc = td_event_wait(&server->refused_one);
        if (rc < 0)
            return rc;
    }
    return td_accept(server->listener, stream);
}

static int start(td_http_server *server, td_stream *stream)
{
    size_t max = server->opts.connections_max;
    bool refused = max && server->stats.connections >= max && !connection_shed(server);
    int rc;

    if (server->opts.tls)
        rc = greeting_start(server, stream, refused);
    else if (refused)
        rc = connection_refuse(server, stream);
    else
        rc = connection_start(server, stream);
    if (rc < 0)
        td_stream_close(stream);
    return rc;
}

static int accept_all(td_http_server *server)
{
    td_time logged = -LOG_EVERY_NS - 1;

    for (;;) {
        td_stream *stream;
        int rc = accept_next(server, &stream);

        if (rc == 0)
            rc = start(server, stream);
        if (rc == 0)
            continue;
        if (rc == -ECANCELED || rc == -EBADF || rc == -EINVAL || rc == -ENOTSOCK)
            return rc;
        if (td_now() - logged > LOG_EVERY_NS)
            td_log(TD_LOG_WARNING, "cannot accept connections: %s; trying again (raise ulimit -n, or set --max-connections)",
                   td_strerror(rc));
        logged = td_now();
        rc = td_sleep(ACCEPT_PAUSE_NS);
        if (rc < 0)
            return rc;
    }
}

int td_http_server_run(td_http_server *server)
{
    td_scope scope;
    int rc;

    task_self(__func__);
    td_scope_open(&scope);
    td_scope_collect(&scope);  /* a broken connection is no failure of its siblings */
    server->scope = &scope;
    rc = accept_all(server);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    server->scope = NULL;
    timers_disarm(&server->loop->sched.timers, &server->sweep);
    return rc;
}

static td_time or_default(td_time given, td_time standard)
{
    return given > 0 ? given : standard;
}

static size_t or_size(size_t given, size_t standard)
{
    return given ? given : standard;
}

static void settle_opts(td_http_server *server, const td_http_opts *given)
{
    td_http_opts *opts = &server->opts;

    if (given)
        *opts = *given;
    opts->head_bytes_max = or_size(opts->head_bytes_max, 8 * 1024);
    opts->fields_max = or_size(opts->fields_max, 100);
    opts->body_bytes_max = or_size(opts->body_bytes_max, 64 * 1024);
    opts->rate_min = or_size(opts->rate_min, 1024);
    opts->streams_max = opts->streams_max ? opts->streams_max : 100;
    opts->head_timeout = or_default(opts->head_timeout, td_sec(10));
    opts->body_timeout = or_default(opts->body_timeout, td_sec(30));
    opts->idle_timeout = or_default(opts->idle_timeout, td_sec(75));
    opts->send_timeout = or_default(opts->send_timeout, td_sec(30));
    server->limits = (struct http_limits){opts->head_bytes_max, opts->fields_max, opts->body_bytes_max};
    server->patience[HTTP_FIRST_BYTE] = opts->head_timeout;
    server->patience[HTTP_NEXT_REQUEST] = opts->idle_timeout;
    server->patience[HTTP_TO_SEND] = opts->send_timeout;
    server->patience[HTTP_GOODBYE] = GOODBYE_NS;
    server->patience[HTTP_REFUSAL] = REFUSED_NS;
}

int td_http_server_open(td_http_server **out, td_listener *listener, const td_http_opts *opts, td_http_handler handler,
                        void *arg)
{
    struct td_task *self = task_self(__func__);
    td_http_server *server = calloc(1, sizeof *server);

    if (!server)
        return -ENOMEM;
    server->loop = loop_of(self);
    server->listener = listener;
    server->handler = handler;
    server->arg = arg;
    server->date_second = -1;
    list_init(&server->places);
    list_init(&server->ws_endpoints);
    for (int i = 0; i < HTTP_WAITINGS; i++)
        list_init(&server->watched[i]);
    timer_init(&server->sweep, http_sweep);
    td_event_init(&server->drained);
    td_event_init(&server->refused_one);
    settle_opts(server, opts);
    *out = server;
    return 0;
}

void td_http_server_close(td_http_server *server)
{
    assert(list_empty(&server->places));
    free(server);
}

void td_http_server_drain(td_http_server *server)
{
    server->draining = true;
    for (struct td_list *at = server->places.next; at != &server->places; at = at->next) {
        struct http_place *place = container_of(at, struct http_place, link);

        if (place->draining)
            place->draining(place);
    }
}

int td_http_server_wait_drained(td_http_server *server)
{
    if (server->stats.connections_before_drain == 0)
        td_event_set(&server->drained);
    return td_event_wait(&server->drained);
}

void td_http_server_statistics(const td_http_server *server, td_http_stats *stats)
{
    *stats = server->stats;
}
