/* SPDX-License-Identifier: MIT */
/*
 * A connection's inside, shared with the WebSocket server that takes it over.
 */
#ifndef TANDEM_HTTP_SERVER_H
#define TANDEM_HTTP_SERVER_H

#include "http/codec.h"
#include "net/stream.h"
#include "tandem/http.h"
#include "tandem/sync.h"

#define HTTP_PATH_MAX 1024
#define HTTP_QUEUE_BYTES (256 * 1024)  /* answers that may wait for a slow reader before the handler does */

struct td_http_server {
    struct loop *loop;
    td_listener *listener;
    td_http_opts opts;
    td_http_handler handler;
    void *arg;
    struct td_list connections;
    td_http_stats stats;
    size_t refusing;            /* connections beyond the limit that are being told so */
    td_event drained, refused_one;
    bool draining;
};

struct td_http {
    struct td_list link;
    td_http_server *server;
    td_stream *stream;
    struct http_decoder *decoder;
    char *body;
    size_t body_size, body_room;
    const char *query;
    char path[HTTP_PATH_MAX];
    td_scope *idle;             /* while it waits for a request */
    bool answered, keep_alive, before_drain, refused;
    /* After an upgrade: ends the conversation in the protocol's own way, when the handler has returned. */
    void (*finish)(td_http *http, int rc);
    void *upgraded;
};

/*
 * Queues a block and waits while the queue is charged with more than `bytes`, for the server's send_timeout at the
 * most.
 */
int http_send(td_http *http, struct block *block, size_t bytes);

#endif
