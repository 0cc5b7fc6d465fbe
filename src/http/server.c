/* SPDX-License-Identifier: MIT */
#include "http/server.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tandem/error.h"
#include "tandem/log.h"

#define HEAD_ROOM 1024            /* bytes of a response's head, further fields aside */
#define GOODBYE_NS 1000000000     /* for the peer to read our last words */
#define REFUSED_NS 200000000      /* the same, for a connection beyond the limit */
#define REFUSING_MAX 64           /* of those at a time: even saying no has its limit, and more wait to be accepted */
#define ACCEPT_PAUSE_NS 50000000  /* when the system is short of descriptors or memory */
#define BODY_FIRST 1024

int http_send(td_http *http, struct block *block, size_t bytes)
{
    td_scope scope;
    int rc = stream_post(http->stream, block, SIZE_MAX), joined;

    if (rc < 0 || stream_charge(http->stream) <= bytes)
        return rc;
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(http->server->opts.send_timeout));
    rc = stream_wait_sent(http->stream, bytes);
    joined = td_scope_join(&scope);
    return rc < 0 && joined < 0 ? joined : rc;
}

int td_http_respond(td_http *http, int status, const char *fields, const char *type, const void *body, size_t size)
{
    size_t fields_size = fields ? strlen(fields) : 0, room = HEAD_ROOM + fields_size;
    bool bodyless = strcmp(http_method(http->decoder), "HEAD") == 0 || status < 200 || status == 204 || status == 304;
    struct block *block;
    char *extra;
    int head, rc;

    task_self(__func__);
    if (http->answered)
        return -EINVAL;
    extra = malloc(room);
    block = block_new(room + HEAD_ROOM + size);
    if (!extra || !block) {
        rc = -ENOMEM;
        goto release;
    }
    snprintf(extra, room, "%s%s%s%s", fields ? fields : "", type ? "Content-Type: " : "", type ? type : "",
             type ? "\r\n" : "");
    if (http->server->draining)
        http->keep_alive = false;
    head = http_encode_head((char *)block->bytes, room + HEAD_ROOM, http->decoder, status, extra, size, http->keep_alive,
                            clock_calendar());
    if (head < 0) {
        rc = head;
        goto release;
    }
    block->size = (size_t)head + (bodyless ? 0 : size);
    if (!bodyless && size)
        memcpy(block->bytes + head, body, size);
    http->answered = true;
    rc = http_send(http, block, HTTP_QUEUE_BYTES);

release:
    block_release(block);
    free(extra);
    return rc;
}

/* Answers for the server itself, where no handler was asked. The connection is closed after it. */
static void refuse(td_http *http, int status, const char *why)
{
    char body[256];
    int n = snprintf(body, sizeof body, "{\"error\":\"%s\"}\n", why);

    http->keep_alive = false;
    http->server->stats.bad_requests++;
    td_http_respond(http, status, status == 503 ? "Retry-After: 1\r\n" : NULL, "application/json", body, (size_t)n);
}

static int keep_body(td_http *http, const uint8_t *data, size_t size)
{
    size_t room = http->body_room ? http->body_room : BODY_FIRST;
    char *larger;

    while (room < http->body_size + size + 1)
        room *= 2;
    if (room != http->body_room) {
        larger = realloc(http->body, room);
        if (!larger)
            return -ENOMEM;
        http->body = larger;
        http->body_room = room;
    }
    memcpy(http->body + http->body_size, data, size);
    http->body_size += size;
    http->body[http->body_size] = '\0';
    return 0;
}

/* Says "100 Continue" to a client that waits for it before it sends its body. */
static int encourage(td_http *http)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct block *block;
    int rc;

    if (!http_expects_continue(http->decoder) || http->stream->input)
        return 0;
    block = block_new(sizeof text - 1);
    if (!block)
        return -ENOMEM;
    memcpy(block->bytes, text, sizeof text - 1);
    rc = http_send(http, block, HTTP_QUEUE_BYTES);
    block_release(block);
    return rc;
}

