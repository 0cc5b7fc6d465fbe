/* SPDX-License-Identifier: MIT */
/*
 * What WebSockets of one server with the same handler and the same options have in common, so that each of them is small:
 * options, agreed texts, the frame of a ping, and a timer that looks after all of them.
 *
 * The timer is coarse: a wheel of lists, one for each of the next ticks. A connection lies in the list of the tick at which it
 * is to be looked at again; that a byte came is but a number in the connection, found when its turn comes. So a message
 * touches no other connection's memory.
 */
#ifndef TANDEM_WS_ENDPOINT_H
#define TANDEM_WS_ENDPOINT_H

#include "http/server.h"
#include "tandem/ws.h"
#include "ws/deflate.h"
#include "ws/extension.h"

#define WS_WHEEL 32

/* Compressors of all endpoints of a server. */
struct ws_press {
    size_t refs;
    struct ws_deflate_shared shared;
};

/* What was agreed on in a handshake. */
struct ws_agreement {
    const char *protocol;           /* NULL: none */
    bool deflate;                   /* on these terms: */
    struct ws_deflate_terms terms;
};

struct ws_endpoint {
    struct td_list link;            /* among its server's */
    struct loop *loop;
    td_http_server *server;         /* NULL: a client's */
    struct http_place place;        /* in the server, while connections are parked */
    size_t refs;                    /* connections */
    size_t parked;                  /* of them, those in the shape of messages */
    const td_ws_handler *handler;   /* NULL: conversations */
    td_ws_opts opts;                /* defaults filled in; no strings */
    struct ws_agreement agreed;     /* its protocol is the endpoint's own */
    struct ws_press *press;         /* NULL: no compression was agreed on */
    struct block *ping;
    struct td_timer timer;
    td_time tick_ns;
    uint32_t idle_ticks;            /* opts.idle_ping in ticks; 0: never */
    uint32_t at;                    /* the tick that was looked at last, */
    td_time at_ns;                  /* and when it began */
    uint32_t taken;                 /* a bit for each list of the wheel that is not empty */
    struct td_list wheel[WS_WHEEL];
};

/*
 * The endpoint for these: one that the server has already, or a new one. Returns it with one more reference, or NULL when
 * memory is short.
 */
struct ws_endpoint *endpoint_get(td_http_server *server, struct loop *loop, const td_ws_handler *handler,
                                 const td_ws_opts *opts, const struct ws_agreement *agreed);

/* What to ask for, or to agree to, with these options. */
struct ws_deflate_wish endpoint_wish(td_ws_deflate deflate, int window_bits);
void endpoint_put(struct ws_endpoint *endpoint);

/* A connection of the endpoint begins and ends being looked after. */
void endpoint_watch(td_ws *ws);
void endpoint_unwatch(td_ws *ws);

/* A byte came from the peer. In a task: the time is that of the scheduler's last look at the clock. */
void endpoint_heard(td_ws *ws);

/* The close frame was queued, or hastened: looks again after so long. */
void endpoint_expect_close(td_ws *ws, td_time wait_ns);

#endif
