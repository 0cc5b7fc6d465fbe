/* SPDX-License-Identifier: MIT */
/*
 * The server's inside: its limits, and the places and the patience of its connections.
 *
 * A connection, in whatever protocol, has a place from its acceptance to its end. Places are what the server counts, what a
 * drain waits for, and what a cancellation of td_http_server_run reaches although there may be no task: a connection that
 * waits for its peer has none.
 *
 * Nor has it a timer. What is waited for in the same way is waited for equally long, so a list in the order of coming is one in
 * the order of deadlines, and one timer for all looks at its head: struct http_watch.
 */
#ifndef TANDEM_HTTP_SERVER_H
#define TANDEM_HTTP_SERVER_H

#include "http/codec.h"
#include "loop/loop.h"
#include "net/stream.h"
#include "tandem/http.h"
#include "tandem/sync.h"

#define HTTP_QUEUE_BYTES (256 * 1024)  /* answers that may wait for a slow reader before the handler does */

/* What is counted, drained and cancelled; a member of the connection. */
struct http_place {
    struct scope_guest guest;  /* of the server's scope, whose join waits for it */
    td_http_server *server;
    struct td_list link;       /* among the server's places */
    bool before_drain;
    bool counted;              /* among the server's connections; not so the WebSocket in a stream of HTTP/2 */
    /*
     * Says why: the server's scope was cancelled (then every wait of its tasks answers -ECANCELED), or it drains (no request
     * after the present one). Called from a task or a callback: it may not wait, nor leave. May be NULL.
     */
    void (*cancelled)(struct http_place *place);
    void (*draining)(struct http_place *place);
};

/* Enters the server, which runs. The hooks are set by then, and may be changed at any time. */
void http_place_enter(struct http_place *place, td_http_server *server, bool counted);

/* The same place, somewhere else in memory and without hooks: `to` takes over what `from` was. */
void http_place_move(struct http_place *to, struct http_place *from);

/* Counts no longer: it is about to leave. */
void http_place_uncount(struct http_place *place);

/* Leaves; the last thing before the connection is freed. */
void http_place_leave(struct http_place *place);

/*
 * Leaves, but goes on being counted and waited for by a drain, until http_count_leave with what this returns. For whom another
 * place of the server stands: that of WebSockets, say, of which there are many.
 */
uint8_t http_place_fold(struct http_place *place);
void http_count_leave(td_http_server *server, uint8_t count);

/* What a connection without a task waits for. */
enum http_waiting {
    HTTP_FIRST_BYTE,   /* of what was promised: a handshake's rest, a request after HTTP/2's preface; .head_timeout */
    HTTP_NEXT_REQUEST, /* or the first of HTTP/1: .idle_timeout */
    HTTP_TO_SEND,      /* .send_timeout */
    HTTP_GOODBYE,      /* for the peer to read our last words: a second */
    HTTP_REFUSAL,      /* the same for a connection beyond the limit: a fifth of one */
    HTTP_WAITINGS
};

struct http_watch {
    struct td_list link;       /* list_init it first */
    td_time since;
    void (*overdue)(struct http_watch *watch);  /* called once, from the loop; the watch is over by then */
    void (*shed)(struct http_watch *watch);     /* likewise, from a task: make way for another, who idle in HTTP_NEXT_REQUEST */
};

/* Begins to wait; what it waited for before is over. */
void http_watch(td_http_server *server, struct http_watch *watch, enum http_waiting what);
void http_watch_end(struct http_watch *watch);

void http_sweep(struct td_timer *timer);  /* the server's own */

struct td_http_server {
    struct loop *loop;
    td_listener *listener;
    td_http_opts opts;          /* none is 0 that has a default */
    struct http_limits limits;
    td_http_handler handler;
    void *arg;
    td_scope *scope;            /* of td_http_server_run */
    struct td_list places;
    struct td_list ws_endpoints;  /* ws/endpoint.h */
    struct td_list watched[HTTP_WAITINGS];
    td_time patience[HTTP_WAITINGS];
    struct td_timer sweep;
    td_http_stats stats;
    size_t refusing;            /* connections beyond the limit that are being told so */
    td_event drained, refused_one;
    bool draining;
    int64_t date_second;        /* that `date` is the text of */
    char date[HTTP_DATE_BYTES];
};

/* The text of a Date field, valid until the next call. */
const char *http_date(td_http_server *server);

/* Starts fn(arg) in a task of the server, on a hot stack. Any task or callback. Returns 0 or -ENOMEM. */
int http_lease(td_http_server *server, td_fn fn, void *arg, const char *site);

/*
 * Queues a block on a stream and waits while the queue is charged with more than `bytes`, as long as the peer takes at
 * least .rate_min, seen over each .send_timeout. Checkpoint, if it waits. Returns 0, -ETIMEDOUT, or what sending failed with.
 */
int http_send(td_http_server *server, td_stream *stream, struct block *block, size_t bytes);

/* Whether the peer has taken so much since the stream was charged with *charge; sets it anew. */
bool http_send_progress(const td_http_server *server, size_t *charge, const td_stream *stream);

#endif
