/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. The session lives until nothing is to be said any more; then every stream is over, and exchanges end. 2. The
 * connection is freed by a task, after its last exchange. 3. While it asks for nothing it is watched; while it does, it ticks; at
 * its end it is watched: so it ends, whatever its peer does. 4. The stream's callbacks are ours until it is closed.
 */
#include "http/h2_connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http/h2_exchange.h"
#include "tandem/log.h"

#define OUTPUT_MAX (128 * 1024)      /* in the socket's queue; more is not made into frames */
#define OUTPUT_STEP (32 * 1024)
#define BACKLOG_MAX 300              /* frames that wait to be made; beyond it, no input */
#define WINDOW_MIN (64 * 1024)
#define WINDOW_MAX (1024 * 1024)
#define TICK_MAX 2000000000
#define TICK_MIN 5000000
#define GOODBYE_NS 1000000000

static td_http_server *server_of(const struct h2_connection *connection)
{
    return connection->place.server;
}

static struct timers *timers_of(const struct h2_connection *connection)
{
    return &connection->stream->loop->sched.timers;
}

static td_time tick_ns(const struct h2_connection *connection)
{
    const td_http_opts *opts = &server_of(connection)->opts;
    td_time least = opts->send_timeout < opts->body_timeout ? opts->send_timeout : opts->body_timeout;

    least /= 4;
    return least < TICK_MIN ? TICK_MIN : least > TICK_MAX ? TICK_MAX : least;
}

/* The task that closes and frees. */
static int close_main(void *arg)
{
    struct h2_connection *connection = arg;

    connection->stream->on_sent = NULL;  /* what is under way still leaves, and is nobody's business */
    if (connection->broken)
        td_stream_close(connection->stream);
    else
        stream_close_gently(connection->stream, GOODBYE_NS);
    http_watch_end(&connection->watch);
    http_place_leave(&connection->place);
    free(connection);
    return 0;
}

static void close_if_left(struct h2_connection *connection)
{
    if (connection->session || connection->exchanges > 0 || connection->closing)
        return;
    connection->closing = true;
    http_watch_end(&connection->watch);
    list_remove(&connection->flush.link);
    if (http_lease(server_of(connection), close_main, connection, "http: close") == 0)
        return;
    connection->closing = false;  /* no memory for a task: again in a while */
    http_watch(server_of(connection), &connection->watch, HTTP_GOODBYE);
}

void h2_connection_left(struct h2_connection *connection)
{
    connection->exchanges--;
    close_if_left(connection);
}

/* Why it ended, for the operator. */
static void report(struct h2_connection *connection)
{
    enum h2_brake brake = connection->session->brake;
    td_http_server *server = server_of(connection);

    server->stats.http2_refused += connection->session->refused;
    if (brake == H2_CALM)
        return;
    server->stats.http2_floods++;
    server->stats.http2_flood[brake]++;
    td_log(TD_LOG_WARNING, "closed a connection of HTTP/2 because of %s", h2_brake_name(brake));
}

/* The session is over; the last words are queued, or `broken`: nobody is there to read them. */
static void end(struct h2_connection *connection, bool broken)
{
    struct h2_session *session = connection->session;

    connection->broken |= broken;
    if (!session)
        return;
    timers_disarm(timers_of(connection), &connection->tick);
    report(connection);
    connection->session = NULL;
    h2_session_close(session);
    http_watch(server_of(connection), &connection->watch, HTTP_GOODBYE);  /* for handlers that are still at work */
    close_if_left(connection);
}

/* Asks to be told when nothing is asked for long, or looks for progress. */
static void settle_watch(struct h2_connection *connection)
{
    struct h2_session *session = connection->session;
    bool busy = session->count > 0 || stream_charge(connection->stream) > 0 || session->warned;

    if (busy && !connection->tick.armed) {
        connection->moved_at = connection->heard_at = td_now();
        connection->charge = stream_charge(connection->stream);
        timers_arm(timers_of(connection), &connection->tick, td_after(tick_ns(connection)));
        http_watch_end(&connection->watch);
    }
    if (!busy && connection->tick.armed)
        timers_disarm(timers_of(connection), &connection->tick);
    if (!busy && !list_linked(&connection->watch.link))
        http_watch(server_of(connection), &connection->watch, session->requests > 0 ? HTTP_NEXT_REQUEST : HTTP_FIRST_BYTE);
}

