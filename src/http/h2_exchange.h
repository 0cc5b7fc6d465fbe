/* SPDX-License-Identifier: MIT */
/*
 * One stream of HTTP/2 as an exchange (http/exchange.h): request, handler, answer; or, after an upgrade, a tunnel.
 *
 * A request costs no task before it is complete, unless handlers stream bodies. The answer waits in a buffer of the exchange
 * while the peer is slow, and its writer when that is full.
 */
#ifndef TANDEM_HTTP_H2_EXCHANGE_H
#define TANDEM_HTTP_H2_EXCHANGE_H

#include "http/exchange.h"
#include "http/h2_connection.h"

#define H2_ANSWER_BYTES (64 * 1024)  /* of an answer that may wait before its writer does */

/* Bytes that go in at one end and out at the other; in one piece, so that tiny ones cost no more than their size. */
struct h2_buffer {
    uint8_t *bytes;
    size_t begin, end, room;
};

int h2_buffer_put(struct h2_buffer *buffer, const void *bytes, size_t size);   /* 0 or -ENOMEM */
size_t h2_buffer_take(struct h2_buffer *buffer, void *to, size_t size);        /* at most size; returns the count */
void h2_buffer_free(struct h2_buffer *buffer);

static inline size_t h2_buffer_size(const struct h2_buffer *buffer)
{
    return buffer->end - buffer->begin;
}

struct h2_exchange {
    td_http http;
    struct h2_connection *connection;
    struct h2_stream *stream;     /* held */
    struct h2_tunnel *tunnel;     /* after an upgrade, until that is closed */
    struct h2_buffer in, out;
    td_event readable, room, gone;
    char *trailers;               /* of the answer; lines */
    td_time since;                /* when the request began; later, when its answer last made progress */
    td_time waited_ns;            /* for the body, by a handler that streams it */
    uint64_t taken;               /* of the answer, at that time */
    int error;                    /* what writing fails with, once it does */
    bool working;                 /* there is a task */
    bool worked;                  /* or there was */
    bool done;                    /* the answer is complete, here */
    bool continued;               /* 100 Continue was said */
    bool unwanted;                /* the answer is complete, the request was not at the last look */
};

/* What the connection's session calls. */
extern const struct h2_hooks h2_exchange_hooks;

/* Looks for progress of this stream; a peer too slow loses it. */
void h2_exchange_tick(struct h2_exchange *exchange, td_time now);

/* The tunnel is closed. */
void h2_exchange_tunnel_closed(struct h2_exchange *exchange);

#endif
