/* SPDX-License-Identifier: MIT */
/*
 * A connection's life. The task that is leased for it while there is something to read is in http/visit.c.
 *
 * Invariants: 1. There is a task exactly while LEASED or CLOSING. 2. Otherwise the connection is watched, so that it ends
 * whatever its peer does. 3. A task alone frees it, for closing a stream may take a moment. 4. The stream's callbacks are ours
 * until it is closed or upgraded.
 */
#include "http/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http/h2_connection.h"
#include "http/visit.h"

#define SHED_AFTER_NS 5000000000  /* who has just been served, or has just come, does not give way */

void connection_free(struct connection *connection)
{
    td_http_server *server = connection->place.server;

    http_watch_end(&connection->watch);
    if (connection->refused) {
        server->refusing--;
        td_event_set(&server->refused_one);
    }
    free(connection);
}

static int close_main(void *arg)
{
    struct connection *connection = arg;

    td_stream_close(connection->stream);
    http_place_leave(&connection->place);
    connection_free(connection);
    return 0;
}

static void watch(struct connection *connection, enum connection_state state, enum http_waiting what)
{
    connection->state = (unsigned char)state;
    http_watch(connection->place.server, &connection->watch, what);
}

/* Nothing is to be said or heard any more. */
static void finish(struct connection *connection)
{
    http_watch_end(&connection->watch);
    connection->state = CLOSING;
    if (http_lease(connection->place.server, close_main, connection, "http: close") < 0)
        watch(connection, LINGERING, HTTP_GOODBYE);  /* no memory for a task: again in a while */
}

static void discard_input(struct connection *connection)
{
    td_stream *stream = connection->stream;
    size_t size;

    while (stream_peek(stream, &size))
        stream_consume(stream, size);
    if (stream->input_end <= 0)
        finish(connection);
}

/* All has been sent: says the end, and reads on, for unread bytes would make the kernel take our words back. */
static void linger(struct connection *connection)
{
    if (connection->stream->error || td_stream_end(connection->stream) < 0) {
        finish(connection);
        return;
    }
    watch(connection, LINGERING, connection->refused ? HTTP_REFUSAL : HTTP_GOODBYE);
    discard_input(connection);
}

static void say_goodbye(struct connection *connection)
{
    td_stream *stream = connection->stream;

    connection->charge = stream_charge(stream);
    if (connection->charge > 0 && !stream->error)
        watch(connection, SENDING, connection->refused ? HTTP_REFUSAL : HTTP_TO_SEND);
    else
        linger(connection);
}

static void unpark(struct connection *connection)
{
    td_http_stats *stats = &connection->place.server->stats;

    stats->parked -= connection->state == PARKED;
    if (connection->state == PARKED)
        connection->state = LEASED;
}

static void sent_some(td_stream *stream)
{
    struct connection *connection = stream->owner;

    if (connection->state == SENDING && (stream->error || stream_charge(stream) == 0))
        linger(connection);
}

/* Whether the client speaks HTTP/2, or may be about to (prior knowledge: RFC 9113, 3.3). It is another's connection then. */
static bool begins_http2(struct connection *connection)
{
    td_stream *stream = connection->stream;
    enum h2_begin begin = connection->requests == 0 ? h2_begins(stream) : H2_BEGINS_NOT;

    if (begin == H2_MAY_BEGIN)
        return stream->input_end > 0;
    if (begin == H2_BEGINS_NOT || h2_connection_start(&connection->place, stream) < 0)
        return false;
    unpark(connection);
    connection_free(connection);
    return true;
}

/* Input, or its end. */
static void came(td_stream *stream)
{
    struct connection *connection = stream->owner;
    td_http_server *server = connection->place.server;

    if (connection->state == LINGERING) {
        discard_input(connection);
    } else if (connection->state == PARKED && !stream->input) {
        unpark(connection);
        say_goodbye(connection);
    } else if (connection->state == PARKED && !begins_http2(connection)) {
        unpark(connection);
        http_watch_end(&connection->watch);
        server->stats.leased++;
        if (http_lease(server, visit_main, connection, "http: visit") == 0)
            return;
        server->stats.leased--;
        stream_break(stream);  /* no memory for a task: none for an answer */
        watch(connection, LINGERING, HTTP_GOODBYE);
    }
}