static void take_input(struct h2_connection *connection)
{
    td_stream *stream = connection->stream;
    unsigned char *bytes;
    size_t size;

    if (connection->taking)
        return;
    connection->taking = true;
    while ((bytes = stream_peek(stream, &size))) {
        if (connection->session) {
            if (h2_session_backlog(connection->session) > BACKLOG_MAX)
                break;
            connection->heard_at = td_now();
            connection->pinged = false;
            (void)h2_session_receive(connection->session, bytes, size, connection->heard_at);
        }
        stream_consume(stream, size);
    }
    connection->taking = false;
    if (!stream->input && stream->input_end <= 0)
        end(connection, true);
    else
        h2_connection_flush(connection);
}

static void came(td_stream *stream)
{
    take_input(stream->owner);
}

static void sent_some(td_stream *stream)
{
    struct h2_connection *connection = stream->owner;

    connection->moved_at = connection->stream->loop->sched.looked_at;
    h2_connection_flush(connection);
}

void h2_connection_flush(struct h2_connection *connection)
{
    if (connection->session)
        loop_at_turn_end(connection->stream->loop, &connection->flush);
}

/* Makes frames while the socket has room for them. Returns 0 or -ENOMEM. */
static int make_output(struct h2_connection *connection)
{
    td_stream *stream = connection->stream;
    struct block *block;
    int rc = 0;

    while (!stream->error && stream_charge(stream) < OUTPUT_MAX) {
        rc = h2_session_send(connection->session, OUTPUT_STEP, td_now(), &block);
        if (rc <= 0)
            break;
        rc = stream_post(stream, block, SIZE_MAX);
        block_release(block);
        if (rc < 0)
            break;
    }
    return rc < 0 ? rc : stream->error;
}

static void flush(struct turn_end *turn)
{
    struct h2_connection *connection = container_of(turn, struct h2_connection, flush);

    if (!connection->session)
        return;
    if (make_output(connection) < 0)
        end(connection, true);
    else if (h2_session_over(connection->session))
        end(connection, false);
    else if (connection->stream->input && h2_session_backlog(connection->session) <= BACKLOG_MAX)
        take_input(connection);
    if (connection->session)
        settle_watch(connection);
}

/* The peer was too slow: to ask for anything, or to let us go. */
static void overdue(struct http_watch *watch)
{
    struct h2_connection *connection = container_of(watch, struct h2_connection, watch);

    if (connection->session) {
        server_of(connection)->stats.timeouts_idle++;
        h2_session_fail(connection->session, NGHTTP2_NO_ERROR);
        h2_connection_flush(connection);
        return;
    }
    if (connection->exchanges > 0)
        stream_break(connection->stream);
    else
        close_if_left(connection);
}

/* It has idled longest, and makes way for another. */
static void shed(struct http_watch *watch)
{
    struct h2_connection *connection = container_of(watch, struct h2_connection, watch);

    http_place_uncount(&connection->place);
    h2_session_fail(connection->session, NGHTTP2_NO_ERROR);
    h2_connection_flush(connection);
}

/* Whether the peer is there: it answers a ping, at least, in time. */
static bool peer_is_there(struct h2_connection *connection, td_time now)
{
    td_time idle = server_of(connection)->opts.idle_timeout;

    if (now - connection->heard_at < idle / 2)
        return true;
    if (!connection->pinged)
        h2_session_ping(connection->session);
    connection->pinged = true;
    return now - connection->heard_at < idle;
}

