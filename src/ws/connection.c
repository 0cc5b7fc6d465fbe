/* SPDX-License-Identifier: MIT */
/*
 * What both shapes have in common: receiving messages, and closing.
 *
 * Invariants: 1. After close_sent nothing more is queued. 2. `held` bytes are the first of the stream's input, and the message
 * that was handed out lies in them; while held > 0 nothing else is taken.
 */
#include "ws/connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/shared.h"

#define CLOSE_WAIT_NS 2000000000    /* for the peer to answer a close */
#define CLOSE_WAITS 5               /* so many times more while the frame itself has not left */
#define BROKEN_NS 10000000000       /* a connection that was broken is looked at again only for safety */
#define MESSAGE_FIRST 256

int ws_begin_work(td_ws *ws)
{
    if (ws->work)
        return 0;
    ws->work = malloc(sizeof *ws->work);
    if (!ws->work)
        return -ENOMEM;
    ws->work->message = NULL;
    ws->work->used = ws->work->room = ws->work->held = 0;
    ws->work->reason[0] = '\0';
    ws_decoder_init(&ws->work->decoder, ws->client ? WS_CLIENT : WS_SERVER, ws->endpoint->opts.message_bytes_max);
    return 0;
}

static void drop_message(td_ws *ws)
{
    struct ws_work *work = ws->work;

    if (ws->endpoint->opts.shared_messages)
        td_shared_free(work->message);
    else
        free(work->message);
    work->message = NULL;
    work->used = work->room = 0;
}

void ws_end_work(td_ws *ws)
{
    if (!ws->work)
        return;
    ws_give_back(ws);
    drop_message(ws);
    ws_decoder_fini(&ws->work->decoder);
    free(ws->work);
    ws->work = NULL;
}

bool ws_at_rest(const td_ws *ws)
{
    const struct ws_work *work = ws->work;

    return !work || (!work->message && !work->held && !ws->code && !work->decoder.in_payload && !work->decoder.header_have &&
                     !work->decoder.message_opcode);
}

/* Room for `more` bytes of a message and a zero byte: it grows with what arrives, never with what is announced. */
static int make_room(td_ws *ws, size_t more)
{
    struct ws_work *work = ws->work;
    size_t need = work->used + more + 1, room = work->room ? work->room : MESSAGE_FIRST;
    char *larger;

    if (need <= work->room)
        return 0;
    while (room < need)
        room *= 2;
    if (!ws->endpoint->opts.shared_messages) {
        larger = realloc(work->message, room);
        if (!larger)
            return -ENOMEM;
    } else {
        larger = td_shared_alloc(room);
        if (!larger)
            return -ENOMEM;
        if (work->used)
            memcpy(larger, work->message, work->used);
        td_shared_free(work->message);
    }
    work->message = larger;
    work->room = room;
    return 0;
}

/* How it ended, for on_close; the first word counts. */
static void note_end(td_ws *ws, uint16_t code, const void *reason, size_t size)
{
    if (ws->code)
        return;
    ws->code = code;
    size = size < sizeof ws->work->reason ? size : sizeof ws->work->reason - 1;
    if (size)
        memcpy(ws->work->reason, reason, size);
    ws->work->reason[size] = '\0';
}

void ws_ended(td_ws *ws)
{
    if (ws->work)
        note_end(ws, WS_NO_CLOSE, "", 0);
    else
        ws->code = ws->code ? ws->code : WS_NO_CLOSE;
}

void ws_fail_for_memory(td_ws *ws)
{
    note_end(ws, WS_CLOSE_INTERNAL, "", 0);
    td_ws_close(ws, WS_CLOSE_INTERNAL, "out of memory", false);
}

/* What is left to do for an event that is no data. Returns 1 to go on; 0 at the end; -EPROTO. */
static int control(td_ws *ws, const struct ws_event *event)
{
    switch (event->kind) {
    case WS_EVENT_PING:
        if (!ws->close_sent)
            (void)ws_send_control(ws, WS_PONG, event->payload, event->size);  /* what fails breaks the stream, or is memory */
        return 1;
    case WS_EVENT_CLOSE:
        ws->close_received = true;
        note_end(ws, event->code, event->payload, event->size);
        td_ws_close(ws, event->code == WS_CLOSE_NO_CODE ? WS_CLOSE_NORMAL : event->code, "", false);
        return 0;
    case WS_EVENT_FAIL:
        note_end(ws, event->code, event->why, strlen(event->why));
        td_ws_close(ws, event->code, event->why, false);  /* behind the answers to earlier messages */
        return -EPROTO;
    default:
        return 1;
    }
}