/*
 * Decodes until the event `until` (HTTP_HEAD or HTTP_DONE), reading as needed. Returns 1; 0 when the peer is gone;
 * a negative errno; a request that was refused and answered returns 0 as well.
 */
static int decode_until(td_http *http, enum http_event until)
{
    for (;;) {
        size_t size;
        const unsigned char *bytes = stream_peek(http->stream, &size);
        struct http_step step = http_decode(http->decoder, bytes, size);
        int rc;

        if (step.event == HTTP_BODY && keep_body(http, step.body, step.body_size) < 0) {
            refuse(http, 503, "out of memory");
            return 0;
        }
        if (step.used)
            stream_consume(http->stream, step.used);
        if (step.event == HTTP_FAIL) {
            refuse(http, step.status, step.why);
            return 0;
        }
        if (step.event == until)
            return 1;
        if (step.event != HTTP_MORE)
            continue;
        if (http->stream->input)
            continue;
        rc = stream_wait_input(http->stream);
        if (rc <= 0)
            return rc;
    }
}

/* The same within `limit_ns`: a peer that is slower is answered 408. */
static int decode_within(td_http *http, enum http_event until, td_time limit_ns)
{
    td_scope scope;
    int rc, joined;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(limit_ns));
    rc = decode_until(http, until);
    joined = td_scope_join(&scope);
    if (rc == -ECANCELED && joined == -ETIMEDOUT) {
        refuse(http, 408, "the request took too long to arrive");
        return 0;
    }
    return rc;
}

/* Waits for the first byte of a request. Returns 1; 0 when there will be none; -ECANCELED. */
static int wait_for_request(td_http *http)
{
    td_scope scope;
    int rc;

    if (http->stream->input)
        return 1;
    if (http->server->draining && http->before_drain)
        return 0;
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(http->server->opts.idle_timeout));
    http->idle = &scope;
    rc = stream_wait_input(http->stream);
    http->idle = NULL;
    td_scope_join(&scope);
    return rc > 0 ? 1 : 0;
}

static int handle(td_http *http)
{
    int rc = http_path(http_target(http->decoder), http->path, sizeof http->path, &http->query);

    if (rc < 0) {
        refuse(http, rc == -ENAMETOOLONG ? 414 : 400, "the request's target is malformed");
        return 0;
    }
    http->server->stats.requests++;
    rc = http->server->handler(http, http->server->arg);
    if (http->upgraded) {
        http->finish(http, rc);
        return 0;
    }
    if (rc < 0 && rc != -ECANCELED && rc != -EPIPE && rc != -ECONNRESET && rc != -ETIMEDOUT)
        td_log(TD_LOG_ERROR, "%s %.200s failed: %s", td_http_method(http), http_target(http->decoder), td_strerror(rc));
    if (!http->answered && rc != -ECANCELED)
        refuse(http, 500, "internal error");
    return rc < 0 ? rc : 1;
}

/* Serves one request. Returns 1 when another may follow. */
static int serve_one(td_http *http)
{
    int rc = wait_for_request(http);

    if (rc > 0)
        rc = decode_within(http, HTTP_HEAD, http->server->opts.head_timeout);
    if (rc <= 0)
        return rc;
    http->keep_alive = http_keep_alive(http->decoder);
    rc = encourage(http);
    if (rc == 0)
        rc = decode_within(http, HTTP_DONE, http->server->opts.body_timeout);
    if (rc > 0)
        rc = handle(http);
    free(http->body);
    http->body = NULL;
    http->body_size = http->body_room = 0;
    if (rc <= 0 || !http->keep_alive)
        return 0;
    http->answered = false;
    http_decoder_next(http->decoder);
    return 1;
}

static int open_connection(td_http *http)
{
    struct http_limits limits = {.head_bytes_max = http->server->opts.head_bytes_max, .fields_max = 100,
                                 .body_bytes_max = http->server->opts.body_bytes_max};

    http->decoder = http_decoder_open(&limits);
    return http->decoder ? 0 : -ENOMEM;
}

