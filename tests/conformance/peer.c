/* SPDX-License-Identifier: MIT */
/*
 * What `tandem serve` has no endpoint or flag for, by public headers: short timeouts, small limits, slow and failing handlers,
 * and WebSockets in the shape of messages. It is started and stopped as `tandem serve` is:
 *
 *     peer serve --listen ADDRESS [--backend uring|epoll] [--NAME NUMBER]...
 *
 * NAME: head-ms, body-ms, idle-ms, send-ms, head-bytes, body-bytes, rate, connections, requests, message-bytes, ping-ms; and
 * --deflate off|shared|own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tandem.h>

enum { PIECE = 16384 };

struct office {
    const char *address;
    td_http_server *server;
    td_http_opts http;
    td_ws_opts ws;
};

static int respond_metrics(td_http *http, const struct office *office)
{
    td_http_stats stats;
    char text[200];
    int size;

    td_http_server_statistics(office->server, &stats);
    size = snprintf(text, sizeof text, "# HELP tandem_connections Open now.\n# TYPE tandem_connections gauge\n"
                    "tandem_connections %zu\n", stats.connections);
    return td_http_respond(http, 200, NULL, "text/plain; version=0.0.4", text, (size_t)size);
}

/* As many bytes as the query asks for. */
static int respond_large(td_http *http)
{
    static const char piece[PIECE];
    char text[24] = "0";
    unsigned long long left;
    int rc;

    (void)td_http_query(http, "size", text, sizeof text);
    left = strtoull(text, NULL, 10);
    rc = td_http_begin(http, &(td_http_answer){.type = "application/octet-stream", .size = (int64_t)left});
    while (rc == 0 && left > 0) {
        size_t step = left < PIECE ? (size_t)left : PIECE;

        rc = td_http_write(http, piece, step);
        left -= step;
    }
    return rc == 0 ? td_http_end(http, NULL) : rc;
}

static int converse(td_http *http, const td_ws_opts *opts)
{
    td_message message;
    td_ws *ws;
    int rc = td_ws_accept(http, &ws, opts);

    if (rc < 0)
        return 0;   /* it has been answered, or is gone */
    while ((rc = td_ws_receive(ws, &message)) > 0) {
        if (message.size == 4 && memcmp(message.data, "fail", 4) == 0)
            return -EIO;
        rc = td_ws_send(ws, message.kind, message.data, message.size);
        if (rc < 0)
            break;
    }
    return rc;
}

static int echo(td_ws *ws, td_message *message, void *arg)
{
    (void)arg;
    if (message->size == 4 && memcmp(message->data, "fail", 4) == 0)
        return -EIO;
    return td_ws_send(ws, message->kind, message->data, message->size);
}

static const td_ws_handler parked = {.on_message = echo};

static int route(td_http *http, void *arg)
{
    struct office *office = arg;
    const char *path = td_http_path(http);
    size_t size;

    if (strcmp(path, "/healthz") == 0)
        return td_http_respond(http, 200, NULL, "text/plain", "ok", 2);
    if (strcmp(path, "/metrics") == 0)
        return respond_metrics(http, office);
    if (strcmp(path, "/large") == 0)
        return respond_large(http);
    if (strcmp(path, "/post") == 0) {
        const char *body = td_http_body(http, &size);

        return td_http_respond(http, 200, NULL, "application/octet-stream", body, size);
    }
    if (strcmp(path, "/fail") == 0)
        return -EIO;
    if (strcmp(path, "/echo") == 0)
        return converse(http, &office->ws);
    if (strcmp(path, "/parked") == 0) {
        (void)td_ws_serve(http, &parked, &office->ws, NULL);
        return 0;
    }
    return td_http_respond(http, 404, NULL, "text/plain", "nothing here", 12);
}

static int office_main(void *arg)
{
    struct office *office = arg;
    td_listener *listener;
    int rc = td_listen(&listener, office->address, NULL);

    if (rc < 0)
        return rc;
    rc = td_http_server_open(&office->server, listener, &office->http, route, office);
    if (rc == 0) {
        printf("tandem: listening on http://%s\n", td_listener_address(listener));
        fflush(stdout);
        rc = td_http_server_run(office->server);
        td_http_server_close(office->server);
    }
    td_listener_close(listener);
    return rc == -ECANCELED ? 0 : rc;
}

/* Takes one option and its number. False when there is none of that name. */
static bool take(struct office *office, td_opts *opts, const char *name, const char *value)
{
    unsigned long long number = strtoull(value, NULL, 10);
    const struct { const char *name; td_time *time; } times[] = {
        {"head-ms", &office->http.head_timeout}, {"body-ms", &office->http.body_timeout},
        {"idle-ms", &office->http.idle_timeout}, {"send-ms", &office->http.send_timeout}, {"ping-ms", &office->ws.idle_ping}};
    const struct { const char *name; size_t *size; } sizes[] = {
        {"head-bytes", &office->http.head_bytes_max}, {"body-bytes", &office->http.body_bytes_max},
        {"rate", &office->http.rate_min}, {"connections", &office->http.connections_max}};

    if (strcmp(name, "listen") == 0) {
        office->address = value;
        return true;
    }
    if (strcmp(name, "backend") == 0) {
        opts->backend = strcmp(value, "uring") == 0 ? TD_BACKEND_URING : TD_BACKEND_EPOLL;
        return true;
    }
    if (strcmp(name, "deflate") == 0) {
        office->ws.deflate = strcmp(value, "own") == 0 ? TD_WS_DEFLATE_OWN :
                             strcmp(value, "shared") == 0 ? TD_WS_DEFLATE_SHARED : TD_WS_DEFLATE_OFF;
        return true;
    }
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (strcmp(name, times[i].name) == 0)
            return *times[i].time = td_ms((int64_t)number), true;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (strcmp(name, sizes[i].name) == 0)
            return *sizes[i].size = (size_t)number, true;
    if (strcmp(name, "requests") == 0)
        return office->http.requests_max = (unsigned)number, true;
    if (strcmp(name, "message-bytes") == 0)
        return office->ws.message_bytes_max = number, true;
    return false;
}

int main(int argc, char **argv)
{
    struct office office = {.address = "127.0.0.1:0"};
    td_opts opts = {.stall_after = TD_FOREVER};
    int rc;

    for (int i = 2; i + 1 < argc; i += 2) {
        if (strncmp(argv[i], "--", 2) != 0 || !take(&office, &opts, argv[i] + 2, argv[i + 1])) {
            fprintf(stderr, "peer: there is no option %s\n", argv[i]);
            return 2;
        }
    }
    rc = td_run_with(&opts, office_main, &office);
    if (rc < 0 && rc != -ECANCELED)
        fprintf(stderr, "peer: %s\n", td_strerror(rc));
    return rc < 0 && rc != -ECANCELED;
}
