/* SPDX-License-Identifier: MIT */
/* The task that is leased for a connection: it reads and answers requests until nothing is left to read. */
#include "http/visit.h"

#include <errno.h>

static td_case gone(td_http *http)
{
    return stream_on_gone(http->stream);
}

static void break_off(td_http *http)
{
    stream_break(http->stream);
}

const struct exchange_kind visit_exchange = {
    .head = answer_head,
    .data = answer_data,
    .read = body_read,
    .upgrade = answer_upgrade,
    .gone = gone,
    .abort = break_off,
};

static void visit_init(struct visit *visit, struct connection *connection)
{
    td_http *http = &visit->http;

    exchange_init(http, connection->place.server, &visit_exchange, connection->stream, visit->room, VISIT_ROOM);
    visit->connection = connection;
    http_decoder_init(&visit->decoder, &http->server->limits, &http->head, &http->trailers);
    visit->waiting_since = visit->body_waited_ns = 0;
    visit->body_bytes = 0;
    visit->keep_alive = visit->chunked = visit->continued = false;
}

/* After an answer to a request whose body was not read to its end: reads a small rest. Returns 1 when another may follow. */
static int pass_over_body(struct visit *visit)
{
    if (visit->decoder.phase == COMPLETE)
        return 1;
    return visit_read_until(visit, HTTP_DONE, false);
}

/* What cannot be read is answered, if the peer is still there to listen. */
static int refuse(struct visit *visit)
{
    if (visit->http.fault.status != 0 && visit->http.phase == NOT_ANSWERED) {
        visit->keep_alive = false;
        (void)exchange_refuse(&visit->http, visit->http.fault.status, visit->http.fault.why);
    }
    return -EPROTO;
}

/* Reads the body, where handlers have it whole, and has the request handled. */
static int serve_request(struct visit *visit)
{
    td_http *http = &visit->http;
    td_http_server *server = http->server;
    int rc = 1;

    visit->connection->requests++;
    visit->keep_alive = http_keep_alive(&http->head) &&
                        (server->opts.requests_max == 0 || visit->connection->requests < server->opts.requests_max);
    http->body_streams = server->opts.stream_bodies;
    if (http->head.has_body && !http->body_streams)
        rc = visit_read_until(visit, HTTP_DONE, true);
    if (rc <= 0)
        return rc < 0 ? refuse(visit) : -ECONNRESET;
    rc = exchange_handle(http);
    if (rc < 0 && http->phase == ANSWERING && !visit->chunked && http->answer_left < 0)
        stream_break(http->stream);  /* its body goes to the connection's end: in good order, that would look like all of it */
    if (rc < 0 || http->phase == UPGRADED || !visit->keep_alive)
        return rc < 0 ? rc : 0;
    return pass_over_body(visit);
}

enum after { VISIT_ON, VISIT_PARK, VISIT_GOODBYE, VISIT_UPGRADED };

/* One request, if there is one. */
static enum after visit_once(struct connection *connection)
{
    struct visit visit;
    enum after after;
    int rc;

    visit_init(&visit, connection);
    rc = visit_read_until(&visit, HTTP_HEAD, false);
    if (rc == 0 && connection->stream->input_end > 0)
        after = VISIT_PARK;
    else if (rc <= 0)
        after = (rc < 0 ? refuse(&visit) : 0, VISIT_GOODBYE);
    else
        after = serve_request(&visit) > 0 ? VISIT_ON : VISIT_GOODBYE;
    if (visit.http.phase == UPGRADED)
        after = VISIT_UPGRADED;
    exchange_fini(&visit.http);
    return after;
}

int visit_main(void *arg)
{
    struct connection *connection = arg;
    td_http_server *server = connection->place.server;
    enum after after;

    do
        after = visit_once(connection);
    while (after == VISIT_ON);
    server->stats.leased--;
    if (after == VISIT_UPGRADED)
        connection_free(connection);
    else if (after == VISIT_PARK && !(server->draining && connection->place.before_drain) && !td_scope_cancelled(server->scope))
        connection_park(connection);
    else
        connection_goodbye(connection);
    return 0;
}
