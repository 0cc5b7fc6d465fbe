/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. After close_sent nothing more is queued. 2. The close timer is armed only between close_sent and
 * the end.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/exchange.h"
#include "tandem/ws.h"
#include "ws/codec.h"

#define MESSAGE_MAX_DEFAULT (64 * 1024)
#define CLOSE_WAIT_NS 2000000000    /* for the peer to answer a close */
#define CLOSE_WAITS 5               /* so many times more while the frame itself has not left */
#define GOODBYE_NS 1000000000       /* the same, once the handler has returned */
#define MESSAGE_FIRST 256
#define SINK_BYTES 1024

struct td_ws {
    td_stream *stream;
    struct http_place place;
    struct ws_decoder decoder;
    size_t queue_bytes_max;
    char *message;
    size_t message_room;
    struct td_timer close_timer;
    unsigned char close_waits;
    bool close_sent, close_received, close_hastened;
};

struct td_ws_frame {
    struct block block;
};

static struct block *frame_block(enum ws_opcode opcode, const void *data, size_t size)
{
    uint8_t header[WS_HEADER_MAX];
    size_t header_size = ws_encode_header(header, opcode, size);
    struct block *block = block_new(header_size + size);

    if (!block)
        return NULL;
    memcpy(block->bytes, header, header_size);
    if (size)
        memcpy(block->bytes + header_size, data, size);
    return block;
}

td_ws_frame *td_ws_frame_new(td_ws_kind kind, const void *data, size_t size)
{
    return (td_ws_frame *)(void *)frame_block(kind == TD_WS_TEXT ? WS_TEXT : WS_BINARY, data, size);
}

void td_ws_frame_release(td_ws_frame *frame)
{
    block_release(&frame->block);
}

int td_ws_post(td_ws *ws, td_ws_frame *frame)
{
    return ws->close_sent ? -EPIPE : stream_post(ws->stream, &frame->block, ws->queue_bytes_max);
}

static int send_block(td_ws *ws, struct block *block)
{
    int rc = !block ? -ENOMEM : ws->close_sent ? -EPIPE : http_send(ws->place.server, ws->stream, block, HTTP_QUEUE_BYTES);

    block_release(block);
    return rc;
}

int td_ws_send(td_ws *ws, td_ws_kind kind, const void *data, size_t size)
{
    int rc = task_checkpoint(task_self(__func__));

    return rc < 0 ? rc : send_block(ws, frame_block(kind == TD_WS_TEXT ? WS_TEXT : WS_BINARY, data, size));
}

static void arm_close_timer(td_ws *ws, td_time wait_ns)
{
    struct timers *timers = &ws->stream->loop->sched.timers;

    timers_disarm(timers, &ws->close_timer);
    timers_arm(timers, &ws->close_timer, td_after(wait_ns));
}

/* Puts the close frame, which is the last block, ahead of what a slow peer has not read; once. */
static void hasten_close(td_ws *ws)
{
    ws->close_hastened = true;
    stream_drop_backlog(ws->stream, true);
    arm_close_timer(ws, GOODBYE_NS);
}

static void close_overdue(struct td_timer *timer)
{
    td_ws *ws = container_of(timer, struct td_ws, close_timer);

    if (!ws->close_hastened && ws->stream->count > 1)
        hasten_close(ws);
    else if (ws->stream->count > 0 && ws->close_waits++ < CLOSE_WAITS)
        arm_close_timer(ws, CLOSE_WAIT_NS);  /* the peer has yet to read up to it */
    else
        stream_break(ws->stream);
}

void td_ws_close(td_ws *ws, uint16_t code, const char *reason, bool at_once)
{
    td_stream *stream = ws->stream;
    struct block *block;

    if (ws->close_sent) {
        if (at_once && !ws->close_hastened && stream->count > 1)
            hasten_close(ws);
        return;
    }
    if (!ws_close_code_valid(code))
        code = WS_CLOSE_INTERNAL;  /* a handler's mistake must not become the peer's protocol error */
    ws->close_sent = true;
    ws->close_hastened = at_once;
    arm_close_timer(ws, CLOSE_WAIT_NS);
    if (at_once)
        stream_drop_backlog(stream, false);
    block = block_new(2 + WS_CONTROL_MAX);
    if (!block) {
        stream_break(stream);  /* without memory for a good-bye the peer sees an abrupt end */
        return;
    }
    block->size = ws_encode_close(block->bytes, code, reason ? reason : "");
    (void)stream_post(stream, block, SIZE_MAX);  /* refused only when the connection is broken, or memory short again */
    block_release(block);
}

/* What is left to do for a control frame. Returns 1 to go on, 0 at the end, or a negative errno. */
static int control(td_ws *ws, const struct ws_event *event)
{
    switch (event->kind) {
    case WS_EVENT_PING:
        if (ws->close_sent)
            return 1;
        return send_block(ws, frame_block(WS_PONG, event->payload, event->size)) < 0 ? 0 : 1;
    case WS_EVENT_CLOSE:
        ws->close_received = true;
        td_ws_close(ws, event->code == 1005 ? WS_CLOSE_NORMAL : event->code, "", false);
        return 0;
    case WS_EVENT_FAIL:
        td_ws_close(ws, event->code, event->why, false);
        return -EPROTO;
    default:
        return 1;
    }
}

