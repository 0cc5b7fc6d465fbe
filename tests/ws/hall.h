/* SPDX-License-Identifier: MIT */
/*
 * A server of parked WebSockets and its clients, on one loop. Each connection has a guest; what happened to all of them is
 * counted. Messages are echoed, but for these: "fail" fails, "wait" waits until it is let go, "close" closes with 4000.
 */
#ifndef TANDEM_TESTS_WS_HALL_H
#define TANDEM_TESTS_WS_HALL_H

#include "run/harness.h"
#include "ws/connection.h"

#define GUESTS_MAX 16

struct hall;

struct guest {
    struct hall *hall;
    td_ws *ws;                /* the server's end; NULL before it opened and after it closed */
    unsigned messages, closes;
    uint16_t code;
    char reason[WS_CONTROL_MAX];
};

struct hall {
    td_ws_opts opts;
    td_http_opts http;
    td_listener *listener;
    td_http_server *server;
    td_scope scope;
    td_handle server_task;
    struct guest guest[GUESTS_MAX];
    unsigned guests;          /* that came */
    unsigned refused;         /* handshakes */
    int open_rc;              /* what on_open returns */
    bool conversation;        /* the other shape */
    bool shared;              /* each message lay in shared memory */
    unsigned waiting;         /* handlers */
    td_event go;
    char url[128];
    size_t tasks;             /* of the loop, before anybody came */
};

static int guest_opens(td_ws *ws, void *arg)
{
    struct guest *guest = arg;

    guest->ws = ws;
    return guest->hall->open_rc;
}

static int guest_says(td_ws *ws, td_message *message, void *arg)
{
    struct guest *guest = arg;
    struct hall *hall = guest->hall;

    guest->messages++;
    hall->shared = td_shared_has(message->data, message->size);
    expect_int(message->data[message->size], 0);
    if (strcmp(message->data, "fail") == 0)
        return -EIO;
    if (strcmp(message->data, "close") == 0)
        td_ws_close(ws, 4000, "as you wish", false);
    if (strcmp(message->data, "wait") == 0) {
        int rc;

        hall->waiting++;
        rc = td_event_wait(&hall->go);
        hall->waiting--;
        if (rc < 0)
            return rc;
    }
    return td_ws_send(ws, message->kind, message->data, message->size);
}

static void guest_leaves(td_ws *ws, uint16_t code, const char *reason, void *arg)
{
    struct guest *guest = arg;

    expect(!guest->ws || guest->ws == ws);
    guest->ws = NULL;
    guest->closes++;
    guest->code = code;
    snprintf(guest->reason, sizeof guest->reason, "%s", reason);
}

static const td_ws_handler hall_handler = {guest_opens, guest_says, guest_leaves};

static int hall_converse(td_http *http, struct hall *hall)
{
    struct guest *guest = &hall->guest[hall->guests];
    td_message message;
    int rc = td_ws_accept(http, &guest->ws, &hall->opts);

    if (rc < 0)
        return rc;
    hall->guests++;
    while ((rc = td_ws_receive(guest->ws, &message)) > 0 && (rc = guest_says(guest->ws, &message, guest)) >= 0)
        ;
    guest->ws = NULL;
    return rc;
}

static int hall_handle(td_http *http, void *arg)
{
    struct hall *hall = arg;
    struct guest *guest = &hall->guest[hall->guests % GUESTS_MAX];
    int rc;

    if (hall->guests < GUESTS_MAX || guest->closes)
        *guest = (struct guest){.hall = hall};
    if (hall->conversation)
        return hall_converse(http, hall);
    rc = td_ws_serve(http, &hall_handler, &hall->opts, guest);
    hall->guests += rc == 0;
    hall->refused += rc < 0;
    return rc == -EPROTO || rc == -EACCES ? 0 : rc;
}

static int hall_serve(void *arg)
{
    return td_http_server_run(((struct hall *)arg)->server);
}

static size_t tasks_now(void)
{
    td_loop_stats stats;

    td_loop_statistics(&stats);
    return stats.tasks;
}

static bool hall_open(struct hall *hall)
{
    if (!expect_int(td_listen(&hall->listener, "127.0.0.1:0", NULL), 0))
        return false;
    td_event_init(&hall->go);
    expect_int(td_http_server_open(&hall->server, hall->listener, &hall->http, hall_handle, hall), 0);
    td_scope_open(&hall->scope);
    td_spawn_with(&hall->scope, &(td_spawn_opts){.handle = &hall->server_task}, hall_serve, hall);
    settle();
    hall->tasks = tasks_now();
    snprintf(hall->url, sizeof hall->url, "%s://%s/", hall->http.tls ? "wss" : "ws",
             td_listener_address(hall->listener));
    return true;
}

/* Ends the server, and whoever is left. */
UNUSED static void hall_close(struct hall *hall)
{
    (void)td_cancel(hall->server_task);
    td_scope_join(&hall->scope);
    expect(list_empty(&hall->server->ws_endpoints));
    td_http_server_close(hall->server);
    td_listener_close(hall->listener);
}

UNUSED static void expect_echo(td_ws *ws, td_ws_kind kind, const char *text, size_t size)
{
    td_message message;

    expect_int(td_ws_send(ws, kind, text, size), 0);
    if (!expect_int(td_ws_receive(ws, &message), 1))
        return;
    expect_int(message.kind, kind);
    expect_int(message.size, size);
    expect(message.size == size && memcmp(message.data, text, size) == 0);
}

/* A connection whose bytes the test writes itself, its handshake done. NULL when that failed. */
UNUSED static td_stream *hall_raw(struct hall *hall)
{
    static const char ask[] = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    td_stream *stream;
    char text[512] = {0};
    size_t have = 0;

    if (!expect_int(td_connect(&stream, td_listener_address(hall->listener)), 0))
        return NULL;
    expect_int(td_stream_write(stream, ask, sizeof ask - 1), sizeof ask - 1);
    while (!strstr(text, "\r\n\r\n") && have + 1 < sizeof text) {
        ssize_t n = td_stream_read(stream, text + have, 1);

        if (!expect_int(n, 1))
            break;
        have++;
    }
    expect(strncmp(text, "HTTP/1.1 101 ", 13) == 0);
    return stream;
}

#endif
