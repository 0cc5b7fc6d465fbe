/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"

#define ECHO_MESSAGE_MAX (16 * 1024 * 1024)

int answer_error(td_http *http, int status, const char *fields, const char *error)
{
    json_t *object = json_pack("{s:s}", "error", error);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    int rc = text ? td_http_respond(http, status, fields, "application/json", text, strlen(text)) : -ENOMEM;

    free(text);
    json_decref(object);
    return rc;
}

static int echo(td_ws *ws, td_message *message, void *arg)
{
    struct app *app = arg;
    int rc;

    app->counters.messages_in++;
    rc = td_ws_send(ws, message->kind, message->data, message->size);
    app->counters.messages_out += rc == 0;
    return rc;
}

int echo_serve(td_http *http, struct app *app)
{
    static const td_ws_handler handler = {.on_message = echo};
    int rc = td_ws_serve(http, &handler,
                         &(td_ws_opts){.message_bytes_max = ECHO_MESSAGE_MAX, .origins = app->options->origins,
                                       .deflate = TD_WS_DEFLATE_SHARED}, app);

    return rc == -EPROTO ? 0 : rc;
}

static int health_answer(td_http *http, struct app *app)
{
    return td_http_respond(http, 200, NULL, "text/plain", "ok", 2);
}

static int ready_answer(td_http *http, struct app *app)
{
    if (app->draining)
        return td_http_respond(http, 503, NULL, "text/plain", "draining", 8);
    return td_http_respond(http, 200, NULL, "text/plain", "ok", 2);
}

static int chat_answer(td_http *http, struct app *app)
{
    return chat_serve(http, app, td_http_path(http) + strlen("/chat/"));
}

static const struct {
    const char *path;
    bool prefix;          /* the path goes on behind it */
    bool always;          /* answered while draining, too */
    bool websocket;       /* CONNECT goes with GET, too */
    const char *method;   /* HEAD goes with GET */
    int (*answer)(td_http *http, struct app *app);
} routes[] = {
    {"/", false, false, false, "GET", page_answer},
    {"/web/", true, false, false, "GET", page_answer},
    {"/healthz", false, true, false, "GET", health_answer},
    {"/readyz", false, true, false, "GET", ready_answer},
    {"/metrics", false, true, false, "GET", metrics_answer},
    {"/compute", false, false, false, "POST", compute_answer},
    {"/echo", false, false, true, "GET", echo_serve},
    {"/chat/", true, false, true, "GET", chat_answer},
    {"/audio", false, false, true, "GET", audio_serve},
};

/* Over HTTP/2 a WebSocket is asked for with CONNECT (RFC 8441, 4); the server lets no other CONNECT through. */
static bool method_fits(const char *method, const char *allowed, bool websocket)
{
    if (websocket && strcmp(method, "CONNECT") == 0)
        return true;
    return strcmp(method, allowed) == 0 || (strcmp(method, "HEAD") == 0 && strcmp(allowed, "GET") == 0);
}

int route(td_http *http, void *arg)
{
    struct app *app = arg;
    const char *path = td_http_path(http);

    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        size_t length = strlen(routes[i].path);

        if (routes[i].prefix ? strncmp(path, routes[i].path, length) != 0 : strcmp(path, routes[i].path) != 0)
            continue;
        if (!method_fits(td_http_method(http), routes[i].method, routes[i].websocket))
            return answer_error(http, 405, strcmp(routes[i].method, "GET") == 0 ? "Allow: GET, HEAD\r\n" : "Allow: POST\r\n",
                                "this endpoint does not take that method");
        if (app->draining && !routes[i].always)
            return answer_error(http, 503, "Retry-After: 1\r\n", "the server is going down");
        return routes[i].answer(http, app);
    }
    return answer_error(http, 404, NULL, "no such endpoint; GET / shows what there is");
}
