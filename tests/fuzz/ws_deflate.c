/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes compressed messages. An input is one byte of options, one byte n, n bytes of cuts, and data. The data is
 * decompressed whole and in pieces with little room, as two messages of which the second may refer to the first: the outcome
 * must be the same, and never larger than the limit. Then it is compressed, and what comes of that must be the data.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ws/deflate.h"

#define ROOM 3000u

struct story {
    uint8_t bytes[ROOM];
    size_t size;
    int rc;
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Inflates one piece of a message, with room for `step` bytes at a time. */
static void inflate_piece(struct ws_inflater *inflater, struct story *story, const uint8_t *piece, size_t size, bool last,
                          size_t step)
{
    struct ws_inflate_io io = {.in = piece, .in_left = size, .last = last};

    do {
        size_t room = step < ROOM - story->size ? step : ROOM - story->size;
        uint8_t *out = malloc(room);

        require(out != NULL);
        io.out = out;
        io.out_left = room;
        story->rc = ws_inflate(inflater, &io);
        require(io.out_left <= room && io.out + io.out_left == out + room);
        require(story->rc != WS_INFLATE_ROOM || io.out_left == 0);
        require(story->rc < 0 || story->rc == WS_INFLATE_ROOM || io.in_left == 0);
        require(story->rc != WS_INFLATE_INPUT || !last);
        require(story->rc != WS_INFLATE_DONE || last);
        memcpy(story->bytes + story->size, out, room - io.out_left);
        story->size += room - io.out_left;
        free(out);
    } while (story->rc == WS_INFLATE_ROOM);
}

static void inflate_message(struct ws_inflater *inflater, struct story *story, const uint8_t *data, size_t size,
                            uint64_t message_max, const uint8_t *cuts, size_t cut_count)
{
    size_t at = 0, i = 0;

    *story = (struct story){.rc = WS_INFLATE_INPUT};
    ws_inflater_begin(inflater, message_max);
    while (story->rc == WS_INFLATE_INPUT) {
        uint8_t cut = cut_count > 0 ? cuts[i++ % cut_count] : 0xFF;
        size_t n = 1 + cut % 16, step = cut_count > 0 ? 1 + (cut >> 4) * 3 : ROOM;
        uint8_t *piece;

        if (n > size - at || cut_count == 0)
            n = size - at;
        piece = malloc(n);
        require(piece != NULL);
        memcpy(piece, data + at, n);
        at += n;
        inflate_piece(inflater, story, piece, n, at == size, step);
        free(piece);
    }
    require(story->size <= message_max);
}

static void compare(const uint8_t *data, size_t size, bool keeps, uint64_t message_max, const uint8_t *cuts, size_t cut_count)
{
    static struct story whole, chopped;
    /* With smaller windows it would depend on the pieces whether zlib notices a peer that refers further back. */
    struct ws_inflater *a = ws_inflater_new(15, keeps), *b = ws_inflater_new(15, keeps);
    size_t half = size / 2;

    require(a != NULL && b != NULL);
    for (int i = 0; i < 2; i++, data += half, size -= half, half = size) {
        inflate_message(a, &whole, data, half, message_max, NULL, 0);
        inflate_message(b, &chopped, data, half, message_max, cuts, cut_count);
        require(whole.rc == chopped.rc);
        if (whole.rc < 0)
            break;
        require(whole.size == chopped.size && memcmp(whole.bytes, chopped.bytes, whole.size) == 0);
    }
    ws_inflater_free(a);
    ws_inflater_free(b);
}

static void there_and_back(const uint8_t *data, size_t size, int bits, bool keeps)
{
    static struct story story;
    struct ws_deflater *deflater = ws_deflater_new(bits, keeps);
    struct ws_inflater *inflater = ws_inflater_new(bits, keeps);
    const uint8_t *payload;

    require(deflater != NULL && inflater != NULL);
    for (size_t i = 1; i < 4 && size / i <= ROOM; i++) {
        ssize_t n = ws_deflate(deflater, data, size / i, &payload);

        require(n >= 0 && (n == 0 || (size_t)n < size / i));
        if (n == 0)
            continue;
        inflate_message(inflater, &story, payload, (size_t)n, size / i, NULL, 0);
        require(story.rc == WS_INFLATE_DONE && story.size == size / i && memcmp(story.bytes, data, story.size) == 0);
    }
    ws_deflater_free(deflater);
    ws_inflater_free(inflater);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t limits[] = {0, 10, 300, ROOM};
    const uint8_t *cuts = data + 2;
    size_t cut_count;
    uint8_t options;

    if (size < 2 || (cut_count = data[1] % 32) > size - 2)
        return 0;
    options = data[0];
    data = cuts + cut_count;
    size -= 2 + cut_count;
    compare(data, size, (options & 1) != 0, limits[options >> 1 & 3], cuts, cut_count);
    there_and_back(data, size, 8 + (options >> 3 & 7), (options & 1) != 0);
    return 0;
}
