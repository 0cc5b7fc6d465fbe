/* SPDX-License-Identifier: MIT */
/*
 * An HTTP server. For each request it calls the handler, in a task, which answers with td_http_respond, or piece by piece
 * (td_http_begin), or takes the connection over as a WebSocket (tandem/ws.h). Between requests a connection costs a small
 * struct and no task.
 *
 * Requests are read whole, body included, within the server's limits, before the handler sees them, unless .stream_bodies
 * lets handlers read bodies as they come. What is malformed, too large or too slow is answered by the server itself.
 *
 * HTTP/2 comes on the same port: with TLS when both agree on it (ALPN "h2"), without when the client begins with its preface.
 * Each of its streams is a request like any other, and may become a WebSocket like any other (RFC 8441). The limits below hold
 * for each stream; who floods us with what is cheap for him and dear for us is cut off (docs/decisions/0034-http2.md).
 *
 * Everything here is for tasks of the loop the server was opened on. A td_http belongs to the handler's task, and
 * is valid until the handler returns.
 */
#ifndef TANDEM_HTTP_H
#define TANDEM_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tandem/net.h"
#include "tandem/select.h"
#include "tandem/time.h"
#include "tandem/tls.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_http td_http;
typedef struct td_http_server td_http_server;

/* Handles one request. A negative errno is logged, and answered with 500 if nothing was. */
typedef int (*td_http_handler)(td_http *http, void *arg);

/* Every field may be zero, for its default. */
typedef struct td_http_opts {
    size_t head_bytes_max;    /* 8 KiB: request line and header fields; once more for a body's chunk lines and trailers */
    size_t fields_max;        /* 100 header fields */
    size_t body_bytes_max;    /* 64 KiB */
    size_t connections_max;   /* 0: no bound of our own; beyond it the connection that has idled longest gives way, if that is
                                 five seconds at least; otherwise the new one is answered 503 and closed */
    unsigned requests_max;    /* 0: no bound; after so many the connection is closed */
    size_t rate_min;          /* 1 KiB a second: what a peer must send of a body, and take of an answer, once the time below
                                 is used up that it may take whatever the rate */
    td_time head_timeout;     /* 10 s from a request's first byte to the end of its head */
    td_time body_timeout;     /* 30 s of waiting for its body */
    td_time idle_timeout;     /* 75 s before the first request and between requests */
    td_time send_timeout;     /* 30 s for a peer to take what was written */
    unsigned streams_max;     /* 100: requests of one connection of HTTP/2 at a time, those included whose client has left */
    td_tls *tls;              /* encrypts (tandem/tls.h); the caller's, and open as long as the server. NULL: plain HTTP */
    size_t compress_min;      /* 0: none. td_http_respond compresses bodies of so many bytes, as td_http_answer.compress */
    bool stream_bodies;       /* handlers read the bodies, by td_http_read; td_http_body is empty */
} td_http_opts;

/* Opens a server on a listener, which stays the caller's. opts may be NULL. Not a checkpoint. Returns 0, -ENOMEM. */
int td_http_server_open(td_http_server **server, td_listener *listener, const td_http_opts *opts, td_http_handler handler,
                        void *arg);

/*
 * Accepts and serves until the caller's scope is cancelled; then ends all connections (WebSockets get a close
 * frame). Checkpoint: yes.
 * Returns -ECANCELED, or what the listener failed with.
 */
int td_http_server_run(td_http_server *server);

/*
 * Begins to drain: idle connections are closed, the others when their request is answered. New ones are still
 * accepted and served one request each, so that a load balancer can be told. Not a checkpoint.
 */
void td_http_server_drain(td_http_server *server);

/*
 * Waits until every connection accepted before the drain began has ended. Checkpoint: yes. Returns 0 or -ECANCELED.
 */
int td_http_server_wait_drained(td_http_server *server);

#define TD_HTTP2_FLOODS 9   /* kinds of them */

typedef struct td_http_stats {
    size_t connections;                /* open now, WebSockets included */
    size_t connections_before_drain;   /* of them, those accepted before td_http_server_drain */
    size_t parked, leased;             /* of the connections of HTTP/1: those that wait without a task, and those that have one */
    unsigned long long accepted, refused, requests, bad_requests;
    unsigned long long shed;           /* idle connections that gave way to new ones */
    unsigned long long timeouts_idle, timeouts_head, timeouts_body, timeouts_send;  /* what peers were too slow for */
    unsigned long long http2;          /* connections of HTTP/2 so far */
    unsigned long long http2_refused;  /* streams beyond .streams_max */
    unsigned long long http2_floods;   /* connections closed because of a flood; and of which kind: */
    unsigned long long http2_flood[TD_HTTP2_FLOODS];
} td_http_stats;

