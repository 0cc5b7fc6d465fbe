/* SPDX-License-Identifier: MIT */
/*
 * The shape of a conversation: a task that receives and sends until it is done.
 */
#include <errno.h>
#include <stdlib.h>

#include "http/exchange.h"
#include "ws/upgrade.h"

#define SINK_BYTES 1024

/* Waits for more input. Returns 1; 0 when there is none to come; -ECANCELED; what receiving failed with. */
static int wait_for_more(td_ws *ws)
{
    int rc;

    (void)ws_hold_back(ws);  /* what ended that, ends the next wait as well */
    rc = stream_wait_input(ws->stream);
    if (rc > 0)
        endpoint_heard(ws);
    else if (rc != -ECANCELED)
        ws_ended(ws);
    return rc <= 0 && rc != -ECANCELED && ws->close_sent ? 0 : rc;
}

/* What a receive begins with. */
static int begin(td_ws *ws, const char *function)
{
    int rc = task_checkpoint(task_self(function));

    return rc < 0 ? rc : ws->parked ? -EINVAL : 0;
}

int td_ws_receive(td_ws *ws, td_message *message)
{
    int rc = begin(ws, __func__);

    if (rc < 0)
        return rc;
    while ((rc = ws_take(ws, message)) == -EAGAIN)
        if ((rc = wait_for_more(ws)) <= 0)
            break;
    return rc;
}

int td_ws_read(td_ws *ws, void *data, size_t size, td_ws_part *part)
{
    int rc = size == 0 ? -EINVAL : begin(ws, __func__);

    if (rc < 0)
        return rc;
    while ((rc = ws_take_part(ws, data, size, part)) == -EAGAIN)
        if ((rc = wait_for_more(ws)) <= 0)
            break;
    return rc;
}

/* After the handler: the close that is owed, and the peer's answer to it, which a cancellation does not cut short. */
static void say_good_bye(td_ws *ws, int rc)
{
    uint8_t sink[SINK_BYTES];
    td_ws_part part;
    td_scope scope;

    ws_close_for(ws, rc);
    td_scope_open_shielded(&scope, WS_GOODBYE_NS);
    while (td_ws_read(ws, sink, sizeof sink, &part) > 0)
        ;
    td_scope_join(&scope);
}

static void finish(td_http *http, int rc)
{
    td_ws *ws = http->upgraded;

    http->upgraded = NULL;
    say_good_bye(ws, rc);
    ws_part(ws);
}

int td_ws_accept(td_http *http, td_ws **out, const td_ws_opts *opts)
{
    td_ws *ws;
    int rc = ws_upgrade(http, NULL, opts, &ws);

    if (rc < 0)
        return rc;
    http->upgraded = ws;
    http->finish = finish;
    *out = ws;
    return 0;
}

void td_ws_free(td_ws *ws)
{
    say_good_bye(ws, 0);
    ws_part(ws);
}
