/* SPDX-License-Identifier: MIT */
#include "faults/scenarios.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ws/codec.h"
#include "ws/deflate.h"

#define BYTES 30000

static char byte_at(size_t place)
{
    return (char)(place * 2654435761u >> 13);
}

struct server {
    td_listener *listener;
    td_tls *tls;   /* NULL: without */
    td_http_server *http;
    td_scope *scope;
    bool talking;  /* the WebSocket handler has begun */
};

/* Sends everything back until the end. */
static int echo(void *arg)
{
    const struct server *server = arg;
    td_stream *stream;
    char data[4096];
    ssize_t n = td_accept(server->listener, &stream);

    if (n < 0)
        return (int)n;
    n = server->tls ? td_stream_tls_accept(&stream, server->tls) : 0;
    while (n >= 0 && (n = td_stream_read(stream, data, sizeof data)) > 0) {
        ssize_t sent = td_stream_write(stream, data, (size_t)n);

        if (sent != n) {
            n = sent < 0 ? sent : -EPIPE;
            break;
        }
    }
    td_stream_close(stream);
    return (int)n;
}

static int read_back(td_stream *stream)
{
    char data[3000];
    size_t got = 0;
    ssize_t n = 1;

    while (got < BYTES && (n = td_stream_read(stream, data, sizeof data)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            if (!truth(data[i] == byte_at(got + (size_t)i)))
                return -EIO;
        got += (size_t)n;
    }
    return got == BYTES ? 0 : n < 0 ? (int)n : -EPIPE;
}

static int shake_hands(td_stream **stream)
{
    td_tls *tls;
    int rc = td_tls_client(&tls, &(td_tls_client_opts){.ca = CERTIFICATES "/ca.crt"});

    if (rc < 0)
        return rc;
    rc = td_stream_tls_connect(stream, tls, "localhost");
    td_tls_close(tls);
    return rc;
}

static int talk(void *arg)
{
    struct server *server = arg;
    char data[BYTES];
    td_stream *stream;
    ssize_t rc = td_connect(&stream, td_listener_address(server->listener));

    if (rc < 0)
        return (int)rc;
    rc = server->tls ? shake_hands(&stream) : 0;
    if (rc < 0) {
        td_stream_close(stream);
        return (int)rc;
    }
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = byte_at(i);
    rc = td_stream_write(stream, data, sizeof data);
    truth(rc <= (ssize_t)sizeof data);
    rc = rc < 0 ? rc : rc < (ssize_t)sizeof data ? -EPIPE : read_back(stream);
    if (rc == 0)
        rc = td_stream_end(stream);
    td_stream_close(stream);
    return (int)rc;
}

static int talk_through(td_tls *tls)
{
    struct server server = {.tls = tls};
    td_scope scope;
    int rc = td_listen(&server.listener, "127.0.0.1:0", NULL), joined;

    if (rc < 0)
        return rc;
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_sec(2)));  /* without any descriptor ever again, accepting waits */
    rc = td_spawn(&scope, echo, &server);
    if (rc == 0)
        rc = talk(&server);
    if (rc < 0)
        td_scope_cancel(&scope);
    joined = td_scope_join(&scope);
    td_listener_close(server.listener);
    return rc < 0 ? rc : joined;
}

static int stream_all(void *arg)
{
    return talk_through(NULL);
}

static int tls_all(void *arg)
{
    td_tls_certificate ours = {CERTIFICATES "/server.crt", CERTIFICATES "/server.key"};
    td_tls *tls;
    int rc = td_tls_server(&tls, &(td_tls_server_opts){.certificates = &ours, .certificate_count = 1});

    if (rc < 0)
        return rc;
    rc = talk_through(tls);
    td_tls_close(tls);
    return rc;
}

/* Reads until the end or until `enough`, and keeps it as text. Returns what it read or a negative errno. */
static int read_text(td_stream *stream, char *text, size_t size, size_t enough)
{
    size_t got = 0, room = enough < size - 1 ? enough : size - 1;
    ssize_t n = 0;

    while (got < room && (n = td_stream_read(stream, text + got, room - got)) > 0 && truth((size_t)n <= room - got))
        got += (size_t)n;
    text[got] = '\0';
    return n < 0 ? (int)n : (int)got;
}

