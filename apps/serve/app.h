/* SPDX-License-Identifier: MIT */
/*
 * The gateway: what its endpoints share.
 */
#ifndef TANDEM_SERVE_APP_H
#define TANDEM_SERVE_APP_H

#include "options.h"
#include "tandem.h"

struct rooms;

struct counters {
    unsigned long long messages_in, messages_out;  /* of WebSockets */
    unsigned long long audio_late, slow_consumer, worker_died;
};

struct app {
    const struct serve_options *options;
    td_tls *tls;                 /* NULL: plain HTTP */
    td_http_server *server;
    td_pool *pools[2];           /* see pools.h; NULL while it is not open */
    td_scope *jobs;              /* work that may outlive the connection which asked for it */
    struct td_list sessions;     /* open WebSockets */
    struct rooms *rooms;
    struct counters counters;
    td_time started;
    bool draining;
};

/* The handler of every request. */
int route(td_http *http, void *app);

int page_answer(td_http *http, struct app *app);
int metrics_answer(td_http *http, struct app *app);
int compute_answer(td_http *http, struct app *app);
int chat_serve(td_http *http, struct app *app, const char *room_name);
int audio_serve(td_http *http, struct app *app);
int echo_serve(td_http *http, struct app *app);

/* Answers with a JSON object that has the one member "error". */
int answer_error(td_http *http, int status, const char *fields, const char *error);

#endif
