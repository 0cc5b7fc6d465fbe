/* SPDX-License-Identifier: MIT */
/*
 * Invariant: at most one piece of input is in the stream; what comes meanwhile is `held`, in one piece, and no more of it than
 * the window allows. So a peer that sends bytes one by one costs no more than one that does not.
 */
#include "http/h2_tunnel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct h2_tunnel *tunnel_of(td_stream *stream)
{
    return container_of(stream, struct h2_tunnel, base);
}

static void credit(struct h2_tunnel *tunnel)
{
    if (tunnel->owed == 0)
        return;
    h2_stream_consume(tunnel->exchange->stream, tunnel->owed);
    tunnel->owed = 0;
    h2_connection_flush(tunnel->exchange->connection);
}

static void abort_tunnel(td_stream *stream)
{
    struct h2_tunnel *tunnel = tunnel_of(stream);

    h2_stream_reset(tunnel->exchange->stream, NGHTTP2_CANCEL);
    h2_connection_flush(tunnel->exchange->connection);
    tunnel->peer_ended = false;
    stream_input_ended(stream, 0);
}

/* Hands over one piece; it is owed until more is wanted. */
static void deliver(struct h2_tunnel *tunnel, const uint8_t *bytes, size_t size)
{
    struct input *input = input_new(bytes, size);

    if (!input) {
        abort_tunnel(&tunnel->base);
        return;
    }
    tunnel->owed += size;
    stream_input_came(&tunnel->base, input);
}

/* Hands over what was held, and the end behind it. */
static void deliver_held(struct h2_tunnel *tunnel)
{
    struct h2_buffer held = tunnel->held;

    if (!tunnel->on)
        return;
    if (h2_buffer_size(&held) > 0) {
        tunnel->held = (struct h2_buffer){0};
        deliver(tunnel, held.bytes + held.begin, h2_buffer_size(&held));
        h2_buffer_free(&held);
    }
    if (h2_buffer_size(&tunnel->held) == 0 && tunnel->peer_ended)
        stream_input_ended(&tunnel->base, 0);
}

static void read_tunnel(td_stream *stream, bool on)
{
    struct h2_tunnel *tunnel = tunnel_of(stream);

    tunnel->on = on;
    if (!on)
        return;
    credit(tunnel);
    deliver_held(tunnel);
}

static void flush_tunnel(td_stream *stream)
{
    struct h2_tunnel *tunnel = tunnel_of(stream);

    h2_stream_resume(tunnel->exchange->stream);
    h2_connection_flush(tunnel->exchange->connection);
}

static int end_tunnel(td_stream *stream)
{
    tunnel_of(stream)->ending = true;
    flush_tunnel(stream);
    return stream->error;
}

static void close_tunnel(td_stream *stream)
{
    struct h2_tunnel *tunnel = tunnel_of(stream);
    struct h2_exchange *exchange = tunnel->exchange;

    if (!exchange->stream->finished || !exchange->stream->ended)
        h2_stream_reset(exchange->stream, NGHTTP2_CANCEL);
    h2_connection_flush(exchange->connection);
    h2_buffer_free(&tunnel->held);
    stream_fini(stream);
    free(tunnel);
    h2_exchange_tunnel_closed(exchange);
}

static const struct stream_kind kind = {
    .name = "h2", .read = read_tunnel, .flush = flush_tunnel, .end = end_tunnel, .abort = abort_tunnel, .close = close_tunnel,
};

struct h2_tunnel *h2_tunnel_new(struct h2_exchange *exchange)
{
    struct h2_tunnel *tunnel = calloc(1, sizeof *tunnel);

    if (!tunnel)
        return NULL;
    stream_init(&tunnel->base, &kind, exchange->connection->stream->loop);
    tunnel->base.input_max = 1;  /* by the invariant */
    tunnel->exchange = exchange;
    return tunnel;
}

void h2_tunnel_begin(struct h2_tunnel *tunnel)
{
    tunnel->held = tunnel->exchange->in;
    tunnel->exchange->in = (struct h2_buffer){0};
    tunnel->peer_ended = tunnel->exchange->stream->ended;
}

void h2_tunnel_data(struct h2_tunnel *tunnel, const uint8_t *bytes, size_t size)
{
    if (tunnel->on && h2_buffer_size(&tunnel->held) == 0)
        deliver(tunnel, bytes, size);
    else if (h2_buffer_put(&tunnel->held, bytes, size) < 0)
        abort_tunnel(&tunnel->base);
}

void h2_tunnel_end(struct h2_tunnel *tunnel)
{
    tunnel->peer_ended = true;
    if (h2_buffer_size(&tunnel->held) == 0)
        stream_input_ended(&tunnel->base, 0);
}

void h2_tunnel_gone(struct h2_tunnel *tunnel, uint32_t code)
{
    h2_buffer_free(&tunnel->held);
    tunnel->held = (struct h2_buffer){0};
    stream_input_ended(&tunnel->base, code == NGHTTP2_NO_ERROR && tunnel->peer_ended ? 0 : -ECONNRESET);
    if (tunnel->base.count > 0 || code != NGHTTP2_NO_ERROR)
        stream_sent(&tunnel->base, -EPIPE);
}

size_t h2_tunnel_pull(struct h2_tunnel *tunnel, uint8_t *to, size_t room, bool *last)
{
    td_stream *stream = &tunnel->base;
    size_t used = 0;

    while (used < room && stream_may_send(stream)) {
        struct iovec iov;
        size_t size;

        (void)stream_gather(stream, &iov, 1);
        size = iov.iov_len < room - used ? iov.iov_len : room - used;
        memcpy(to + used, iov.iov_base, size);
        used += size;
        stream_sent(stream, (ssize_t)size);
    }
    *last = tunnel->ending && stream->count == 0;
    return used;
}
