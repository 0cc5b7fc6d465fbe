/* SPDX-License-Identifier: MIT */
/*
 * An HTTP/1.1 server. Each connection is a task; for each request it calls the handler, which answers with
 * td_http_respond or takes the connection over as a WebSocket (tandem/ws.h). Requests are read whole, body
 * included, within the server's limits, before the handler sees them; what is malformed or too large is answered by
 * the server itself.
 *
 * Everything here is for tasks of the loop the server was opened on. A td_http belongs to the handler's task, and
 * is valid until the handler returns.
 */
#ifndef TANDEM_HTTP_H
#define TANDEM_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/net.h"
#include "tandem/select.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_http td_http;
typedef struct td_http_server td_http_server;

/* Handles one request. A negative errno is logged, and answered with 500 if nothing was. */
typedef int (*td_http_handler)(td_http *http, void *arg);

/* Every field may be zero, for its default. */
typedef struct td_http_opts {
    size_t head_bytes_max;    /* 8 KiB: request line and header fields */
    size_t body_bytes_max;    /* 64 KiB */
    size_t connections_max;   /* 0: no bound of our own; beyond it a connection is answered 503 and closed */
    td_time head_timeout;     /* 10 s from a request's first byte to the end of its head */
    td_time body_timeout;     /* 30 s for its body */
    td_time idle_timeout;     /* 75 s between requests */
    td_time send_timeout;     /* 30 s for a peer to take what was written */
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

typedef struct td_http_stats {
    size_t connections;                /* open now, WebSockets included */
    size_t connections_before_drain;   /* of them, those accepted before td_http_server_drain */
    unsigned long long accepted, refused, requests, bad_requests;
} td_http_stats;

/* Not a checkpoint. */
void td_http_server_statistics(const td_http_server *server, td_http_stats *stats);

/* Frees the server; it must not be running. */
void td_http_server_close(td_http_server *server);

/* The request. Strings are valid until the handler returns. */
const char *td_http_method(const td_http *http);
const char *td_http_path(const td_http *http);                      /* decoded, without the query */
const char *td_http_field(const td_http *http, const char *name);   /* NULL when absent */
const char *td_http_body(const td_http *http, size_t *size);

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

#ifdef __cplusplus
}
#endif
#endif
