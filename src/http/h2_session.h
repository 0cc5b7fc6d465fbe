/* SPDX-License-Identifier: MIT */
/*
 * The server's side of one HTTP/2 connection (RFC 9113, by nghttp2): bytes to requests, answers to bytes. It knows no socket, no
 * task and no clock; whoever has those hands in bytes and the time, and takes blocks out.
 *
 * Floods are stopped here (http/h2_guard.h), and requests that are malformed never get further: nghttp2 checks fields,
 * pseudo-fields and lengths (RFC 9113, 8), this file what it leaves: hosts that contradict each other, and how much there is.
 *
 * Input is credited to the peer in two steps: what the connection may receive, at once, since each stream has a bound of its own;
 * what a stream may receive, when its owner consumes it. So a handler that does not read holds its own stream and no other.
 */
#ifndef TANDEM_HTTP_H2_SESSION_H
#define TANDEM_HTTP_H2_SESSION_H

#include <nghttp2/nghttp2.h>

#include "http/h2_guard.h"
#include "http/request.h"
#include "net/stream.h"

#define H2_FRAME_BYTES 16384   /* the largest payload, both ways: the standard's least (RFC 9113, 4.2) */

struct h2_limits {
    uint32_t streams_max;      /* open at a time; and that are worked for, see h2_session_release */
    size_t head_bytes_max;     /* names, values and 32 for each (RFC 9113, 10.5.1); past it 431 */
    size_t fields_max;         /* past it 431 */
    uint32_t window;           /* bytes that a stream may have sent and its owner not consumed */
};

/* One request and its answer. The session's until `gone`, and its owner's too while that holds it. */
struct h2_stream {
    struct h2_session *session;   /* not to be touched once it is over */
    struct td_list link;          /* in session->streams */
    void *owner;                  /* whoever serves it */
    struct http_head pseudo;      /* what the request's pseudo-fields say, as fields: ":method", ":scheme", ":protocol"... */
    struct http_head head;        /* method, path and fields; the authority is its "host" */
    struct http_head trailers;
    uint64_t received;            /* bytes of the body */
    uint64_t taken;               /* bytes of the answer's body that became frames */
    size_t list_bytes, fields;    /* of the header list that is coming */
    uint32_t refs;
    uint32_t error;               /* RFC 9113's code, once it is over */
    int32_t id;
    struct http_fault fault;      /* what the request is to be refused with, when there is something */
    bool ended;                   /* the request is complete */
    bool over;                    /* gone: nothing more can be sent or will come */
    bool answered;                /* the final head is on its way */
    bool finished;                /* so is the end of the answer */
    bool waiting;                 /* pull said that there is nothing now */
    bool told;                    /* `request` was called */
    bool own_reset;               /* nobody made us reset it */
    bool trailing;                /* fields follow the body of the answer */
};

/* What a session tells, from inside h2_session_receive and h2_session_send. None of them may close the session. */
struct h2_hooks {
    void (*request)(struct h2_session *session, struct h2_stream *stream);  /* its head is complete */
    void (*data)(struct h2_session *session, struct h2_stream *stream, const uint8_t *bytes, size_t size);
    void (*end)(struct h2_session *session, struct h2_stream *stream);      /* and its body, and trailers */
    /* It is over; `code` is RFC 9113's, 0 when all went well. Only for streams that were told of by `request`. */
    void (*gone)(struct h2_session *session, struct h2_stream *stream, uint32_t code);
    /* Puts at most `room` bytes of the answer's body into `to`. Returns the count, 0 for none now; *last with the last ones. */
    size_t (*pull)(struct h2_session *session, struct h2_stream *stream, uint8_t *to, size_t room, bool *last);
};

struct h2_session {
    nghttp2_session *inner;
    const struct h2_hooks *hooks;
    void *owner;
    struct h2_limits limits;
    struct h2_guard guard;
    struct td_list streams;       /* open */
    size_t count;                 /* of them */
    size_t serving;               /* streams between `request` and h2_session_release */
    const uint8_t *rest;          /* made, not in a block yet */
    size_t rest_size;
    td_time now;                  /* as last told */
    uint64_t requests, refused;
    enum h2_brake brake;          /* that ended it; H2_CALM */
    bool failed, warned, drained;
};

/* Begins with our SETTINGS. Returns 0 or -ENOMEM. */
int h2_session_open(struct h2_session **session, const struct h2_limits *limits, const struct h2_hooks *hooks, void *owner);

/* Frees it. Streams that their owners hold live on, and are over; `gone` is told for each. */
void h2_session_close(struct h2_session *session);

/*
 * Takes what the peer sent, from its preface on. Returns 0; -EPROTO when the connection is to end: what h2_session_send still has
 * says why to the peer, and further input is for nobody.
 */
int h2_session_receive(struct h2_session *session, const uint8_t *bytes, size_t size, td_time now);

/* Makes a block of what is to be sent, of about `bytes_max`. Returns 1 and *block; 0 when there is nothing now; -ENOMEM. */
int h2_session_send(struct h2_session *session, size_t bytes_max, td_time now, struct block **block);

/* Nothing more will come or go: close the connection. */
bool h2_session_over(const struct h2_session *session);

/* Answers that wait to become frames, acknowledgements above all: while there are many, take no further input. */
size_t h2_session_backlog(const struct h2_session *session);

/* No new streams, says GOAWAY (RFC 9113, 6.8): at the first call a warning, at the second for good, since requests cross it. */
void h2_session_drain(struct h2_session *session);

/* Asks the peer whether it is there. */
void h2_session_ping(struct h2_session *session);

/* Ends the connection with this error. */
void h2_session_fail(struct h2_session *session, uint32_t code);

/* Nobody works for this stream any more: another request may take its place (RFC 9113, 5.1.2, but a reset does not end work). */
void h2_session_release(struct h2_session *session);

/*
 * Answers. `fields` are lines "Name: value\r\n"; those that belong to a connection of HTTP/1.1 are left out. With status 1xx an
 * interim answer. `last`: no body follows; else it is pulled. Returns 0; -EINVAL for malformed lines or a second answer; -EPIPE
 * when the stream is over; -ENOMEM.
 */
int h2_stream_answer(struct h2_stream *stream, int status, const char *fields, bool last);

/* From inside `pull`, with the last of the body: fields behind it. Returns as above. */
int h2_stream_trailers(struct h2_stream *stream, const char *fields);

/* There is something to pull again. */
void h2_stream_resume(struct h2_stream *stream);

/* So much of the body is consumed. */
void h2_stream_consume(struct h2_stream *stream, size_t size);

/* Ends it both ways. */
void h2_stream_reset(struct h2_stream *stream, uint32_t code);

/* Whoever holds a stream may look at it after it is over. */
void h2_stream_hold(struct h2_stream *stream);
void h2_stream_release(struct h2_stream *stream);

#endif
