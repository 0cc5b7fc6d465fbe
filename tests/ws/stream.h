/* SPDX-License-Identifier: MIT */
/*
 * Streams and what a decoder makes of them.
 *
 * A stream is written as a server sends it, unmasked; mask_stream makes a client's stream of it. What was decoded is
 * told as a line: `ping(Hello) text(Hi) close(1000 bye)`, and `part(He)` for an unfinished message.
 */
#ifndef TANDEM_TESTS_WS_STREAM_H
#define TANDEM_TESTS_WS_STREAM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ws/codec.h"

#define STREAM(literal) (const uint8_t *)(literal), sizeof(literal) - 1
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ROOM 300000u       /* bytes: more than any stream here */
#define TALE_MAX 20000
#define IN_PLACE SIZE_MAX  /* an out_size: write over the input */
#define WHOLE (SIZE_MAX - 1)  /* the same, and the short way for messages that came whole */

struct random {
    uint64_t state;
};

/* splitmix64 */
static uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static size_t random_below(struct random *random, size_t limit)
{
    return (size_t)(random_next(random) % limit);
}

struct tale {
    char line[TALE_MAX];
    size_t size;
};

static void tell(struct tale *tale, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct tale *tale, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    tale->size += (size_t)vsnprintf(tale->line + tale->size, TALE_MAX - tale->size, format, args);
    va_end(args);
    assert_true(tale->size < TALE_MAX);
}

/* Short payloads in full, long ones as size and FNV-1a hash. */
static void tell_payload(struct tale *tale, const char *what, const uint8_t *bytes, size_t size)
{
    uint64_t hash = 0xCBF29CE484222325u;

    tell(tale, "%s%s(", tale->size > 0 ? " " : "", what);
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001B3u;
        if (size <= 32)
            tell(tale, bytes[i] > ' ' && bytes[i] < 0x7F ? "%c" : "\\x%02x", bytes[i]);
    }
    if (size > 32)
        tell(tale, "%zu bytes, %016llx", size, (unsigned long long)hash);
    tell(tale, ")");
}

struct receiver {
    struct ws_decoder decoder;
    struct tale tale;
    uint8_t message[ROOM];
    size_t message_size;
    enum ws_opcode opcode;
    bool open, over;
    const char *why;
};

static struct receiver *receiver_new(enum ws_side side, uint64_t message_max)
{
    struct receiver *r = test_calloc(1, sizeof *r);

    ws_decoder_init(&r->decoder, side, message_max);
    return r;
}

static void receiver_free(struct receiver *r)
{
    ws_decoder_fini(&r->decoder);
    test_free(r);
}

static void on_data(struct receiver *r, const struct ws_event *event, const uint8_t *out)
{
    assert_int_equal(event->begin, !r->open);
    assert_true(event->size > 0 || event->end);
    if (event->begin)
        r->opcode = event->opcode;
    assert_int_equal(event->opcode, r->opcode);
    assert_true(event->size <= ROOM - r->message_size);
    memcpy(r->message + r->message_size, out, event->size);
    r->message_size += event->size;
    r->open = !event->end;
    if (!event->end)
        return;
    tell_payload(&r->tale, event->opcode == WS_TEXT ? "text" : "binary", r->message, r->message_size);
    r->message_size = 0;
}

static void on_event(struct receiver *r, const struct ws_event *event, const uint8_t *out)
{
    if (event->kind == WS_EVENT_MORE)
        return;
    assert_false(r->over);
    r->over = event->kind == WS_EVENT_CLOSE || event->kind == WS_EVENT_FAIL;
    if (event->kind == WS_EVENT_DATA)
        on_data(r, event, out);
    else if (event->kind == WS_EVENT_PING || event->kind == WS_EVENT_PONG)
        tell_payload(&r->tale, event->kind == WS_EVENT_PING ? "ping" : "pong", event->payload, event->size);
    else
        tell(&r->tale, "%s%s(%d%s%.*s)", r->tale.size > 0 ? " " : "", event->kind == WS_EVENT_FAIL ? "fail" : "close",
             event->code, event->size > 0 ? " " : "", (int)event->size, (const char *)event->payload);
    r->why = event->why;
}

/* Reads one event; returns where its data is. */
static uint8_t *decode_one(struct receiver *r, uint8_t *in, size_t size, size_t *used, uint8_t *room, size_t out_size,
                           struct ws_event *event)
{
    if (out_size == WHOLE && ws_decode_whole(&r->decoder, in, size, used, event)) {
        assert_true(event->kind == WS_EVENT_FAIL || (event->begin && event->end && in[event->size] == 0));
        return in;
    }
    if (out_size < WHOLE) {
        ws_decode(&r->decoder, in, size, used, room, out_size, event);
        return room;
    }
    ws_decode(&r->decoder, in, size, used, in, size, event);
    return in;
}

/* Feeds one piece, from and to memory of exactly that size, so that the sanitizer sees a byte too many. */
static void receive(struct receiver *r, const uint8_t *bytes, size_t size, size_t out_size)
{
    uint8_t *in = malloc(size), *room = malloc(out_size >= WHOLE ? 1 : out_size), *out;
    struct ws_event event;
    size_t used;

    assert_true(in != NULL && room != NULL);
    memcpy(in, bytes, size);
    for (size_t at = 0; at < size; at += used) {
        out = decode_one(r, in + at, size - at, &used, room, out_size, &event);
        assert_true(used > 0 && used <= size - at);
        assert_true(event.kind != WS_EVENT_MORE || used == size - at);
        on_event(r, &event, out);
    }
    free(in);
    free(room);
}

/* How a stream is fed: `cut` bytes, then `piece` bytes at a time; with `random`, up to that, and random room. */
struct manner {
    size_t cut, piece, out_size;
    struct random *random;
};

