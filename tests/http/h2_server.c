/* SPDX-License-Identifier: MIT */
/*
 * A server for clients that others wrote: h2_server BACKEND [SEND_MS BODY_MS IDLE_MS [stream]]. Prints the address it listens on,
 * and serves until standard input ends. With H2_CERTIFICATE and H2_KEY in its environment it speaks TLS.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem.h"

#define PIECE 10000

struct office {
    td_http_server *server;
    td_http_opts opts;
    unsigned running, gone;
};

static int respond_stats(td_http *http, struct office *office)
{
    td_http_stats stats;
    char body[1024];
    int n;

    td_http_server_statistics(office->server, &stats);
    n = snprintf(body, sizeof body,
                 "{\"running\":%u,\"gone\":%u,\"connections\":%zu,\"http2\":%llu,\"floods\":%llu,\"refused\":%llu,"
                 "\"requests\":%llu,\"timeouts_send\":%llu,\"timeouts_body\":%llu,\"timeouts_idle\":%llu,\"flood\":{",
                 office->running, office->gone, stats.connections, stats.http2, stats.http2_floods, stats.http2_refused,
                 stats.requests, stats.timeouts_send, stats.timeouts_body, stats.timeouts_idle);
    for (unsigned i = 0; i < TD_HTTP2_FLOODS; i++)
        n += snprintf(body + n, sizeof body - (size_t)n, "%s\"%s\":%llu", i ? "," : "", td_http2_flood_name(i),
                      stats.http2_flood[i]);
    n += snprintf(body + n, sizeof body - (size_t)n, "}}\n");
    return td_http_respond(http, 200, NULL, "application/json", body, (size_t)n);
}

static int respond_large(td_http *http)
{
    char text[32] = "0", piece[PIECE];
    long long left, size;
    int rc;

    (void)td_http_query(http, "size", text, sizeof text);
    left = size = strtoll(text, NULL, 10);
    memset(piece, 'x', sizeof piece);
    if (td_http_query(http, "chunked", text, sizeof text) >= 0)
        size = -1;
    rc = td_http_begin(http, &(td_http_answer){.type = "text/plain", .size = size});
    while (rc == 0 && left > 0) {
        size_t step = left < PIECE ? (size_t)left : PIECE;

        rc = td_http_write(http, piece, step);
        left -= (long long)step;
    }
    return rc == 0 ? td_http_end(http, "X-Left: 0\r\n") : rc;
}

static int respond_echo(td_http *http, const struct office *office)
{
    char piece[PIECE];
    size_t size;
    ssize_t n;
    int rc;

    if (!office->opts.stream_bodies) {
        const char *body = td_http_body(http, &size);

        return td_http_respond(http, 200, NULL, "application/octet-stream", body, size);
    }
    rc = td_http_begin(http, &(td_http_answer){.size = -1});
    while (rc == 0 && (n = td_http_read(http, piece, sizeof piece)) != 0)
        rc = n < 0 ? (int)n : td_http_write(http, piece, (size_t)n);
    return rc == 0 ? td_http_end(http, NULL) : rc;
}

/* Waits until the client has left. */
static int wait_gone(td_http *http, struct office *office)
{
    td_case cases[] = {td_on_gone(http)};
    size_t which;
    int rc = td_select(cases, 1, &which);

    office->gone += rc == 0;
    return rc < 0 ? rc : td_http_respond(http, 200, NULL, NULL, NULL, 0);
}

static int echo_messages(td_http *http)
{
    td_message message;
    td_ws *ws;
    int rc = td_ws_accept(http, &ws, NULL);

    while (rc >= 0 && (rc = td_ws_receive(ws, &message)) > 0)
        rc = td_ws_send(ws, message.kind, message.data, message.size);
    return rc;
}

static int route(td_http *http, struct office *office)
{
    const char *path = td_http_path(http);
    char text[200];
    int n;

    if (strcmp(path, "/stats") == 0)
        return respond_stats(http, office);
    if (strcmp(path, "/large") == 0)
        return respond_large(http);
    if (strcmp(path, "/echo") == 0)
        return respond_echo(http, office);
    if (strcmp(path, "/wait") == 0)
        return wait_gone(http, office);
    if (strcmp(path, "/ws") == 0)
        return echo_messages(http);
    if (strcmp(path, "/fail") == 0)
        return -EIO;
    if (strcmp(path, "/half") == 0) {
        int rc = td_http_begin(http, &(td_http_answer){.size = 100});

        return rc < 0 ? rc : td_http_write(http, "half", 4);
    }
    if (strcmp(path, "/hello") != 0)
        return td_http_respond(http, 404, NULL, "text/plain", "nothing here\n", 13);
    n = snprintf(text, sizeof text, "hello over %d at %s://%s\n", td_http_version(http), td_http_scheme(http),
                 td_http_field(http, "host"));
    return td_http_respond(http, 200, "X-Kind: test\r\nConnection: keep-alive\r\n", "text/plain", text, (size_t)n);
}

static int handler(td_http *http, void *arg)
{
    struct office *office = arg;
    int rc;

    office->running++;
    rc = route(http, office);
    office->running--;
    return rc;
}

static int serve(void *arg)
{
    return td_http_server_run(((struct office *)arg)->server);
}

/* "drain" drains; the end of standard input ends it. */
static int obey(struct office *office)
{
    char line[16];
    td_fd *input;
    int rc = td_fd_adopt(&input, 0);

    if (rc < 0)
        return rc;
    while ((rc = (int)td_fd_read(input, line, sizeof line)) > 0)
        td_http_server_drain(office->server);
    td_fd_close(input);
    return rc;
}

static int office_main(void *arg)
{
    struct office *office = arg;
    td_tls_certificate certificate = {.chain = getenv("H2_CERTIFICATE"), .key = getenv("H2_KEY")};
    td_tls_server_opts tls = {.certificates = &certificate, .certificate_count = 1, .alpn = "h2, http/1.1"};
    td_listener *listener;
    td_scope scope;
    int rc = td_listen(&listener, "127.0.0.1:0", NULL);

    if (rc == 0 && certificate.chain)
        rc = td_tls_server(&office->opts.tls, &tls);
    if (rc == 0)
        rc = td_http_server_open(&office->server, listener, &office->opts, handler, office);
    if (rc < 0)
        return rc;
    printf("%s\n", td_listener_address(listener));
    fflush(stdout);
    td_scope_open(&scope);
    td_spawn(&scope, serve, office);
    rc = obey(office);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    td_http_server_close(office->server);
    td_listener_close(listener);
    if (office->opts.tls)
        td_tls_close(office->opts.tls);
    return rc;
}

int main(int argc, char **argv)
{
    struct office office = {0};
    td_opts opts = {.backend = argc > 1 && strcmp(argv[1], "epoll") == 0 ? TD_BACKEND_EPOLL : TD_BACKEND_AUTO};
    int rc;

    if (argc > 4) {
        office.opts.send_timeout = td_ms(strtol(argv[2], NULL, 10));
        office.opts.body_timeout = td_ms(strtol(argv[3], NULL, 10));
        office.opts.idle_timeout = td_ms(strtol(argv[4], NULL, 10));
    }
    office.opts.stream_bodies = argc > 5;
    office.opts.body_bytes_max = argc > 5 ? 8 << 20 : 256 << 10;
    rc = td_run_with(&opts, office_main, &office);
    if (rc < 0)
        fprintf(stderr, "h2_server: %s\n", td_strerror(rc));
    return rc < 0;
}