static int connection_main(void *arg)
{
    td_http *http = arg;
    td_http_server *server = http->server;

    if (open_connection(http) == 0) {
        if (http->refused)
            refuse(http, 503, "too many connections");
        while (!http->refused && serve_one(http) > 0)
            ;
    }
    stream_close_gently(http->stream, http->refused ? REFUSED_NS : GOODBYE_NS);
    if (http->decoder)
        http_decoder_close(http->decoder);
    free(http->body);
    list_remove(&http->link);
    if (http->refused) {
        server->refusing--;
        td_event_set(&server->refused_one);
    } else {
        server->stats.connections--;
    }
    server->stats.connections_before_drain -= http->before_drain;
    if (server->draining && server->stats.connections_before_drain == 0)
        td_event_set(&server->drained);
    free(http);
    return 0;  /* a broken connection is no failure of its siblings */
}

static int start_connection(td_http_server *server, td_scope *scope, td_stream *stream)
{
    bool refused = server->opts.connections_max && server->stats.connections >= server->opts.connections_max;
    td_http *http;
    int rc;

    server->stats.refused += refused;
    http = calloc(1, sizeof *http);
    if (!http)
        return -ENOMEM;
    http->server = server;
    http->stream = stream;
    http->refused = refused;
    http->before_drain = !server->draining && !refused;
    list_init(&http->link);
    rc = td_spawn(scope, connection_main, http);
    if (rc < 0) {
        free(http);
        return rc;
    }
    list_push_back(&server->connections, &http->link);
    if (refused)
        server->refusing++;
    else
        server->stats.connections++;
    server->stats.connections_before_drain += http->before_drain;
    server->stats.accepted += !refused;
    return 0;
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

static int accept_all(td_http_server *server, td_scope *scope)
{
    td_time logged = -td_sec(11);

    for (;;) {
        td_stream *stream;
        int rc = accept_next(server, &stream);

        if (rc == 0) {
            rc = start_connection(server, scope, stream);
            if (rc < 0)
                td_stream_close(stream);
        }
        if (rc == 0)
            continue;
        if (rc == -ECANCELED || rc == -EBADF || rc == -EINVAL || rc == -ENOTSOCK)
            return rc;
        if (td_now() - logged > td_sec(10))
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
    rc = accept_all(server, &scope);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    return rc;
}

static td_time or_default(td_time given, td_time standard)
{
    return given > 0 ? given : standard;
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
    list_init(&server->connections);
    td_event_init(&server->drained);
    td_event_init(&server->refused_one);
    if (opts)
        server->opts = *opts;
    server->opts.head_bytes_max = server->opts.head_bytes_max ? server->opts.head_bytes_max : 8 * 1024;
    server->opts.body_bytes_max = server->opts.body_bytes_max ? server->opts.body_bytes_max : 64 * 1024;
    server->opts.head_timeout = or_default(server->opts.head_timeout, td_sec(10));
    server->opts.body_timeout = or_default(server->opts.body_timeout, td_sec(30));
    server->opts.idle_timeout = or_default(server->opts.idle_timeout, td_sec(75));
    server->opts.send_timeout = or_default(server->opts.send_timeout, td_sec(30));
    *out = server;
    return 0;
}

void td_http_server_close(td_http_server *server)
{
    assert(list_empty(&server->connections));
    free(server);
}

void td_http_server_drain(td_http_server *server)
{
    server->draining = true;
    for (struct td_list *at = server->connections.next; at != &server->connections; at = at->next) {
        td_http *http = container_of(at, td_http, link);

        if (http->idle)
            td_scope_cancel(http->idle);
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

const char *td_http_method(const td_http *http)
{
    return http_method(http->decoder);
}

const char *td_http_path(const td_http *http)
{
    return http->path;
}

const char *td_http_field(const td_http *http, const char *name)
{
    return http_field(http->decoder, name);
}

const char *td_http_body(const td_http *http, size_t *size)
{
    *size = http->body_size;
    return http->body ? http->body : "";
}

td_case td_on_gone(td_http *http)
{
    return stream_on_gone(http->stream);
}

int td_http_query(const td_http *http, const char *name, char *value, size_t value_size)
{
    return http_query_value(http->query, name, value, value_size);
}
