/* SPDX-License-Identifier: MIT */
/*
 * The shape of messages: a connection without a task, and tasks that are leased while there is something to be handled.
 *
 * Invariants: 1. At most one task attends to a connection: `attended`. 2. A connection that nobody attends to has no input
 * but what came since its task looked last, and then stream_on_input's callback has one lease another.
 */
#include <errno.h>
#include <stdlib.h>

#include "http/exchange.h"
#include "ws/upgrade.h"

/* Handles what has come. Returns true when the conversation is over. */
static bool handle_input(td_ws *ws)
{
    const td_ws_handler *handler = ws->endpoint->handler;
    td_message message;
    int rc;

    for (;;) {
        (void)task_checkpoint(task_self(__func__));  /* others have their turn, however much comes */
        rc = ws_take(ws, &message);
        if (rc == 1 && (rc = handler->on_message(ws, &message, ws->arg)) < 0)
            ws_close_for(ws, rc);
        else if (rc == -ENOMEM)
            ws_fail_for_memory(ws);
        else if (rc == -EAGAIN && ws->stream->input_end <= 0)
            ws_ended(ws);
        if (rc == -EAGAIN)
            (void)ws_hold_back(ws);
        if (rc == -EAGAIN && !ws->stream->input && ws->stream->input_end > 0 && !ws->code)
            return false;
        if (ws->code)
            return true;
    }
}

static void end(td_ws *ws)
{
    const td_ws_handler *handler = ws->endpoint->handler;

    if (ws->work)
        ws_give_back(ws);
    if (handler->on_close)
        handler->on_close(ws, ws->code, ws->work ? ws->work->reason : "", ws->arg);
    ws_part(ws);
}

static int attend(void *arg)
{
    td_ws *ws = arg;
    bool over;

    endpoint_heard(ws);
    if (ws_begin_work(ws) == 0) {
        over = handle_input(ws);
    } else {
        stream_break(ws->stream);  /* without memory to read a message, the peer sees an abrupt end */
        ws_ended(ws);
        over = true;
    }
    if (over) {
        end(ws);
        return 0;
    }
    if (ws_at_rest(ws))
        ws_end_work(ws);
    ws->attended = false;
    if (ws->endpoint->server->draining)
        td_ws_close(ws, WS_CLOSE_GOING_AWAY, "the server is going down", false);
    return 0;
}

void ws_attend(td_ws *ws)
{
    if (ws->attended)
        return;  /* its task looks again before it ends */
    ws->attended = true;
    ws->waits_for_task = http_lease(ws->endpoint->server, attend, ws, "a WebSocket's messages") < 0;
    if (ws->waits_for_task)
        ws->attended = false;  /* the endpoint's timer tries again */
}

static void came(td_stream *stream)
{
    ws_attend(stream->owner);
}

/* The request's task is done with it. */
static void finish(td_http *http, int rc)
{
    http->upgraded = NULL;
}

int td_ws_serve(td_http *http, const td_ws_handler *handler, const td_ws_opts *opts, void *arg)
{
    td_ws *ws;
    int rc = ws_upgrade(http, handler, opts, &ws);

    if (rc < 0)
        return rc;
    http->upgraded = ws;
    http->finish = finish;
    ws->arg = arg;
    ws->attended = true;  /* by us */
    rc = handler->on_open ? handler->on_open(ws, arg) : 0;
    if (rc < 0 || task_verdict(task_self(__func__)) < 0)
        ws_close_for(ws, rc < 0 ? rc : -ECANCELED);
    ws->attended = false;
    stream_on_input(ws->stream, came, ws);
    return 0;
}
