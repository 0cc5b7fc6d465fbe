/* SPDX-License-Identifier: MIT */
/*
 * The life of an exchange.
 *
 * Invariants: 1. It is freed when its stream is over, no task works for it, and its tunnel, if there was one, is closed.
 * 2. The session counts it as served until its task has ended, or there will be none.
 */
#include "http/h2_exchange.h"

#include <errno.h>
#include <stdlib.h>

#include "http/h2_answer.h"
#include "http/h2_tunnel.h"

static struct h2_connection *connection_of(struct h2_session *session)
{
    return session->owner;
}

static void free_if_over(struct h2_exchange *exchange)
{
    struct h2_connection *connection = exchange->connection;

    if (!exchange->stream->over || exchange->working || exchange->tunnel)
        return;
    if (!exchange->worked)
        exchange_fini(&exchange->http);
    h2_buffer_free(&exchange->in);
    h2_buffer_free(&exchange->out);
    h2_stream_release(exchange->stream);
    free(exchange->trailers);
    free(exchange);
    h2_connection_left(connection);
}

static void served(struct h2_exchange *exchange)
{
    if (exchange->connection->session)
        h2_session_release(exchange->connection->session);
}

/* The leased task. */
static int work(void *arg)
{
    struct h2_exchange *exchange = arg;
    td_http *http = &exchange->http;
    int rc;

    if (http->fault.status)
        rc = exchange_refuse(http, http->fault.status, http->fault.why);
    else
        rc = exchange_handle(http);
    if (rc < 0 && !exchange->done)  /* what was answered whole is delivered, whatever the handler says then */
        h2_stream_reset(exchange->stream, rc == -ECANCELED ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR);
    exchange_fini(http);
    h2_buffer_free(&exchange->in);
    exchange->working = false;
    exchange->since = td_now();
    served(exchange);
    h2_connection_flush(exchange->connection);
    free_if_over(exchange);
    return 0;
}

static void begin_work(struct h2_exchange *exchange)
{
    if (exchange->worked)
        return;
    exchange->working = exchange->worked = true;
    if (http_lease(exchange->http.server, work, exchange, "http: request of HTTP/2") == 0)
        return;
    exchange->working = false;
    exchange_fini(&exchange->http);
    served(exchange);
    h2_stream_reset(exchange->stream, NGHTTP2_REFUSED_STREAM);  /* no handler saw it: it may be tried again */
}

static void refuse(struct h2_exchange *exchange, int status, const char *why)
{
    exchange->http.fault = (struct http_fault){status, why};
    td_event_set(&exchange->readable);
    begin_work(exchange);
}

/* The head passes over to the exchange. */
static struct h2_exchange *new_exchange(struct h2_connection *connection, struct h2_stream *stream)
{
    struct h2_exchange *exchange = calloc(1, sizeof *exchange);

    if (!exchange)
        return NULL;
    exchange_init(&exchange->http, connection->place.server, &h2_answer, connection->stream, NULL, 0);
    exchange->http.head = stream->head;
    exchange->http.fault = stream->fault;
    exchange->http.body_streams = connection->place.server->opts.stream_bodies;
    head_init(&stream->head, NULL, 0);
    exchange->connection = connection;
    exchange->stream = stream;
    exchange->since = td_now();
    td_event_init(&exchange->readable);
    td_event_init(&exchange->room);
    td_event_init(&exchange->gone);
    stream->owner = exchange;
    h2_stream_hold(stream);
    connection->exchanges++;
    return exchange;
}

static void request_came(struct h2_session *session, struct h2_stream *stream)
{
    struct h2_connection *connection = connection_of(session);
    struct h2_exchange *exchange = new_exchange(connection, stream);
    const struct http_head *head;

    if (!exchange) {
        h2_session_release(session);
        h2_stream_reset(stream, NGHTTP2_REFUSED_STREAM);
        return;
    }
    head = &exchange->http.head;
    if (exchange->http.fault.status)
        begin_work(exchange);
    else if (http_content_length(head) > (int64_t)connection->place.server->opts.body_bytes_max)
        refuse(exchange, 413, "the body is too large");
    else if ((exchange->http.body_streams && !stream->ended) || http_field(&stream->pseudo, ":protocol"))
        begin_work(exchange);
    else if (http_expects_continue(head))
        h2_answer_continue(exchange);
    if (connection->place.server->draining && !connection->place.before_drain) {
        h2_session_drain(session);   /* one request each, and no more (td_http_server_drain) */
        h2_session_drain(session);
    }
}

