/* SPDX-License-Identifier: MIT */
/*
 * A connection of HTTP/2: a session (http/h2_session.h) over a stream, without a task of its own. Its requests are exchanges
 * (http/h2_exchange.h), each with a task while its handler runs.
 *
 * Output is made when the socket has room for it, so that what waits stays with its stream, where it can be shared out
 * fairly, reset, and counted. Input waits while many acknowledgements do.
 */
#ifndef TANDEM_HTTP_H2_CONNECTION_H
#define TANDEM_HTTP_H2_CONNECTION_H

#include "http/h2_session.h"
#include "http/server.h"

struct h2_connection {
    struct http_place place;
    struct http_watch watch;      /* while nothing is asked, and at the end */
    struct td_timer tick;         /* while something is: looks for progress */
    struct turn_end flush;
    td_stream *stream;
    struct h2_session *session;   /* NULL once it is over: then its streams are, too */
    size_t exchanges;             /* that refer to it */
    td_time heard_at;             /* when input came last */
    td_time moved_at;             /* when output last left, or there was none */
    size_t charge;                /* of the stream, at the last look */
    bool taking;                  /* input: not again from inside */
    bool pinged, broken, closing;
};

/* How a stream begins: with the preface of HTTP/2 (RFC 9113, 3.4), with something else, or both is possible still. */
enum h2_begin { H2_BEGINS, H2_BEGINS_NOT, H2_MAY_BEGIN };
enum h2_begin h2_begins(const td_stream *stream);

/* Takes over a stream, whose input begins with the preface or will, and its place. Not a checkpoint. Returns 0 or -ENOMEM. */
int h2_connection_start(struct http_place *place, td_stream *stream);

/* There is something to send, perhaps: at the turn's end it is. */
void h2_connection_flush(struct h2_connection *connection);

/* An exchange is no more. The connection may be freed by this, in a task, later. */
void h2_connection_left(struct h2_connection *connection);

#endif