static void tells(enum ws_side side, uint64_t message_max, const uint8_t *bytes, size_t size, struct manner manner,
                  const char *tale, const char *why)
{
    struct receiver *r = receiver_new(side, message_max);
    size_t out_size = manner.out_size;

    receive(r, bytes, manner.cut, out_size);
    for (size_t at = manner.cut, n; at < size; at += n) {
        n = manner.random != NULL ? 1 + random_below(manner.random, manner.piece) : manner.piece;
        n = n < size - at ? n : size - at;
        if (manner.random != NULL && (out_size = random_below(manner.random, 300)) == 0)
            out_size = random_below(manner.random, 2) == 0 ? IN_PLACE : WHOLE;
        receive(r, bytes + at, n, out_size);
    }
    if (r->open && !r->over)
        tell_payload(&r->tale, "part", r->message, r->message_size);
    if (strcmp(r->tale.line, tale) != 0)
        print_error("side %d, cut %zu, piece %zu, out %zu:\n", side, manner.cut, manner.piece, manner.out_size);
    assert_string_equal(r->tale.line, tale);
    if (why != NULL && (r->why == NULL || strstr(r->why, why) == NULL))
        fail_msg("the reason is not \"%s\" but: %s", why, r->why != NULL ? r->why : "none");
    receiver_free(r);
}

/* Adds a frame with its length in the shortest form. */
static void add_frame(uint8_t *bytes, size_t *size, uint8_t first, const uint8_t *payload, size_t payload_size)
{
    size_t extra = payload_size < 126 ? 0 : payload_size < 65536 ? 2 : 8;
    uint8_t *to = bytes + *size;

    assert_true(*size + payload_size + 10 <= ROOM);
    to[0] = first;
    to[1] = (uint8_t)(extra == 0 ? payload_size : extra == 2 ? 126 : 127);
    for (size_t i = 0; i < extra; i++)
        to[2 + i] = (uint8_t)((uint64_t)payload_size >> 8 * (extra - 1 - i));
    memcpy(to + 2 + extra, payload, payload_size);
    *size += 2 + extra + payload_size;
}

/* Masks every frame of a stream, each with a mask of its own; returns the new size. Frames may be flawed or cut off. */
static size_t mask_stream(const uint8_t *in, size_t size, uint8_t *out)
{
    struct random random = {size};
    size_t at = 0, to = 0, header;

    for (uint64_t length; at < size; to += header + 4) {
        uint64_t word = random_next(&random);
        uint8_t *mask;

        assert_true(size - at >= 2 && in[at + 1] < 0x80);
        header = in[at + 1] == 127 ? 10 : in[at + 1] == 126 ? 4 : 2;
        if (header > size - at) {  /* cut off: the mask never comes */
            memcpy(out + to, in + at, size - at);
            out[to + 1] |= 0x80;
            return to + size - at;
        }
        length = header == 2 ? in[at + 1] : 0;
        for (size_t i = 2; i < header; i++)
            length = length << 8 | in[at + i];
        mask = memcpy(out + to + header, &word, 4);
        memcpy(out + to, in + at, header);
        out[to + 1] |= 0x80;
        at += header;
        for (uint64_t i = 0; i < length && at < size; i++, to++)
            mask[4 + i] = in[at++] ^ mask[i % 4];
    }
    return to;
}

struct stream {
    const uint8_t *bytes;
    size_t size;
    const char *tale;
    const char *why;  /* part of the reason for a failure */
    uint64_t message_max;
};

/* The tale must be the same on both sides, whatever the cuts, whatever the room. */
static void check_on(enum ws_side side, const struct stream *s)
{
    uint64_t message_max = s->message_max > 0 ? s->message_max : ROOM;

    for (size_t cut = 0; cut <= s->size && cut <= 50; cut++)
        tells(side, message_max, s->bytes, s->size, (struct manner){cut, SIZE_MAX, 1000}, s->tale, s->why);
    for (size_t out_size = 1; out_size <= 4; out_size++)
        tells(side, message_max, s->bytes, s->size, (struct manner){0, SIZE_MAX, out_size}, s->tale, s->why);
    tells(side, message_max, s->bytes, s->size, (struct manner){0, 1, 1}, s->tale, s->why);
    tells(side, message_max, s->bytes, s->size, (struct manner){0, SIZE_MAX, IN_PLACE}, s->tale, s->why);
    tells(side, message_max, s->bytes, s->size, (struct manner){0, 7, IN_PLACE}, s->tale, s->why);
    tells(side, message_max, s->bytes, s->size, (struct manner){0, SIZE_MAX, WHOLE}, s->tale, s->why);
    tells(side, message_max, s->bytes, s->size, (struct manner){0, 9, WHOLE}, s->tale, s->why);
}

static void check(const struct stream *stream)
{
    uint8_t *masked = test_malloc(ROOM);
    struct stream from_client = *stream;

    from_client.bytes = masked;
    from_client.size = mask_stream(stream->bytes, stream->size, masked);
    check_on(WS_CLIENT, stream);
    check_on(WS_SERVER, &from_client);
    test_free(masked);
}

/* A stream that fails does so at its very last byte, and not before; whatever follows changes nothing. */
static void check_failure(const struct stream *stream)
{
    struct receiver *r = receiver_new(WS_CLIENT, stream->message_max > 0 ? stream->message_max : ROOM);

    check(stream);
    receive(r, stream->bytes, stream->size - 1, ROOM);
    assert_false(r->over);
    receive(r, stream->bytes + stream->size - 1, 1, ROOM);
    assert_true(r->over);
    receive(r, STREAM("\x81\x05" "Hello\x88\x00"), ROOM);
    receiver_free(r);
}

#endif