/* A body that is read whole is credited as it comes, for it has its bound; one that is streamed, as the handler reads. */
static void data_came(struct h2_session *session, struct h2_stream *stream, const uint8_t *bytes, size_t size)
{
    struct h2_exchange *exchange = stream->owner;

    if (!exchange) {
        h2_stream_consume(stream, size);
    } else if (exchange->tunnel) {
        h2_tunnel_data(exchange->tunnel, bytes, size);
    } else if (exchange->http.fault.status || (exchange->worked && !exchange->working)) {
        return;  /* nobody wants it, and so it is not credited */
    } else if (stream->received > exchange->http.server->opts.body_bytes_max &&
               !http_field(&stream->pseudo, ":protocol")) {
        refuse(exchange, 413, "the body is too large");
    } else if (exchange->working) {
        if (h2_buffer_put(&exchange->in, bytes, size) < 0)
            refuse(exchange, 503, "memory is short");
        td_event_set(&exchange->readable);
    } else {
        h2_stream_consume(stream, size);
        if (exchange_keep_body(&exchange->http, bytes, size) < 0)
            refuse(exchange, 503, "memory is short");
    }
}

static void end_came(struct h2_session *session, struct h2_stream *stream)
{
    struct h2_exchange *exchange = stream->owner;

    if (!exchange)
        return;
    if (exchange->tunnel) {
        h2_tunnel_end(exchange->tunnel);
        return;
    }
    if (!exchange->worked || exchange->working) {
        exchange->http.trailers = stream->trailers;
        head_init(&stream->trailers, NULL, 0);
    }
    td_event_set(&exchange->readable);
    begin_work(exchange);
}

static void stream_gone(struct h2_session *session, struct h2_stream *stream, uint32_t code)
{
    struct h2_exchange *exchange = stream->owner;

    if (!exchange)
        return;
    if (!exchange->worked)
        h2_session_release(session);
    if (exchange->error == 0)
        exchange->error = -EPIPE;
    td_event_set(&exchange->gone);
    td_event_set(&exchange->readable);
    td_event_set(&exchange->room);
    if (exchange->tunnel)
        h2_tunnel_gone(exchange->tunnel, code);
    free_if_over(exchange);
}

void h2_exchange_tunnel_closed(struct h2_exchange *exchange)
{
    exchange->tunnel = NULL;
    free_if_over(exchange);
}

static size_t pull(struct h2_session *session, struct h2_stream *stream, uint8_t *to, size_t room, bool *last)
{
    struct h2_exchange *exchange = stream->owner;
    size_t size;

    if (exchange->tunnel)
        return h2_tunnel_pull(exchange->tunnel, to, room, last);
    size = h2_buffer_take(&exchange->out, to, room);
    if (h2_buffer_size(&exchange->out) <= H2_ANSWER_BYTES / 2)
        td_event_set(&exchange->room);
    *last = exchange->done && h2_buffer_size(&exchange->out) == 0;
    if (*last && exchange->trailers)
        (void)h2_stream_trailers(stream, exchange->trailers);  /* without memory for them, the answer ends without them */
    return size;
}

const struct h2_hooks h2_exchange_hooks = {request_came, data_came, end_came, stream_gone, pull};

/* What a peer must take in send_timeout of an answer that waits. */
static bool takes_enough(const struct h2_exchange *exchange, td_time now)
{
    const td_http_opts *opts = &exchange->http.server->opts;
    double wanted = (double)opts->rate_min * (double)(now - exchange->since) / 1e9;

    return (double)(exchange->stream->taken - exchange->taken) >= wanted;
}

/* The body of a request that is read whole: what came of it buys time. */
static bool sends_enough(const struct h2_exchange *exchange, td_time now)
{
    const td_http_opts *opts = &exchange->http.server->opts;

    return (double)(now - exchange->since - opts->body_timeout) <
           (double)exchange->stream->received * 1e9 / (double)opts->rate_min;
}

void h2_exchange_tick(struct h2_exchange *exchange, td_time now)
{
    td_http_server *server = exchange->http.server;
    struct h2_stream *stream = exchange->stream;

    if (exchange->tunnel)
        return;
    if (stream->finished && !stream->ended && !exchange->working) {
        /*
         * The answer was complete before the request was: the rest of that is not wanted (RFC 9113, 8.1). Not said at once,
         * because there are clients (curl 7.88) that lose the answer over it.
         */
        if (exchange->unwanted)
            h2_stream_reset(stream, NGHTTP2_NO_ERROR);
        exchange->unwanted = true;
        return;
    }
    if (!exchange->worked) {
        if (!sends_enough(exchange, now)) {
            server->stats.timeouts_body++;
            refuse(exchange, 408, "the request took too long to arrive");
        }
        return;
    }
    if (h2_buffer_size(&exchange->out) == 0 && !exchange->done) {
        exchange->since = now;   /* the handler has its time; the peer's begins when something waits */
        exchange->taken = stream->taken;
    }
    if (now - exchange->since < server->opts.send_timeout)
        return;
    if (!takes_enough(exchange, now)) {
        server->stats.timeouts_send++;
        exchange->error = -ETIMEDOUT;
        td_event_set(&exchange->room);
        h2_stream_reset(stream, NGHTTP2_CANCEL);
    }
    exchange->since = now;
    exchange->taken = stream->taken;
}
