/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <errno.h>
#include <stddef.h>

#define GOING_AWAY 1001  /* RFC 6455, 7.4.1: a server going down */
#define TOO_SLOW 1013    /* try again later (registered with IANA) */

static void say_good_bye(struct session *session)
{
    td_ws_close(session->ws, GOING_AWAY, "the server is going down", false);
}

void session_open(struct session *session, struct app *app, td_ws *ws)
{
    *session = (struct session){.app = app, .ws = ws};
    session->link.next = &app->sessions;
    session->link.prev = app->sessions.prev;
    app->sessions.prev->next = &session->link;
    app->sessions.prev = &session->link;
    if (app->draining)  /* it shook hands while the drain began */
        say_good_bye(session);
}

void session_close(struct session *session)
{
    session->link.prev->next = session->link.next;
    session->link.next->prev = session->link.prev;
}

void session_job_begins(struct session *session)
{
    session->under_way++;
}

void session_job_ends(struct session *session)
{
    if (--session->under_way == 0 && session->app->draining)
        say_good_bye(session);
}

void sessions_drain(struct app *app)
{
    for (struct td_list *at = app->sessions.next; at != &app->sessions; at = at->next) {
        struct session *session = (struct session *)(void *)((char *)at - offsetof(struct session, link));

        if (session->under_way == 0)
            say_good_bye(session);
    }
}

int session_receive(struct session *session, td_message *message)
{
    int rc = td_ws_receive(session->ws, message);

    session->app->counters.messages_in += rc > 0;
    return rc;
}

int session_send(struct session *session, const char *text, size_t size)
{
    int rc = td_ws_send(session->ws, TD_WS_TEXT, text, size);

    session->app->counters.messages_out += rc == 0;
    return rc;
}

void session_too_slow(struct session *session)
{
    session->app->counters.slow_consumer++;
    td_ws_close(session->ws, TOO_SLOW, "too slow to read what was sent", true);
}

int session_post(struct session *session, const char *text, size_t size)
{
    td_ws_frame *frame = td_ws_frame_new(TD_WS_TEXT, text, size);
    int rc = frame ? td_ws_post(session->ws, frame) : -ENOMEM;

    if (frame)
        td_ws_frame_release(frame);
    session->app->counters.messages_out += rc == 0;
    if (rc == -EBUSY || rc == -ENOMEM)
        session_too_slow(session);
    return rc;
}
