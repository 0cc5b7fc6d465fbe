/* SPDX-License-Identifier: MIT */
/*
 * A client of HTTP/2 made by hand, for sessions in memory: it sends any frame, well-formed or not, and takes note of the frames
 * that come back. Header fields go as literals, so that nothing stands between a test and the bytes.
 */
#ifndef TANDEM_TESTS_HTTP_H2_PEER_H
#define TANDEM_TESTS_HTTP_H2_PEER_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/h2_session.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define UNUSED __attribute__((unused))

enum { DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8 };

struct bytes {
    uint8_t *at;
    size_t size;
};

static void put(struct bytes *bytes, const void *more, size_t size)
{
    bytes->at = realloc(bytes->at, bytes->size + size + 1);
    assert_non_null(bytes->at);
    if (size)
        memcpy(bytes->at + bytes->size, more, size);
    bytes->size += size;
}

static void put_frame(struct bytes *bytes, int type, int flags, uint32_t id, const void *payload, size_t size)
{
    uint8_t header[9] = {(uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size, (uint8_t)type, (uint8_t)flags,
                         (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};

    put(bytes, header, sizeof header);
    put(bytes, payload, size);
}

UNUSED static void put_word(struct bytes *bytes, int type, int flags, uint32_t id, uint32_t word)
{
    uint8_t payload[4] = {(uint8_t)(word >> 24), (uint8_t)(word >> 16), (uint8_t)(word >> 8), (uint8_t)word};

    put_frame(bytes, type, flags, id, payload, sizeof payload);
}

/* A string of HPACK, plain (RFC 7541, 5.2). */
static void put_string(struct bytes *bytes, const char *text)
{
    size_t size = strlen(text);
    uint8_t length[4] = {(uint8_t)size};
    size_t used = 1;

    if (size >= 127) {
        size_t rest = size - 127;

        length[0] = 127;
        for (; rest >= 128; rest /= 128)
            length[used++] = (uint8_t)(rest % 128 + 128);
        length[used++] = (uint8_t)rest;
    }
    put(bytes, length, used);
    put(bytes, text, size);
}

/* "name\nvalue\nname\nvalue\n..." to a block of literals without indexing. */
static struct bytes block_of(const char *fields)
{
    struct bytes block = {0};
    char *copy = strdup(fields), *at = copy;

    assert_non_null(copy);
    while (*at) {
        char *value = strchr(at, '\n') + 1, *end = strchr(value, '\n');

        value[-1] = *end = '\0';
        put(&block, "", 1);
        put_string(&block, at);
        put_string(&block, value);
        at = end + 1;
    }
    free(copy);
    return block;
}

UNUSED static void put_headers(struct bytes *bytes, uint32_t id, int flags, const char *fields)
{
    struct bytes block = block_of(fields);

    put_frame(bytes, HEADERS, flags | END_HEADERS, id, block.at, block.size);
    free(block.at);
}

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

UNUSED static void put_preface(struct bytes *bytes)
{
    put(bytes, preface, sizeof preface - 1);
    put_frame(bytes, SETTINGS, 0, 0, NULL, 0);
}

#define GET ":method\nGET\n:scheme\nhttp\n:path\n/p?q=1\n:authority\nh\n"
#define POST ":method\nPOST\n:scheme\nhttp\n:path\n/\n:authority\nh\n"

/* What the server's frames say. */
struct heard {
    unsigned frames[16];
    uint32_t last_reset, last_reset_id, goaway, goaway_id;
    size_t data;            /* bytes of DATA */
    uint8_t body[70000];
    unsigned ends;          /* END_STREAM */
    bool has_goaway;
    uint8_t partial[40000];
    size_t have;
};

static uint32_t word_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void hear_frame(struct heard *heard, const uint8_t *frame, size_t size)
{
    uint32_t id = word_at(frame + 5) & 0x7fffffff;
    int type = frame[3];

    assert_true(type < 16);
    heard->frames[type]++;
    if (type <= HEADERS)
        heard->ends += frame[4] & END_STREAM;
    if (type == DATA) {
        for (size_t i = 0; i < size; i++)
            if (heard->data + i < sizeof heard->body)
                heard->body[heard->data + i] = frame[9 + i];
        heard->data += size;
    }
    if (type == RST) {
        heard->last_reset = word_at(frame + 9);
        heard->last_reset_id = id;
    }
    if (type == GOAWAY) {
        heard->has_goaway = true;
        heard->goaway_id = word_at(frame + 9);
        heard->goaway = word_at(frame + 13);
    }
}

/* Takes bytes of the server's. */
static void hear(struct heard *heard, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        size_t step = sizeof heard->partial - heard->have < size ? sizeof heard->partial - heard->have : size, at = 0;

        memcpy(heard->partial + heard->have, bytes, step);
        heard->have += step;
        bytes += step;
        size -= step;
        while (heard->have - at >= 9) {
            const uint8_t *frame = heard->partial + at;
            size_t payload = (size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2];

            if (heard->have - at < 9 + payload)
                break;
            hear_frame(heard, frame, payload);
            at += 9 + payload;
        }
        memmove(heard->partial, heard->partial + at, heard->have - at);
        heard->have -= at;
    }
}

#endif
