/* SPDX-License-Identifier: MIT */
#include "ws/upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/exchange.h"
#include "ws/origin.h"
#include "ws/protocols.h"

#define FIELDS_MAX 512

static int refuse(td_http *http, int status, const char *fields, const char *why)
{
    char body[128];
    int n = snprintf(body, sizeof body, "{\"error\":\"%s\"}\n", why);
    int rc = td_http_respond(http, status, fields, "application/json", body, (size_t)n);

    return rc < 0 ? rc : -EPROTO;
}

/* RFC 6455, 4.2.1, over HTTP/1.1. Returns 0, or -EPROTO after the request was answered. */
static int check_http1(td_http *http, const char *version, char accept[WS_ACCEPT_SIZE])
{
    const char *upgrade = td_http_field(http, "Upgrade"), *key = td_http_field(http, "Sec-WebSocket-Key");

    if (!http_wants_upgrade(&http->head) || !http_list_has(upgrade, "websocket"))
        return refuse(http, 426, "Upgrade: websocket\r\nConnection: Upgrade\r\n", "this endpoint speaks WebSocket");
    if (strcmp(td_http_method(http), "GET") != 0)
        return refuse(http, 405, "Allow: GET\r\n", "a WebSocket handshake is a GET request");
    if (!version || strcmp(version, "13") != 0)
        return refuse(http, 426, "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
                      "only WebSocket version 13 is spoken here");
    if (!key || ws_accept_key(key, strlen(key), accept) < 0)
        return refuse(http, 400, NULL, "Sec-WebSocket-Key must be 16 bytes in base64");
    return 0;
}

static int check(td_http *http, const td_ws_opts *opts, char accept[WS_ACCEPT_SIZE])
{
    const char *version = td_http_field(http, "Sec-WebSocket-Version"), *origin = td_http_field(http, "Origin");
    int rc = 0;

    accept[0] = '\0';
    if (td_http_version(http) < 20)
        rc = check_http1(http, version, accept);
    else if (strcmp(td_http_method(http), "CONNECT") != 0)  /* RFC 8441, 5: no key, no Upgrade; it names its protocol */
        rc = refuse(http, 400, NULL, "this endpoint speaks WebSocket");
    else if (!version || strcmp(version, "13") != 0)
        rc = refuse(http, 400, "Sec-WebSocket-Version: 13\r\n", "only WebSocket version 13 is spoken here");
    if (rc < 0)
        return rc;
    if (origin && !ws_origin_allowed(origin, td_http_field(http, "Host"), opts->origins))
        return refuse(http, 403, NULL, "pages of this origin may not connect");
    return 0;
}

static int authenticate(td_http *http, const td_ws_opts *opts)
{
    int rc = opts->authenticate ? opts->authenticate(http, opts->authenticate_arg) : 0;

    if (rc == -EACCES && http->phase == NOT_ANSWERED) {
        int sent = refuse(http, 403, NULL, "you may not connect");

        rc = sent == -EPROTO ? rc : sent;
    }
    return rc;
}

td_ws *ws_new(td_stream *stream, struct ws_endpoint *endpoint, bool client)
{
    td_ws *ws = calloc(1, sizeof *ws);

    if (!ws)
        return NULL;
    ws->stream = stream;
    ws->endpoint = endpoint;
    ws->client = client;
    ws->parked = endpoint->handler != NULL;
    list_init(&ws->link);
    return ws;
}

void ws_part(td_ws *ws)
{
    struct ws_endpoint *endpoint = ws->endpoint;
    td_http_server *server = endpoint->server;
    td_stream *stream = ws->stream;
    uint8_t count = ws->count;

    endpoint_unwatch(ws);
    ws_end_work(ws);
    free(ws);
    stream_close_gently(stream, WS_GOODBYE_NS);
    endpoint_put(endpoint);
    if (server)
        http_count_leave(server, count);
}

/* What a handshake agrees on, and the texts that say so. */
struct terms {
    struct ws_agreement agreed;
    char accept[WS_ACCEPT_SIZE], protocol[WS_PROTOCOL_MAX], extension[WS_EXTENSION_MAX];
};

static int agree(td_http *http, const td_ws_opts *opts, struct terms *terms)
{
    const char *offers = td_http_field(http, "Sec-WebSocket-Extensions");
    struct ws_deflate_wish wish = endpoint_wish(opts->deflate, opts->deflate_window_bits);
    int rc = offers ? ws_extension_answer(offers, &wish, &terms->agreed.terms, terms->extension) : 0;

    if (rc < 0)
        return refuse(http, 400, NULL, "Sec-WebSocket-Extensions must be a list of extensions");
    if (ws_protocol_choose(td_http_field(http, "Sec-WebSocket-Protocol"), opts->protocols, terms->protocol) < 0)
        return refuse(http, 400, NULL, "Sec-WebSocket-Protocol must be a list of names");
    terms->agreed.protocol = *terms->protocol ? terms->protocol : NULL;
    terms->agreed.deflate = rc > 0 && opts->deflate;
    if (!terms->agreed.deflate) {
        terms->extension[0] = '\0';
        terms->agreed.terms = (struct ws_deflate_terms){0};
    }
    return 0;
}

/* Answers, and has the stream. */
static int switch_protocols(td_http *http, td_ws *ws, const struct terms *terms)
{
    const char *const values[][2] = {{"Sec-WebSocket-Accept", terms->accept}, {"Sec-WebSocket-Protocol", terms->protocol},
                                     {"Sec-WebSocket-Extensions", terms->extension}};
    char fields[FIELDS_MAX] = "";
    struct http_place place;
    size_t used = 0;
    int rc;

    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (*values[i][1])
            used += (size_t)snprintf(fields + used, sizeof fields - used, "%s: %s\r\n", values[i][0], values[i][1]);
    rc = exchange_upgrade(http, "websocket", fields, &ws->stream, &place);
    if (rc == 0)
        ws->count = http_place_fold(&place);
    return rc;
}

int ws_upgrade(td_http *http, const td_ws_handler *handler, const td_ws_opts *given, td_ws **out)
{
    td_ws_opts opts = given ? *given : (td_ws_opts){0};
    struct terms terms = {.extension = ""};
    struct ws_endpoint *endpoint;
    td_ws *ws;
    int rc = check(http, &opts, terms.accept);

    if (rc == 0)
        rc = agree(http, &opts, &terms);
    if (rc == 0)
        rc = authenticate(http, &opts);
    if (rc < 0)
        return rc;
    endpoint = endpoint_get(http->server, http->server->loop, handler, &opts, &terms.agreed);
    ws = endpoint ? ws_new(NULL, endpoint, false) : NULL;
    rc = !ws ? -ENOMEM : ws->parked ? 0 : ws_begin_work(ws);
    if (rc == 0)
        rc = switch_protocols(http, ws, &terms);
    if (rc < 0) {
        if (ws)
            ws_end_work(ws);
        free(ws);
        if (endpoint)
            endpoint_put(endpoint);
        return rc;
    }
    endpoint_watch(ws);
    *out = ws;
    return 0;
}