static int say_back(td_http *http, void *arg)
{
    size_t size;
    const char *body = td_http_body(http, &size);

    return td_http_respond(http, 200, NULL, "text/plain", body, size);
}

/* An answer that is complete is right; one that is not is an error, never a success. */
static int ask(td_stream *stream)
{
    static const char request[] = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    char text[2048];
    ssize_t rc = td_stream_write(stream, request, sizeof request - 1);
    const char *body;

    if (rc != sizeof request - 1)
        return rc < 0 ? (int)rc : -EPIPE;
    rc = read_text(stream, text, sizeof text, sizeof text);
    if (rc < 0)
        return (int)rc;
    if (rc == 0)
        return -EPIPE;
    body = strstr(text, "\r\n\r\n");
    if (!body)
        return -EPROTO;
    if (strncmp(text, "HTTP/1.1 200 ", 13) == 0)
        truth(strcmp(body + 4, "hello") == 0);
    else
        truth(strncmp(text, "HTTP/1.1 50", 11) == 0);
    return strncmp(text, "HTTP/1.1 200 ", 13) == 0 ? 0 : -EPROTO;
}

static int converse(td_http *http, void *arg)
{
    struct server *server = arg;
    td_message message;
    td_ws *ws;
    int rc = td_ws_accept(http, &ws, NULL);

    if (rc < 0)
        return rc;
    server->talking = true;
    while ((rc = td_ws_receive(ws, &message)) > 0) {
        truth(message.size == 5 && memcmp(message.data, "hello", 5) == 0);
        rc = td_ws_send(ws, message.kind, message.data, message.size);
        if (rc < 0)
            break;
    }
    return rc;
}

static int handshake(td_stream *stream)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    char text[1024];
    size_t got = 0;
    ssize_t n = td_stream_write(stream, request, sizeof request - 1);

    if (n != sizeof request - 1)
        return n < 0 ? (int)n : -EPIPE;
    do {
        n = td_stream_read(stream, text + got, 1);
        got += n > 0;
        text[got] = '\0';
    } while (n > 0 && got < sizeof text - 1 && !strstr(text, "\r\n\r\n"));
    if (n <= 0)
        return n < 0 ? (int)n : -EPIPE;
    if (strncmp(text, "HTTP/1.1 101 ", 13) != 0)
        return -EPROTO;
    truth(strstr(text, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") != NULL);
    return 0;
}

/* A masked text frame, its echo, and the close that completes the conversation. */
static int frames(td_stream *stream)
{
    static const char hello[] = "\x81\x85\x00\x00\x00\x00hello", close[] = "\x88\x82\x00\x00\x00\x00\x03\xe8";
    char text[64];
    int rc = handshake(stream);
    ssize_t n;

    if (rc < 0)
        return rc;
    n = td_stream_write(stream, hello, sizeof hello - 1);
    if (n != sizeof hello - 1)
        return n < 0 ? (int)n : -EPIPE;
    rc = read_text(stream, text, sizeof text, 7);
    if (rc < 0)
        return rc;
    if (rc >= 7 && text[0] == '\x81')
        truth(memcmp(text, "\x81\x05hello", 7) == 0);
    else
        return -EPROTO;
    n = td_stream_write(stream, close, sizeof close - 1);
    if (n != sizeof close - 1)
        return n < 0 ? (int)n : -EPIPE;
    rc = read_text(stream, text, sizeof text, sizeof text);
    return rc < 0 ? rc : rc >= 2 && text[0] == '\x88' ? 0 : -EPIPE;
}

static int serve(void *arg)
{
    struct server *server = arg;

    return td_http_server_run(server->http);
}

static int with_server(td_http_handler handler, int (*client)(td_stream *stream))
{
    struct server server = {0};
    td_stream *stream;
    td_scope scope;
    int rc = td_listen(&server.listener, "127.0.0.1:0", NULL);

    if (rc < 0)
        return rc;
    rc = td_http_server_open(&server.http, server.listener, NULL, handler, &server);
    if (rc < 0) {
        td_listener_close(server.listener);
        return rc;
    }
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_sec(3)));
    rc = td_spawn(&scope, serve, &server);
    if (rc == 0)
        rc = td_connect(&stream, td_listener_address(server.listener));
    if (rc == 0) {
        rc = client(stream);
        td_stream_close(stream);
    }
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    td_http_server_close(server.http);
    td_listener_close(server.listener);
    return rc;
}

