/* SPDX-License-Identifier: MIT */
/*
 * A place to fetch from: a listener whose connections each run a script, which reads requests and writes what bytes it likes.
 * It counts what a test wants to know.
 */
#ifndef TANDEM_TESTS_FETCH_PLACE_H
#define TANDEM_TESTS_FETCH_PLACE_H

#include "run/harness.h"

#define HEAD_MAX 16384

struct place {
    td_listener *listener;
    td_scope scope;
    void (*script)(struct place *place, td_stream *stream);
    void *arg;
    td_event open;            /* for scripts that wait until the test lets them */
    unsigned connections, requests, ended;
    char base[100];           /* "http://127.0.0.1:PORT" */
    char head[HEAD_MAX];      /* of the latest request */
    size_t body;              /* bytes of the latest request's body */
    uint32_t body_sum;
};

struct guest {
    struct place *place;
    td_stream *stream;
};

static int say(td_stream *stream, const char *text)
{
    return td_stream_write(stream, text, strlen(text)) < 0 ? -EPIPE : 0;
}

UNUSED static uint32_t sum(uint32_t so_far, const void *data, size_t size)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        so_far = so_far * 31 + bytes[i];
    return so_far;
}

/* Reads up to the head's end, byte by byte: what follows is the body's. */
static bool read_head(struct place *place, td_stream *stream)
{
    size_t used = 0;

    while (used + 1 < sizeof place->head) {
        if (td_stream_read(stream, place->head + used, 1) != 1)
            return false;
        place->head[++used] = '\0';
        if (used >= 4 && memcmp(place->head + used - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static bool read_bytes(struct place *place, td_stream *stream, size_t left)
{
    char piece[4096];

    while (left > 0) {
        ssize_t n = td_stream_read(stream, piece, left < sizeof piece ? left : sizeof piece);

        if (n <= 0)
            return false;
        place->body_sum = sum(place->body_sum, piece, (size_t)n);
        place->body += (size_t)n;
        left -= (size_t)n;
    }
    return true;
}

static bool read_line(td_stream *stream, char *line, size_t size)
{
    size_t used = 0;

    while (used + 1 < size && td_stream_read(stream, line + used, 1) == 1)
        if (line[used++] == '\n') {
            line[used] = '\0';
            return true;
        }
    return false;
}

static bool read_chunks(struct place *place, td_stream *stream)
{
    char line[100];
    size_t size;

    do {
        if (!read_line(stream, line, sizeof line))
            return false;
        size = strtoul(line, NULL, 16);
        if (!read_bytes(place, stream, size) || !read_line(stream, line, sizeof line))
            return false;
    } while (size > 0);
    return true;
}

/* Reads one request, body included. False when there is none any more. */
static bool hear(struct place *place, td_stream *stream)
{
    const char *length;

    if (!read_head(place, stream))
        return false;
    place->body = 0;
    place->body_sum = 0;
    place->requests++;
    if (strcasestr(place->head, "\r\nTransfer-Encoding: chunked\r\n"))
        return read_chunks(place, stream);
    length = strcasestr(place->head, "\r\nContent-Length:");
    return !length || read_bytes(place, stream, strtoul(length + strlen("\r\nContent-Length:"), NULL, 10));
}

static int receive_guest(void *arg)
{
    struct guest *guest = arg;

    guest->place->script(guest->place, guest->stream);
    td_stream_close(guest->stream);
    guest->place->ended++;
    free(guest);
    return 0;
}

static int keep_open(void *arg)
{
    struct place *place = arg;
    td_stream *stream;

    while (td_accept(place->listener, &stream) == 0) {
        struct guest *guest = malloc(sizeof *guest);

        if (!guest || (*guest = (struct guest){place, stream}, td_spawn(&place->scope, receive_guest, guest) < 0))
            return -ENOMEM;
        place->connections++;
    }
    return 0;
}

UNUSED static bool place_open(struct place *place, void (*script)(struct place *place, td_stream *stream))
{
    *place = (struct place){.script = script};
    td_event_init(&place->open);
    if (!expect_int(td_listen(&place->listener, "127.0.0.1:0", NULL), 0))
        return false;
    snprintf(place->base, sizeof place->base, "http://%s", td_listener_address(place->listener));
    td_scope_open(&place->scope);
    td_scope_collect(&place->scope);
    return expect_int(td_spawn(&place->scope, keep_open, place), 0);
}

UNUSED static void place_close(struct place *place)
{
    td_scope_cancel(&place->scope);
    td_scope_join(&place->scope);
    td_listener_close(place->listener);
}

/* Fetches PATH of the place. Options may be NULL. */
UNUSED static int fetch(struct place *place, td_http_response **response, const char *path, td_http_fetch_opts *opts)
{
    td_http_fetch_opts plain = {0};
    char url[300];

    opts = opts ? opts : &plain;
    opts->proxy = opts->proxy ? opts->proxy : "";  /* whatever the environment says */
    snprintf(url, sizeof url, "%s%s", place->base, path);
    return td_http_fetch(response, url, opts);
}

/* Fetches what must fail. */
UNUSED static int fail_to_fetch(struct place *place, const char *path, td_http_fetch_opts *opts)
{
    td_http_response *response = (void *)place;
    int rc = fetch(place, &response, path, opts);

    if (!expect(response == NULL))
        td_http_response_free(response);
    return rc;
}

#endif