int td_ws_read(td_ws *ws, void *data, size_t size, td_ws_part *part)
{
    int rc = task_checkpoint(task_self(__func__));

    if (size == 0)
        return -EINVAL;
    while (rc >= 0 && !ws->close_received) {
        struct ws_event event;
        size_t used, have;
        const unsigned char *bytes = stream_peek(ws->stream, &have);

        ws_decode(&ws->decoder, bytes, have, &used, data, size, &event);
        if (used)
            stream_consume(ws->stream, used);
        if (event.kind == WS_EVENT_DATA) {
            if (ws->close_sent)
                continue;  /* we have said good-bye: what comes now is not for us */
            *part = (td_ws_part){event.opcode == WS_TEXT ? TD_WS_TEXT : TD_WS_BINARY, event.begin, event.end, event.size};
            return 1;
        }
        if (event.kind != WS_EVENT_MORE) {
            rc = control(ws, &event);
            if (rc <= 0)
                return rc;
            continue;
        }
        if (ws->stream->input)
            continue;
        rc = stream_wait_input(ws->stream);
        if (rc <= 0)
            return ws->close_sent && rc != -ECANCELED ? 0 : rc;
    }
    return rc < 0 ? rc : 0;
}

/* Room for more of a message: it grows with what arrives, never with what is announced. */
static int make_room(td_ws *ws, size_t used)
{
    size_t room = ws->message_room ? ws->message_room * 2 : MESSAGE_FIRST;
    char *larger;

    if (used + 1 < ws->message_room)
        return 0;
    larger = realloc(ws->message, room);
    if (!larger)
        return -ENOMEM;
    ws->message = larger;
    ws->message_room = room;
    return 0;
}

int td_ws_receive(td_ws *ws, td_message *message)
{
    size_t used = 0;
    td_ws_part part;
    int rc;

    free(ws->message);  /* the last one: a waiting connection holds no buffer */
    ws->message = NULL;
    ws->message_room = 0;
    do {
        rc = make_room(ws, used);
        if (rc == 0)
            rc = td_ws_read(ws, ws->message + used, ws->message_room - used - 1, &part);
        if (rc <= 0)
            return rc;
        used += part.size;
    } while (!part.end);
    ws->message[used] = '\0';
    *message = (td_message){part.kind, used, ws->message};
    return 1;
}

/* After the handler: the close that is owed, and the peer's answer to it, which a cancellation does not cut short. */
static void finish(td_http *http, int rc)
{
    td_ws *ws = http->upgraded;
    uint8_t sink[SINK_BYTES];
    td_ws_part part;
    td_scope scope;

    td_ws_close(ws, rc >= 0 ? WS_CLOSE_NORMAL : rc == -ECANCELED ? WS_CLOSE_GOING_AWAY : WS_CLOSE_INTERNAL,
                rc == -ECANCELED ? "the server is going down" : "", rc == -ECANCELED);
    td_scope_open_shielded(&scope, GOODBYE_NS);
    while (!ws->close_received && td_ws_read(ws, sink, sizeof sink, &part) > 0)
        ;
    td_scope_join(&scope);
    timers_disarm(&ws->stream->loop->sched.timers, &ws->close_timer);
    ws_decoder_fini(&ws->decoder);
    stream_close_gently(ws->stream, GOODBYE_NS);
    http_place_leave(&ws->place);
    free(ws->message);
    free(ws);
}

static int refuse(td_http *http, int status, const char *fields, const char *why)
{
    char body[128];
    int n = snprintf(body, sizeof body, "{\"error\":\"%s\"}\n", why);
    int rc = td_http_respond(http, status, fields, "application/json", body, (size_t)n);

    return rc < 0 ? rc : -EPROTO;
}

/* RFC 6455, 4.2.1. Returns 0, or -EPROTO after the request was answered. */
static int check_handshake(td_http *http, char accept[WS_ACCEPT_SIZE])
{
    const char *upgrade = td_http_field(http, "Upgrade");
    const char *version = td_http_field(http, "Sec-WebSocket-Version"), *key = td_http_field(http, "Sec-WebSocket-Key");

    if (!http_wants_upgrade(&http->head) || !http_list_has(upgrade, "websocket"))
        return refuse(http, 426, "Upgrade: websocket\r\n", "this endpoint speaks WebSocket");
    if (strcmp(td_http_method(http), "GET") != 0)
        return refuse(http, 405, "Allow: GET\r\n", "a WebSocket handshake is a GET request");
    if (!version || strcmp(version, "13") != 0)
        return refuse(http, 426, "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n",
                      "only WebSocket version 13 is spoken here");
    if (!key || ws_accept_key(key, strlen(key), accept) < 0)
        return refuse(http, 400, NULL, "Sec-WebSocket-Key must be 16 bytes in base64");
    return 0;
}

int td_ws_accept(td_http *http, td_ws **out, const td_ws_opts *opts)
{
    char accept[WS_ACCEPT_SIZE], fields[sizeof "Sec-WebSocket-Accept: \r\n" + WS_ACCEPT_SIZE];
    td_ws *ws;
    int rc = check_handshake(http, accept);

    if (rc < 0)
        return rc;
    ws = calloc(1, sizeof *ws);
    if (!ws)
        return -ENOMEM;
    snprintf(fields, sizeof fields, "Sec-WebSocket-Accept: %s\r\n", accept);
    rc = exchange_upgrade(http, "websocket", fields, &ws->stream, &ws->place);
    if (rc < 0) {
        free(ws);
        return rc;
    }
    ws->queue_bytes_max = opts && opts->queue_bytes_max ? opts->queue_bytes_max : HTTP_QUEUE_BYTES;
    ws_decoder_init(&ws->decoder, WS_SERVER, opts && opts->message_bytes_max ? opts->message_bytes_max : MESSAGE_MAX_DEFAULT);
    timer_init(&ws->close_timer, close_overdue);
    http->upgraded = ws;
    http->finish = finish;
    *out = ws;
    return 0;
}
