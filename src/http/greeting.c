/* SPDX-License-Identifier: MIT */
#include "http/greeting.h"

#include <errno.h>
#include <stdlib.h>

#include "http/connection.h"

#define ALERT_NS 200000000  /* for a client to read why it was refused */

struct greeting {
    struct http_place place;
    td_stream *stream;
    bool refused;
};

static int greet(void *arg)
{
    struct greeting *greeting = arg;
    td_http_server *server = greeting->place.server;
    td_stream *stream = greeting->stream;
    bool refused = greeting->refused;
    int rc = td_stream_tls_accept(&stream, server->opts.tls);

    http_place_uncount(&greeting->place);  /* the connection counts from here, or nothing does */
    server->refusing -= refused;
    if (rc == 0) {
        rc = refused ? connection_refuse(server, stream) : connection_start(server, stream);
        if (rc < 0)
            td_stream_close(stream);
    } else {
        if (refused)
            td_event_set(&server->refused_one);
        stream_close_gently(stream, ALERT_NS);
    }
    http_place_leave(&greeting->place);
    free(greeting);
    return 0;
}

int greeting_start(td_http_server *server, td_stream *stream, bool refused)
{
    struct greeting *greeting = calloc(1, sizeof *greeting);

    if (!greeting)
        return -ENOMEM;
    greeting->stream = stream;
    greeting->refused = refused;
    http_place_enter(&greeting->place, server, !refused);
    server->refusing += refused;
    if (http_lease(server, greet, greeting, "http: TLS handshake") == 0)
        return 0;
    server->refusing -= refused;
    http_place_leave(&greeting->place);
    free(greeting);
    return -ENOMEM;
}
