/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target for a session of HTTP/2: any bytes behind the preface, cut anywhere. The first eight bytes of the input are the
 * sizes of the pieces, over and over; the next says what the server does. Whole and in pieces, what is told is consistent, what
 * is answered is bounded, and nothing is left.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/h2_session.h"

#define CUTS 8
#define STREAMS 8

enum does { ANSWERS = 1, CONSUMES = 2, HOLDS_BACK = 4, RESETS = 8, DRAINS = 16, TRAILS = 32 };

/* Small, so that the fuzzer meets every one of them. */
static const struct h2_limits limits = {.streams_max = STREAMS, .head_bytes_max = 400, .fields_max = 8, .window = 300};

struct world {
    struct h2_session *session;
    unsigned does;
    size_t open, serving, sent;
    td_time now;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert, in every build. */
static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static void request(struct h2_session *session, struct h2_stream *stream)
{
    struct world *world = session->owner;

    must(!stream->owner && !stream->over, "a request is told once");
    must(http_method(&stream->head)[0] != '\0' || stream->fault.status, "a request has a method");
    must(stream->fault.status || http_field(&stream->head, "host"), "a request has a host");
    must(!http_field(&stream->head, "connection") && !http_field(&stream->head, "transfer-encoding"), "nothing of HTTP/1.1");
    must(strpbrk(http_target(&stream->head), "\r\n") == NULL, "a target is one line");
    stream->owner = world;
    world->open++;
    world->serving++;
    must(world->serving <= STREAMS, "no more are served than may be");
    if (stream->fault.status)
        must(h2_stream_answer(stream, stream->fault.status, "", true) == 0, "a refusal is taken");
    else if (world->does & ANSWERS)
        must(h2_stream_answer(stream, 200, "X-A: b\r\n", false) == 0, "an answer is taken");
    if (world->does & RESETS)
        h2_stream_reset(stream, 8);
    if (stream->id % 4 == 1) {
        h2_session_release(session);
        world->serving--;
    }
}

static void data(struct h2_session *session, struct h2_stream *stream, const uint8_t *bytes, size_t size)
{
    struct world *world = session->owner;

    must(stream->owner == world && !stream->over, "data comes for a request");
    must(!stream->ended, "and before its end");
    if (world->does & CONSUMES)
        h2_stream_consume(stream, size);
}

static void end(struct h2_session *session, struct h2_stream *stream)
{
    must(stream->owner == session->owner && stream->ended, "an end comes after its request");
}

static void gone(struct h2_session *session, struct h2_stream *stream, uint32_t code)
{
    struct world *world = session->owner;

    must(stream->owner == world && stream->over, "gone comes once, and last");
    stream->owner = NULL;
    world->open--;
}

static size_t pull(struct h2_session *session, struct h2_stream *stream, uint8_t *to, size_t room, bool *last)
{
    struct world *world = session->owner;

    must(room > 0, "there is room");
    if ((world->does & HOLDS_BACK) && world->sent++ % 3 == 0)
        return 0;
    *to = 'x';
    *last = stream->taken > 20;
    if (*last && (world->does & TRAILS))
        must(h2_stream_trailers(stream, "X-T: 1\r\n") == 0, "trailers are taken");
    return 1;
}

static const struct h2_hooks hooks = {request, data, end, gone, pull};

/* What leaves is whole frames, and no longer than asked for. */
static void take_output(struct world *world)
{
    struct block *block;
    int rounds = 0;

    while (h2_session_send(world->session, 2000, world->now, &block) > 0) {
        must(block->size > 0 && block->size <= 2048, "a block has the size asked for");
        must(++rounds < 100000, "output ends");
        block_release(block);
    }
}

/* The piece is copied to memory of its size, so that the sanitizer sees a byte read too many. */
static bool feed(struct world *world, const uint8_t *bytes, size_t size)
{
    uint8_t *piece = malloc(size > 0 ? size : 1);
    int rc;

    must(piece != NULL, "memory for the piece");
    if (size > 0)
        memcpy(piece, bytes, size);
    rc = h2_session_receive(world->session, piece, size, world->now);
    free(piece);
    return rc == 0;
}

static void play(const uint8_t *cuts, unsigned does, const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct world world = {.does = does, .now = 1000000000};
    size_t round = 0;

    must(h2_session_open(&world.session, &limits, &hooks, &world) == 0, "the fuzzer has memory");
    must(feed(&world, (const uint8_t *)preface, sizeof preface - 1), "the preface is taken");
    for (size_t at = 0, piece; at < size; at += piece) {
        piece = cuts ? cuts[round++ % CUTS] % 64 + 1u : size;
        if (piece > size - at)
            piece = size - at;
        if (!feed(&world, data + at, piece))
            break;
        if (cuts)
            take_output(&world);
        if ((does & DRAINS) && round % 16 == 0)
            h2_session_drain(world.session);
    }
    take_output(&world);
    h2_session_close(world.session);
    must(world.open == 0, "every request is gone in the end");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < CUTS + 1)
        return 0;
    play(NULL, data[CUTS], data + CUTS + 1, size - CUTS - 1);
    play(data, data[CUTS], data + CUTS + 1, size - CUTS - 1);
    return 0;
}