/* The peer is too slow. */
static void overdue(struct http_watch *watched)
{
    struct connection *connection = container_of(watched, struct connection, watch);
    td_http_stats *stats = &connection->place.server->stats;
    td_stream *stream = connection->stream;

    if (connection->state == PARKED) {
        stats->timeouts_idle++;
        unpark(connection);
        say_goodbye(connection);
    } else if (connection->state == SENDING && http_send_progress(connection->place.server, &connection->charge, stream)) {
        watch(connection, SENDING, HTTP_TO_SEND);
    } else {
        stats->timeouts_send += connection->state == SENDING;
        finish(connection);
    }
}

void connection_park(struct connection *connection)
{
    connection->place.server->stats.parked++;
    watch(connection, PARKED, HTTP_NEXT_REQUEST);
}

void connection_goodbye(struct connection *connection)
{
    say_goodbye(connection);
}

static void cancelled(struct http_place *place)
{
    struct connection *connection = container_of(place, struct connection, place);

    if (connection->state == PARKED) {
        unpark(connection);
        say_goodbye(connection);
    }
    if (connection->state == SENDING)
        watch(connection, SENDING, HTTP_GOODBYE);
}

static void draining(struct http_place *place)
{
    struct connection *connection = container_of(place, struct connection, place);

    if (connection->state != PARKED)
        return;
    unpark(connection);
    say_goodbye(connection);
}

static void shed(struct http_watch *watch)
{
    struct connection *connection = container_of(watch, struct connection, watch);

    http_place_uncount(&connection->place);
    unpark(connection);
    say_goodbye(connection);
}

static struct connection *new_connection(td_http_server *server, td_stream *stream, bool refused)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (!connection)
        return NULL;
    connection->stream = stream;
    connection->refused = refused;
    connection->watch.overdue = overdue;
    connection->watch.shed = shed;
    list_init(&connection->watch.link);
    connection->place.cancelled = cancelled;
    connection->place.draining = draining;
    http_place_enter(&connection->place, server, !refused);
    stream->on_sent = sent_some;
    server->stats.accepted += !refused;
    server->stats.refused += refused;
    server->refusing += refused;
    return connection;
}

int connection_start(td_http_server *server, td_stream *stream)
{
    struct connection *connection = new_connection(server, stream, false);

    if (!connection)
        return -ENOMEM;
    connection_park(connection);
    if (td_scope_cancelled(server->scope))
        cancelled(&connection->place);
    stream_on_input(stream, came, connection);
    return 0;
}

int connection_refuse(td_http_server *server, td_stream *stream)
{
    static const char body[] = "{\"error\":\"too many connections\"}\n";
    struct http_answer_head head = {.status = 503, .fields = "Retry-After: 1\r\n", .type = "application/json",
                                    .date = http_date(server), .length = sizeof body - 1, .close = true};
    struct block *block = block_new(http_head_room(&head) + sizeof body);
    struct connection *connection = block ? new_connection(server, stream, true) : NULL;
    int size;

    if (!connection) {
        block_release(block);
        return -ENOMEM;
    }
    size = http_encode_head((char *)block->bytes, block->size, &head);
    memcpy(block->bytes + size, body, sizeof body - 1);
    block->size = (size_t)size + sizeof body - 1;
    server->stats.bad_requests++;
    connection->state = LINGERING;
    stream_on_input(stream, came, connection);
    (void)stream_post(stream, block, SIZE_MAX);  /* refused only when the connection is broken: then it is closed at once */
    block_release(block);
    if (connection->state == LINGERING)
        say_goodbye(connection);
    return 0;
}

bool connection_shed(td_http_server *server)
{
    struct td_list *first = server->watched[HTTP_NEXT_REQUEST].next;
    struct http_watch *watch;   /* of a connection in whatever protocol */

    if (first == &server->watched[HTTP_NEXT_REQUEST])
        return false;
    watch = container_of(first, struct http_watch, link);
    if (td_now() - watch->since < SHED_AFTER_NS)
        return false;
    server->stats.shed++;
    http_watch_end(watch);
    watch->shed(watch);
    return true;
}