/* What a kind of flood is called: "rapid resets". */
const char *td_http2_flood_name(unsigned kind);

/* Not a checkpoint. */
void td_http_server_statistics(const td_http_server *server, td_http_stats *stats);

/* Frees the server; it must not be running. */
void td_http_server_close(td_http_server *server);

/* The request. Strings are valid until the handler returns. */
const char *td_http_method(const td_http *http);
const char *td_http_path(const td_http *http);                      /* decoded, without the query */
const char *td_http_field(const td_http *http, const char *name);   /* NULL when absent */
const char *td_http_body(const td_http *http, size_t *size);        /* followed by a zero byte; "" when it is streamed */
int td_http_version(const td_http *http);                           /* 10, 11 or 20: HTTP/1.0, 1.1, 2 */
const char *td_http_scheme(const td_http *http);                    /* "http" or "https" */
int td_http_tls(const td_http *http, td_tls_info *info);            /* what TLS agreed on; -ENOTCONN for plain HTTP */

/*
 * Reads the next bytes of the body, at least one, up to `size`, which is at least 1: with .stream_bodies as they come, so that
 * a handler that is slow to read holds its client; else from what td_http_body has. Checkpoint: yes.
 * Returns the count; 0 at the end; -EMSGSIZE when the body is larger than the server allows, -EPROTO when it is malformed,
 * -ETIMEDOUT when it comes too slowly (each still to be answered, with a 413, 400 or 408 that the server gives if the handler
 * returns that error); -ECONNRESET when the client left in the middle; -ECANCELED.
 */
ssize_t td_http_read(td_http *http, void *data, size_t size);

/* A trailer field, once the body has been read to its end; NULL when absent. Nobody may act on one he did not expect. */
const char *td_http_trailer(const td_http *http, const char *name);

/*
 * Decodes a query parameter into value. Returns its length; -ENOENT when it is absent; -EINVAL for a bad escape;
 * -ENAMETOOLONG when it does not fit.
 */
int td_http_query(const td_http *http, const char *name, char *value, size_t value_size);

/*
 * A case of a td_select: the client has left. It closed its connection, or that broke; further requests that it has sent
 * already do not hide this. For handlers that wait for something only this client wants.
 *
 * A client that merely ends its side (shutdown(SHUT_WR)) and still reads looks the same, since TCP does not tell the two
 * apart before something is sent: an answer may reach it, so give one. Counts as reading, so not once the connection
 * is a WebSocket, whose td_ws_receive tells. Its result: 0. Not a checkpoint.
 */
td_case td_on_gone(td_http *http);

/*
 * Answers the request, once. `fields` are further header lines, each "Name: value\r\n"; may be NULL. `type` may be
 * NULL for an empty body. Checkpoint: yes (a peer that does not read its answers holds the caller).
 * Returns 0; -EINVAL when it was answered before; -ETIMEDOUT when the peer did not read; -ECANCELED, -EPIPE and the
 * like.
 */
int td_http_respond(td_http *http, int status, const char *fields, const char *type, const void *body, size_t size);

/* Fields may be zero, but for `size`. */
typedef struct td_http_answer {
    int status;            /* 0: 200; no less than 200 */
    const char *fields;    /* as for td_http_respond */
    const char *type;
    int64_t size;          /* of the body, in bytes; -1: not known yet */
    bool compress;         /* by gzip, where the client likes that, the status is 200, the type gains by it, and `fields` have
                              neither Content-Encoding nor "no-transform". Each td_http_write is sent to its end */
} td_http_answer;

/*
 * Begins an answer that is given piece by piece. The server frames it: by its size, in chunks, or for an HTTP/1.0 client by the
 * end of the connection. Checkpoint: yes. Returns as td_http_respond.
 */
int td_http_begin(td_http *http, const td_http_answer *answer);

/*
 * Writes the next bytes of the body; they are copied. Waits while the peer is slow to read. Nothing is sent where an answer has
 * no body (to HEAD), and that is no error. Checkpoint: yes.
 * Returns 0; -EINVAL when no answer was begun, or these are more bytes than were announced (none of them is sent); -ETIMEDOUT
 * when the peer does not read; -ECANCELED, -EPIPE and the like.
 */
int td_http_write(td_http *http, const void *data, size_t size);

/*
 * Ends the answer. `trailers` are lines as of `fields`, or NULL; they are sent where the body is in chunks, and to HTTP/2. A
 * handler that returns 0 without this has it done; one that fails in the middle breaks the connection, so that nobody takes
 * what was sent for all of it. Checkpoint: yes.
 * Returns 0; -EINVAL when no answer is under way, or for malformed trailers; -EPROTO when fewer bytes were written than
 * announced (the connection is broken); and as td_http_write.
 */
int td_http_end(td_http *http, const char *trailers);

#ifdef __cplusplus
}
#endif
#endif