/* Decodes what of the message came in this piece of input. Returns 1 for a whole message, 2 for anything less; as control. */
static int take_piece(td_ws *ws, unsigned char *in, size_t size, struct ws_event *event)
{
    struct ws_work *work = ws->work;
    size_t used, room = work->room ? work->room - work->used - 1 : 0;
    int rc;

    ws_decode(&work->decoder, in, size, &used, (uint8_t *)work->message + work->used, room, event);
    if (event->kind == WS_EVENT_MORE && used < size) {
        stream_consume(ws->stream, used);
        rc = make_room(ws, size - used);
        return rc < 0 ? rc : 2;
    }
    rc = control(ws, event);  /* its payload lies in the input */
    stream_consume(ws->stream, used);
    if (rc <= 0)
        return rc;
    work->used += event->kind == WS_EVENT_DATA ? event->size : 0;
    if (event->kind == WS_EVENT_DATA && event->end)
        return event->size || work->used || make_room(ws, 0) == 0 ? 1 : -ENOMEM;
    return 2;
}

static td_ws_kind kind_of(const struct ws_event *event)
{
    return event->opcode == WS_TEXT ? TD_WS_TEXT : TD_WS_BINARY;
}

static int take_any(td_ws *ws, td_message *message)
{
    struct ws_work *work = ws->work;
    struct ws_event event;
    unsigned char *in;
    size_t size, used;
    int rc = 2;

    if (ws->code)
        return 0;
    while (rc == 2) {
        in = stream_peek(ws->stream, &size);
        if (!in)
            return -EAGAIN;
        if (!ws->endpoint->opts.shared_messages && ws_decode_whole(&work->decoder, in, size, &used, &event)) {
            work->held = used;
            *message = (td_message){kind_of(&event), event.size, (char *)in};
            return event.kind == WS_EVENT_DATA ? 1 : control(ws, &event);
        }
        rc = take_piece(ws, in, size, &event);
    }
    if (rc <= 0)
        return rc;
    work->message[work->used] = '\0';
    *message = (td_message){kind_of(&event), work->used, work->message};
    work->used = 0;
    return 1;
}

int ws_take(td_ws *ws, td_message *message)
{
    int rc;

    do {
        ws_give_back(ws);
        rc = take_any(ws, message);
    } while (rc == 1 && ws->close_sent);  /* we have said good-bye: what comes now is not for us */
    return rc;
}

void ws_give_back(td_ws *ws)
{
    struct ws_work *work = ws->work;

    if (work->held)
        stream_consume(ws->stream, work->held);
    work->held = 0;
    if (work->message && work->used == 0)
        drop_message(ws);  /* one that waits holds no buffer */
}

int ws_take_part(td_ws *ws, void *data, size_t size, td_ws_part *part)
{
    struct ws_event event;
    size_t have, used;
    unsigned char *in;
    int rc = 1;

    ws_give_back(ws);
    if (ws->code)
        return 0;
    while (rc > 0) {
        in = stream_peek(ws->stream, &have);
        if (!in)
            return -EAGAIN;
        ws_decode(&ws->work->decoder, in, have, &used, data, size, &event);
        rc = control(ws, &event);
        stream_consume(ws->stream, used);
        if (event.kind == WS_EVENT_DATA && !ws->close_sent) {
            *part = (td_ws_part){kind_of(&event), event.begin, event.end, event.size};
            return 1;
        }
    }
    return rc;
}

/* Closing */

/* Puts the close frame, which is the last block, ahead of what a slow peer has not read; once. */
static void hasten_close(td_ws *ws)
{
    ws->close_hastened = true;
    stream_drop_backlog(ws->stream, true);
    endpoint_expect_close(ws, WS_GOODBYE_NS);
}

void ws_close_overdue(td_ws *ws)
{
    if (!ws->close_hastened && ws->stream->count > 1) {
        hasten_close(ws);
    } else if (ws->stream->count > 0 && ws->close_waits++ < CLOSE_WAITS) {
        endpoint_expect_close(ws, CLOSE_WAIT_NS);  /* the peer has yet to read up to it */
    } else {
        endpoint_expect_close(ws, BROKEN_NS);
        stream_break(ws->stream);
    }
}

void td_ws_close(td_ws *ws, uint16_t code, const char *reason, bool at_once)
{
    uint8_t payload[WS_CONTROL_MAX];

    if (ws->close_sent) {
        if (at_once && !ws->close_hastened && ws->stream->count > 1)
            hasten_close(ws);
        return;
    }
    if (!ws_close_code_valid(code))
        code = WS_CLOSE_INTERNAL;  /* a handler's mistake must not become the peer's protocol error */
    if (at_once)
        stream_drop_backlog(ws->stream, false);
    ws->close_hastened = at_once;
    if (ws_send_control(ws, WS_CLOSE, payload, ws_encode_close_payload(payload, code, reason ? reason : "")) == -ENOMEM)
        stream_break(ws->stream);  /* without memory for a good-bye the peer sees an abrupt end */
    ws->close_sent = true;
    endpoint_expect_close(ws, CLOSE_WAIT_NS);
}

void ws_close_for(td_ws *ws, int rc)
{
    td_ws_close(ws, rc >= 0 ? WS_CLOSE_NORMAL : rc == -ECANCELED ? WS_CLOSE_GOING_AWAY : WS_CLOSE_INTERNAL,
                rc == -ECANCELED ? "the server is going down" : "", rc == -ECANCELED);
}

const char *td_ws_protocol(const td_ws *ws)
{
    return ws->endpoint->protocol;
}