static int http_all(void *arg)
{
    return with_server(say_back, ask);
}

static int ws_all(void *arg)
{
    return with_server(converse, frames);
}

/* A name, by the loop itself, and by a thread of the names class; and the loop ends with its class open. */
static int look_up(bool system)
{
    td_address found[2];
    int count = td_lookup_with(&(td_lookup_opts){.system = system}, "localhost:80", found, 2);

    truth(count != 0 && count <= 2);
    truth(count < 0 || strcmp(found[0].text, "127.0.0.1:80") == 0 || strcmp(found[0].text, "[::1]:80") == 0);
    return count < 0 ? count : 0;
}

static int lookup_all(void *arg)
{
    int rc = look_up(false), later = look_up(true);

    return rc < 0 ? rc : later;
}

/* Control frames that come in pieces: each is told whole, or the decoder says that there is no memory for it. */
static int decode_pieces(void)
{
    static const uint8_t frames[] = "\x89\x05Hello\x8A\x05" "Again\x88\x02\x03\xE8";
    struct ws_decoder decoder;
    struct ws_event event;
    int told = 0, rc = 0;
    uint8_t byte;
    size_t used;

    ws_decoder_init(&decoder, WS_CLIENT, 100);
    for (size_t i = 0; i < sizeof frames - 1 && rc == 0; i++) {
        byte = frames[i];
        ws_decode(&decoder, &byte, 1, &used, NULL, 0, &event);
        told += event.kind != WS_EVENT_MORE;
        if (event.kind == WS_EVENT_FAIL)
            rc = truth(event.code == WS_CLOSE_INTERNAL) ? -ENOMEM : -EPROTO;
        else if (event.kind == WS_EVENT_PING && !truth(event.size == 5 && memcmp(event.payload, "Hello", 5) == 0))
            rc = -EPROTO;
    }
    ws_decoder_fini(&decoder);
    return rc < 0 ? rc : truth(told == 3) ? 0 : -EPROTO;
}

static int there_and_back(struct ws_deflater *deflater, struct ws_inflater *inflater)
{
    char message[3000], again[sizeof message];
    struct ws_inflate_io io = {.out = (uint8_t *)again, .out_left = sizeof again, .last = true};
    ssize_t rc;

    for (size_t i = 0; i < sizeof message; i++)
        message[i] = byte_at(i % 100);
    rc = ws_deflate(deflater, message, sizeof message, &io.in);
    if (rc < 0)
        return (int)rc;
    io.in_left = (size_t)rc;
    ws_inflater_begin(inflater, sizeof message);
    rc = ws_inflate(inflater, &io);
    if (rc < 0)
        return (int)rc;
    return truth(rc == WS_INFLATE_DONE && io.out_left == 0 && memcmp(message, again, sizeof message) == 0) ? 0 : -EPROTO;
}

/* The WebSocket codec and its compression, of which zlib's memory is a part. */
static int use_codec(void *arg)
{
    struct ws_deflate_shared shared = {.idle = NULL};
    struct ws_deflater *deflater = ws_deflate_shared_deflater(&shared, 10);
    struct ws_inflater *inflater = ws_deflate_shared_borrow(&shared);
    int rc = deflater && inflater ? there_and_back(deflater, inflater) : -ENOMEM;

    ws_deflate_shared_return(&shared, inflater);
    ws_deflate_shared_fini(&shared);
    return rc < 0 ? rc : decode_pieces();
}

const struct scenario scenarios_net[] = {
    {"stream", stream_all},
    {"tls", tls_all, .slow = true},
    {"lookup", lookup_all, .slow = true},
    {"http", http_all, .slow = true},
    {"ws", ws_all, .slow = true},
    {"codec", use_codec},
    {NULL},
};
