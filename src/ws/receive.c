/* SPDX-License-Identifier: MIT */
/*
 * Receiving: from the stream's input to messages, or parts of them.
 *
 * Invariant: `held` bytes are the first of the stream's input. The message that was handed out lies in them, or the piece of a
 * compressed one that is being unpacked; until they are given back nothing else is taken.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/shared.h"
#include "ws/connection.h"

#define MESSAGE_FIRST 256
#define LESS 2  /* what came was no whole message */

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
    ws->work->deflater = NULL;
    ws->work->inflater = NULL;
    ws->work->unpacking.is_under_way = false;
    ws_decoder_init(&ws->work->decoder, ws->client ? WS_CLIENT : WS_SERVER, ws->endpoint->opts.message_bytes_max);
    if (ws->endpoint->agreed.deflate)
        ws_decoder_deflate(&ws->work->decoder);
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
    ws->work->unpacking.is_under_way = false;
    ws_give_back(ws);
    drop_message(ws);
    ws_packing_end(ws);
    ws_decoder_fini(&ws->work->decoder);
    free(ws->work);
    ws->work = NULL;
}

bool ws_at_rest(const td_ws *ws)
{
    const struct ws_work *work = ws->work;

    if (!work)
        return true;
    return !work->message && !work->held && !work->deflater && !work->inflater && !ws->code && !work->decoder.in_payload &&
           !work->decoder.header_have && !work->decoder.message_opcode;
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

static td_ws_kind kind_of(const struct ws_event *event)
{
    return event->opcode == WS_TEXT ? TD_WS_TEXT : TD_WS_BINARY;
}

static bool is_packed(const struct ws_work *work)
{
    return work->decoder.message_opcode && work->decoder.compressed;
}

static void consume_held(td_ws *ws)
{
    if (ws->work->held)
        stream_consume(ws->stream, ws->work->held);
    ws->work->held = 0;
}

void ws_give_back(td_ws *ws)
{
    struct ws_work *work = ws->work;

    if (work->unpacking.is_under_way)
        return;
    consume_held(ws);
    if (work->message && work->used == 0)
        drop_message(ws);  /* one that waits holds no buffer */
}

/* A piece was unpacked, as far as there was room. Returns 1 for the message's end, LESS, -EPROTO, -ENOMEM. */
static int after_unpacking(td_ws *ws, int rc)
{
    struct ws_event failure = {.kind = WS_EVENT_FAIL, .code = (uint16_t)rc};

    if (!ws->work->unpacking.is_under_way)
        consume_held(ws);
    if (rc < WS_UNPACK_FAILED)
        return rc == WS_INFLATE_DONE ? 1 : rc < 0 ? rc : LESS;
    failure.why = rc == WS_CLOSE_TOO_BIG ? "a message is larger than allowed" : "a compressed message is malformed";
    return ws_control(ws, &failure);
}

/* Adds what a piece of a compressed message holds. Returns as after_unpacking. */
static int assemble_unpacked(td_ws *ws, const struct ws_event *event, size_t held)
{
    struct ws_work *work = ws->work;
    int rc = ws_unpack_begin(ws, event);

    work->held = held;
    while (rc >= 0 && work->unpacking.is_under_way) {
        size_t used;

        rc = make_room(ws, work->used > MESSAGE_FIRST ? work->used : MESSAGE_FIRST);
        if (rc < 0)
            break;
        rc = ws_unpack(ws, work->message + work->used, work->room - work->used - 1, &used);
        work->used += used;
    }
    if (rc < 0)
        work->unpacking.is_under_way = false;
    return after_unpacking(ws, rc);
}

/* Decodes what of the message came in this piece of input. Returns 1 for a whole message, LESS; as ws_control; -ENOMEM. */
static int take_piece(td_ws *ws, unsigned char *in, size_t size, struct ws_event *event)
{
    struct ws_work *work = ws->work;
    bool packed = is_packed(work);
    size_t used, room = packed ? size : work->room ? work->room - work->used - 1 : 0;
    int rc;

    ws_decode(&work->decoder, in, size, &used, packed ? in : (uint8_t *)work->message + work->used, room, event);
    if (event->kind == WS_EVENT_MORE && used < size) {
        stream_consume(ws->stream, used);
        rc = is_packed(work) ? 0 : make_room(ws, size - used);
        return rc < 0 ? rc : LESS;
    }
    if (event->kind == WS_EVENT_DATA && event->compressed)
        return assemble_unpacked(ws, event, used);
    rc = ws_control(ws, event);  /* its payload lies in the input */
    stream_consume(ws->stream, used);
    if (rc <= 0)
        return rc;
    if (event->kind != WS_EVENT_DATA)
        return LESS;
    work->used += event->size;
    rc = make_room(ws, 0);  /* an empty message has room for a zero byte, too */
    return rc < 0 ? rc : event->end ? 1 : LESS;
}

/* A message in one frame that has come whole is handed out where it lies. Returns as ws_take; LESS: it is none. */
static int take_whole(td_ws *ws, unsigned char *in, size_t size, td_message *message, struct ws_event *event)
{
    struct ws_work *work = ws->work;
    size_t used;

    if (ws->endpoint->opts.shared_messages || !ws_decode_whole(&work->decoder, in, size, &used, event))
        return LESS;
    if (event->kind == WS_EVENT_DATA && event->compressed)
        return assemble_unpacked(ws, event, used);
    work->held = used;
    if (event->kind != WS_EVENT_DATA)
        return ws_control(ws, event);
    *message = (td_message){kind_of(event), event->size, (char *)in};
    return 1;
}

static int take_any(td_ws *ws, td_message *message)
{
    struct ws_work *work = ws->work;
    struct ws_event event;
    unsigned char *in;
    size_t size;
    int rc = LESS;

    if (ws->code)
        return 0;
    while (rc == LESS) {
        in = stream_peek(ws->stream, &size);
        if (!in)
            return -EAGAIN;
        rc = take_whole(ws, in, size, message, &event);
        if (rc == 1 && work->held)
            return 1;
        if (rc == LESS)
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

/* Returns as ws_take_part; LESS: this held nothing. */
static int take_unpacked_part(td_ws *ws, void *data, size_t size, td_ws_part *part)
{
    struct ws_unpacking *unpacking = &ws->work->unpacking;
    size_t used;
    int rc = after_unpacking(ws, ws_unpack(ws, data, size, &used));

    if (rc <= 0 || ws->close_sent || (rc == LESS && used == 0))
        return rc <= 0 ? rc : LESS;
    *part = (td_ws_part){unpacking->text ? TD_WS_TEXT : TD_WS_BINARY, !unpacking->begun, rc == 1, used};
    unpacking->begun = true;
    return 1;
}

static int take_plain_part(td_ws *ws, void *data, size_t size, td_ws_part *part)
{
    struct ws_work *work = ws->work;
    struct ws_event event;
    size_t have, used;
    unsigned char *in = stream_peek(ws->stream, &have);
    bool packed = is_packed(work), unknown = ws->endpoint->agreed.deflate && !work->decoder.message_opcode;
    int rc;

    if (!in)
        return -EAGAIN;
    ws_decode(&work->decoder, in, have, &used, packed ? in : data, packed ? have : unknown ? 0 : size, &event);
    if (event.kind == WS_EVENT_DATA && event.compressed) {
        work->held = used;
        rc = ws_unpack_begin(ws, &event);
        return rc < 0 ? rc : LESS;
    }
    rc = ws_control(ws, &event);
    stream_consume(ws->stream, used);
    if (rc <= 0 || event.kind != WS_EVENT_DATA || ws->close_sent)
        return rc <= 0 ? rc : LESS;
    *part = (td_ws_part){kind_of(&event), event.begin, event.end, event.size};
    return 1;
}

int ws_take_part(td_ws *ws, void *data, size_t size, td_ws_part *part)
{
    int rc = LESS;

    ws_give_back(ws);
    if (ws->code)
        return 0;
    while (rc == LESS)
        rc = ws->work->unpacking.is_under_way ? take_unpacked_part(ws, data, size, part) : take_plain_part(ws, data, size, part);
    return rc;
}
