/* SPDX-License-Identifier: MIT */
#include "http/h2_answer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/h2_tunnel.h"

#define LINES_ROOM 128   /* Date, Content-Length, and names */

static struct h2_exchange *exchange_of(td_http *http)
{
    return container_of(http, struct h2_exchange, http);
}

/* There is more to pull, or the end of it. */
static void push(struct h2_exchange *exchange)
{
    h2_stream_resume(exchange->stream);
    h2_connection_flush(exchange->connection);
}

/* Waits for room in the answer's buffer; h2_exchange_tick ends it when the peer is too slow. */
static int wait_room(struct h2_exchange *exchange)
{
    int rc = 0;

    while (rc == 0 && exchange->error == 0 && h2_buffer_size(&exchange->out) >= H2_ANSWER_BYTES) {
        td_event_clear(&exchange->room);
        rc = td_event_wait(&exchange->room);
    }
    return rc < 0 ? rc : exchange->error;
}

static int write_data(td_http *http, const void *data, size_t size, bool last, const char *trailers)
{
    struct h2_exchange *exchange = exchange_of(http);
    const uint8_t *from = data;
    int rc = exchange->error;

    while (rc == 0 && size > 0) {
        size_t room, step;

        rc = wait_room(exchange);
        if (rc < 0)
            return rc;
        room = H2_ANSWER_BYTES - h2_buffer_size(&exchange->out);
        step = size < room ? size : room;
        rc = h2_buffer_put(&exchange->out, from, step);
        from += step;
        size -= step;
        if (size > 0)
            push(exchange);
    }
    if (rc < 0)
        return rc;
    if (last && trailers && *trailers) {
        exchange->trailers = strdup(trailers);
        if (!exchange->trailers)
            return -ENOMEM;
    }
    exchange->done = last;
    push(exchange);
    return 0;
}

static char *make_lines(td_http *http, const struct answer *answer)
{
    size_t room = LINES_ROOM + strlen(answer->fields) + (answer->type ? strlen(answer->type) : 0);
    char *lines = malloc(room), length[48] = "";

    if (!lines)
        return NULL;
    if (answer->body_bytes >= 0 && answer->status != 204)     /* RFC 9110, 8.6 */
        snprintf(length, sizeof length, "content-length: %lld\r\n", (long long)answer->body_bytes);
    snprintf(lines, room, "%s%s%s%sdate: %s\r\n%s", answer->fields, answer->type ? "content-type: " : "",
             answer->type ? answer->type : "", answer->type ? "\r\n" : "", http_date(http->server), length);
    return lines;
}

static int write_head(td_http *http, const struct answer *answer, const void *body, size_t size, bool last)
{
    struct h2_exchange *exchange = exchange_of(http);
    bool empty = size == 0 || answer->bodyless;
    char *lines;
    int rc;

    if (!http_lines_valid(answer->fields) || (answer->type && strpbrk(answer->type, "\r\n")))
        return -EINVAL;
    if (exchange->error)
        return exchange->error;
    lines = make_lines(http, answer);
    if (!lines)
        return -ENOMEM;
    rc = h2_stream_answer(exchange->stream, answer->status, lines, last && empty);
    free(lines);
    if (rc < 0)
        return rc;
    exchange->since = td_now();
    exchange->done = last && empty;
    h2_connection_flush(exchange->connection);
    return empty ? 0 : write_data(http, body, size, last, NULL);
}

void h2_answer_continue(struct h2_exchange *exchange)
{
    if (exchange->continued || exchange->stream->answered || exchange->stream->ended)
        return;
    exchange->continued = true;
    (void)h2_stream_answer(exchange->stream, 100, "", false);  /* it is advice: a client goes on without, after a while */
    h2_connection_flush(exchange->connection);
}

/* Waits for more of the body, as long as the peer is quick enough. */
static int wait_readable(struct h2_exchange *exchange)
{
    td_http *http = &exchange->http;
    const td_http_opts *opts = &http->server->opts;
    td_time allowed = opts->body_timeout + (td_time)((double)exchange->stream->received * 1e9 / (double)opts->rate_min);
    td_time began = td_now();
    td_scope scope;
    int rc, joined;

    td_event_clear(&exchange->readable);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(allowed - exchange->waited_ns));
    rc = td_event_wait(&exchange->readable);
    joined = td_scope_join(&scope);
    exchange->waited_ns += td_now() - began;
    if (rc != -ECANCELED || joined != -ETIMEDOUT)
        return rc;
    http->server->stats.timeouts_body++;
    http->fault = (struct http_fault){408, "the request took too long to arrive"};
    return -ETIMEDOUT;
}

static ssize_t read_body(td_http *http, void *data, size_t size)
{
    struct h2_exchange *exchange = exchange_of(http);
    size_t count;

    if (http_expects_continue(&http->head) && h2_buffer_size(&exchange->in) == 0)
        h2_answer_continue(exchange);
    while (h2_buffer_size(&exchange->in) == 0) {
        int rc = 0;

        if (http->fault.status)
            return http->fault.status == 413 ? -EMSGSIZE : http->fault.status == 503 ? -ENOMEM : -ETIMEDOUT;
        if (exchange->stream->ended)
            return 0;
        if (exchange->error)
            return exchange->error == -EPIPE ? -ECONNRESET : exchange->error;
        rc = wait_readable(exchange);
        if (rc < 0)
            return rc;
    }
    count = h2_buffer_take(&exchange->in, data, size);
    h2_stream_consume(exchange->stream, count);
    h2_connection_flush(exchange->connection);
    return (ssize_t)count;
}

/* RFC 8441, 5: a 200 in place of the 101, and the stream's DATA is the tunnel. */
static int upgrade(td_http *http, const char *protocol, const char *fields, td_stream **stream, struct http_place *place)
{
    struct h2_exchange *exchange = exchange_of(http);
    const char *asked = http_field(&exchange->stream->pseudo, ":protocol");
    size_t room = LINES_ROOM + strlen(fields);
    char *lines;
    int rc;

    if (!asked || strcmp(asked, protocol) != 0 || !http_lines_valid(fields))
        return -EINVAL;
    if (exchange->error)
        return exchange->error;
    lines = malloc(room);
    if (!lines)
        return -ENOMEM;
    exchange->tunnel = h2_tunnel_new(exchange);
    if (!exchange->tunnel) {
        free(lines);
        return -ENOMEM;
    }
    snprintf(lines, room, "%sdate: %s\r\n", fields, http_date(http->server));
    rc = h2_stream_answer(exchange->stream, 200, lines, false);
    free(lines);
    if (rc < 0) {
        td_stream_close(&exchange->tunnel->base);
        return rc;
    }
    *stream = &exchange->tunnel->base;
    h2_tunnel_begin(exchange->tunnel);
    *place = (struct http_place){0};
    http_place_enter(place, http->server, false);
    h2_connection_flush(exchange->connection);
    return 0;
}

static td_case on_gone(td_http *http)
{
    return td_on_event(&exchange_of(http)->gone);
}

static void abort_answer(td_http *http)
{
    h2_stream_reset(exchange_of(http)->stream, NGHTTP2_INTERNAL_ERROR);
    h2_connection_flush(exchange_of(http)->connection);
}

const struct exchange_kind h2_answer = {
    .head = write_head, .data = write_data, .read = read_body, .upgrade = upgrade, .gone = on_gone, .abort = abort_answer,
};