static void tick(struct td_timer *timer)
{
    struct h2_connection *connection = container_of(timer, struct h2_connection, tick);
    struct h2_session *session = connection->session;
    td_http_server *server = server_of(connection);
    size_t charge = stream_charge(connection->stream);
    td_time now = td_now();

    if (charge == 0)
        connection->moved_at = now;
    if (now - connection->moved_at >= server->opts.send_timeout || !peer_is_there(connection, now)) {
        server->stats.timeouts_send += charge > 0;
        end(connection, true);
        return;
    }
    for (struct td_list *at = session->streams.next, *next; at != &session->streams; at = next) {
        struct h2_stream *stream = container_of(at, struct h2_stream, link);

        next = at->next;
        if (stream->owner)
            h2_exchange_tick(stream->owner, now);
    }
    if (session->warned && !session->drained)
        h2_session_drain(session);
    timers_arm(timers_of(connection), &connection->tick, td_after(tick_ns(connection)));
    h2_connection_flush(connection);
}

/* New streams are told to go elsewhere, after a warning; those that are open are answered. */
static void draining(struct http_place *place)
{
    struct h2_connection *connection = container_of(place, struct h2_connection, place);

    if (!connection->session)
        return;
    h2_session_drain(connection->session);
    if (connection->session->count == 0)
        h2_session_drain(connection->session);
    h2_connection_flush(connection);
}

/* Every handler's waits are cancelled by now: what they still say is waited for a moment. */
static void cancelled(struct http_place *place)
{
    struct h2_connection *connection = container_of(place, struct h2_connection, place);

    if (!connection->session)
        return;
    h2_session_drain(connection->session);
    h2_session_drain(connection->session);
    http_watch(server_of(connection), &connection->watch, HTTP_GOODBYE);
    h2_connection_flush(connection);
}

static struct h2_limits limits_of(const td_http_server *server)
{
    size_t body = server->opts.body_bytes_max;

    return (struct h2_limits){
        .streams_max = server->opts.streams_max,
        .head_bytes_max = server->opts.head_bytes_max,
        .fields_max = server->opts.fields_max,
        .window = (uint32_t)(body < WINDOW_MIN ? WINDOW_MIN : body > WINDOW_MAX ? WINDOW_MAX : body),
    };
}

int h2_connection_start(struct http_place *place, td_stream *stream)
{
    struct h2_connection *connection = calloc(1, sizeof *connection);
    struct h2_limits limits = limits_of(place->server);

    if (!connection)
        return -ENOMEM;
    if (h2_session_open(&connection->session, &limits, &h2_exchange_hooks, connection) < 0) {
        free(connection);
        return -ENOMEM;
    }
    http_place_move(&connection->place, place);
    connection->place.draining = draining;
    connection->place.cancelled = cancelled;
    connection->stream = stream;
    connection->heard_at = td_now();
    connection->watch.overdue = overdue;
    connection->watch.shed = shed;
    list_init(&connection->watch.link);
    timer_init(&connection->tick, tick);
    list_init(&connection->flush.link);
    connection->flush.run = flush;
    server_of(connection)->stats.http2++;
    stream->on_sent = sent_some;
    stream_on_input(stream, came, connection);
    h2_connection_flush(connection);
    return 0;
}

_Static_assert(TD_HTTP2_FLOODS == H2_BRAKES, "each brake is counted");

const char *td_http2_flood_name(unsigned kind)
{
    return kind < H2_BRAKES ? h2_brake_name((enum h2_brake)kind) : "nothing";
}

enum h2_begin h2_begins(const td_stream *stream)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    size_t at = 0;

    for (const struct input *input = stream->input; input; input = input->next) {
        size_t size = input->end - input->begin, left = sizeof preface - 1 - at;

        if (size > left)
            size = left;
        if (memcmp(input->bytes + input->begin, preface + at, size) != 0)
            return H2_BEGINS_NOT;
        at += size;
        if (at > 2)  /* no method of HTTP/1 begins with these */
            return H2_BEGINS;
    }
    return H2_MAY_BEGIN;
}
