/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target for the request decoder: any bytes, cut anywhere. The first eight bytes of the input are the sizes of the
 * pieces, over and over; the rest is what a client sends. Whole and in pieces, the decoder must tell the same story.
 *
 *   clang-14 -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Isrc tests/fuzz/http_codec.c \
 *     src/http/{codec,request,target,encode}.c -o http_codec
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../http/reader.h"

#define CUTS 8

/* Small, so that the fuzzer meets every one of them. */
static const struct http_limits limits = {.head_bytes_max = 300, .fields_max = 6, .body_bytes_max = 64};

struct story {
    struct reader *decoder;
    char *text;
    size_t size;
    size_t consumed;
    bool over;
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

static void tell(struct story *story, const void *text, size_t size)
{
    char *grown = realloc(story->text, story->size + size + 1);

    must(grown != NULL, "the fuzzer has memory");
    memcpy(grown + story->size, text, size);
    grown[story->size + size] = '\0';
    story->text = grown;
    story->size += size;
}

static void tell_string(struct story *story, const char *text)
{
    tell(story, text, strlen(text));
    tell(story, "\n", 1);
}

/* Every getter, whatever the state: none may crash, and what they say is part of the story. */
static void ask(struct story *story)
{
    static const char *const names[] = {"host", "connection", "a", "content-length", "transfer-encoding", ""};
    struct reader *decoder = story->decoder;
    char path[40], value[8];
    const char *query;
    int size;

    tell_string(story, http_method(&decoder->head));
    tell_string(story, http_target(&decoder->head));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        tell_string(story, http_field(&decoder->head, names[i]) != NULL ? http_field(&decoder->head, names[i]) : "-");
    if (http_path(http_target(&decoder->head), path, sizeof(path), &query) == 0) {
        must(path[0] == '/' && strlen(path) < sizeof(path), "a path fits and begins with a slash");
        size = http_query_value(query, "a", value, sizeof(value));
        must(size < 0 || strlen(value) == (size_t)size, "a value has the length it is said to have");
    }
    tell_string(story, http_wants_upgrade(&decoder->head) ? "upgrade" : http_keep_alive(&decoder->head) ? "keep" : "close");
}

static void check_head(struct reader *decoder)
{
    const char *coding = http_field(&decoder->head, "transfer-encoding");

    must(http_target(&decoder->head)[0] != '\0' && http_method(&decoder->head)[0] != '\0', "a head has a method and a target");
    must(strpbrk(http_target(&decoder->head), " \t\r\n#") == NULL, "a target is one word");
    must(decoder->head.version == 10 || http_field(&decoder->head, "host") != NULL, "an HTTP/1.1 request has a Host");
    must(coding == NULL || http_field(&decoder->head, "content-length") == NULL, "a body has one length");
}

/* What an event promises, told piece by piece; returns whether there may be more. */
static bool take(struct story *story, const struct http_step *step, const uint8_t *in, size_t size)
{
    char line[32];

    must(step->used <= size, "no byte is used that was not there");
    must(step->event != HTTP_MORE || step->used == size, "more is asked for only when all is used");
    switch (step->event) {
    case HTTP_HEAD:
        check_head(story->decoder);
        ask(story);
        tell(story, "<", 1);
        return true;
    case HTTP_BODY:
        must(step->body_size > 0 && step->body >= in && step->body + step->body_size == in + step->used,
             "a body piece is the last of the bytes used");
        tell(story, step->body, step->body_size);
        return true;
    case HTTP_DONE:
        tell(story, ">", 1);
        must(http_decoder_idle(&story->decoder->decoder), "closing is legal after a request");
        story->over = !http_keep_alive(&story->decoder->head) || http_wants_upgrade(&story->decoder->head);
        if (!story->over)
            reader_next(story->decoder);
        return !story->over;
    case HTTP_FAIL:
        must(step->status >= 400 && step->status != 503 && step->why != NULL, "a refusal has a status and a reason");
        tell(story, line, (size_t)snprintf(line, sizeof(line), "!%d ", step->status));
        tell_string(story, step->why);
        ask(story);
        story->over = true;
        return false;
    default:
        return false;
    }
}

/* Once over, the decoder repeats itself and takes nothing. */
static void check_over(struct story *story, const uint8_t *in, size_t size)
{
    struct http_step step = http_decode(&story->decoder->decoder, in, size);

    must(step.event == HTTP_FAIL || step.event == HTTP_DONE, "the last event stands");
    must(step.used == 0, "after the last event nothing is used");
}

/* The piece is copied to memory of its size, so that the sanitizer sees a byte read too many. */
static void feed(struct story *story, const uint8_t *bytes, size_t size)
{
    uint8_t *piece = malloc(size > 0 ? size : 1);
    size_t at = 0;
    struct http_step step;

    must(piece != NULL, "memory for the piece");
    memcpy(piece, bytes, size);
    do {
        step = http_decode(&story->decoder->decoder, piece + at, size - at);
        must(step.event != HTTP_BODY || step.used > 0, "the decoder gets on");
        at += step.used;
    } while (take(story, &step, piece + at - step.used, size - at + step.used));
    if (story->over)
        check_over(story, piece, size);
    story->consumed += at;
    free(piece);
}

static struct story story_open(void)
{
    struct story story = {.decoder = reader_open(&limits)};

    must(story.decoder != NULL, "the fuzzer has memory");
    tell(&story, "", 0);
    return story;
}

static void story_close(struct story *story)
{
    reader_close(story->decoder);
    free(story->text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct story whole, pieces;
    const uint8_t *cuts = data;
    size_t round = 0;

    if (size < CUTS)
        return 0;
    data += CUTS;
    size -= CUTS;
    whole = story_open();
    pieces = story_open();
    feed(&whole, data, size);
    for (size_t at = 0, piece; at < size && !pieces.over; at += piece) {
        piece = cuts[round++ % CUTS] % 64;
        if (round % CUTS == 0 && piece == 0)
            piece = 1;          /* empty pieces are legal, but not for ever */
        if (piece > size - at)
            piece = size - at;
        feed(&pieces, data + at, piece);
    }
    must(whole.size == pieces.size && memcmp(whole.text, pieces.text, whole.size) == 0, "cuts change nothing");
    must(whole.over == pieces.over, "cuts change nothing about the end");
    if (whole.over && whole.text[whole.size - 1] == '>')
        must(whole.consumed == pieces.consumed, "the next protocol's bytes begin at the same place");
    story_close(&whole);
    story_close(&pieces);
    return 0;
}
