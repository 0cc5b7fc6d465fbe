/* SPDX-License-Identifier: MIT */
/*
 * Open WebSockets, as a drain sees them: a session with nothing under way is closed at once, the others when their last
 * result has been sent.
 */
#ifndef TANDEM_SERVE_SESSION_H
#define TANDEM_SERVE_SESSION_H

#include "app.h"

struct session {
    struct td_list link;
    struct app *app;
    td_ws *ws;
    unsigned under_way;   /* jobs whose result the client waits for */
};

void session_open(struct session *session, struct app *app, td_ws *ws);
void session_close(struct session *session);

void session_job_begins(struct session *session);
void session_job_ends(struct session *session);   /* after its result was sent */

/* Closes all sessions, each as soon as it has nothing under way. */
void sessions_drain(struct app *app);

/* Receives and counts a message. As td_ws_receive. */
int session_receive(struct session *session, td_message *message);

/* Sends and counts a text message. As td_ws_send. */
int session_send(struct session *session, const char *text, size_t size);

/*
 * Queues and counts a text message without waiting: for tasks other than the connection's own. A client that is too
 * slow to read is shown out. As td_ws_post.
 */
int session_post(struct session *session, const char *text, size_t size);

/* What happens to a client whose queue is full: it is told, ahead of its backlog, and the connection ends. */
void session_too_slow(struct session *session);

#endif
