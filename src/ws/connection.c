/* SPDX-License-Identifier: MIT */
/*
 * What both shapes have in common: how a conversation ends.
 *
 * Invariant: after close_sent nothing more is queued.
 */
#include "ws/connection.h"

#include <errno.h>
#include <string.h>

#define CLOSE_WAIT_NS 2000000000    /* for the peer to answer a close */
#define CLOSE_WAITS 5               /* so many times more while the frame itself has not left */
#define BROKEN_NS 10000000000       /* a connection that was broken is looked at again only for safety */

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

int ws_control(td_ws *ws, const struct ws_event *event)
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
    return ws->endpoint->agreed.protocol;
}
