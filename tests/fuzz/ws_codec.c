/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the WebSocket decoder. An input is: one byte of options, one byte n, n bytes of cuts, and the stream.
 * The stream is decoded whole and in pieces as the cuts say; both must tell the same, whatever it holds.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ws/codec.h"
#include "ws/utf8.h"

#define OUT_MAX 64  /* bytes: room of the chopped decoding, less than most messages */

/* What was decoded, in an order that does not depend on the cuts: whole messages and control frames as they end. */
struct story {
    uint8_t *told, *message;
    size_t told_size, message_size;
    bool open, over;
    uint8_t opcode;
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Exactly that size, even if it is 0, so that AddressSanitizer sees a byte too many. */
static uint8_t *memory(size_t size)
{
    uint8_t *bytes = malloc(size);

    require(bytes != NULL);
    return bytes;
}

static void story_start(struct story *story, size_t stream_size)
{
    /* An event takes at least 2 bytes of stream and is told with 16 bytes more than its payload. */
    *story = (struct story){.told = memory(16 * stream_size + 64), .message = memory(stream_size + 1)};
}

static void story_end(struct story *story)
{
    free(story->told);
    free(story->message);
}

static void tell(struct story *story, uint8_t kind, uint16_t code, const uint8_t *bytes, size_t size)
{
    uint32_t head[2] = {(uint32_t)kind << 16 | code, (uint32_t)size};

    memcpy(story->told + story->told_size, head, sizeof head);
    story->told_size += sizeof head;
    if (size > 0)
        memcpy(story->told + story->told_size, bytes, size);
    story->told_size += size;
}

static void tell_data(struct story *story, const struct ws_event *event, const uint8_t *out)
{
    require(event->begin == !story->open);
    require(event->opcode == WS_TEXT || event->opcode == WS_BINARY);
    require(event->begin || event->opcode == story->opcode);
    require(event->size > 0 || event->end);
    story->opcode = (uint8_t)event->opcode;
    if (event->size > 0)
        memcpy(story->message + story->message_size, out, event->size);
    story->message_size += event->size;
    story->open = !event->end;
    if (!event->end)
        return;
    require(event->compressed || event->opcode != WS_TEXT || utf8_valid(story->message, story->message_size));
    tell(story, story->opcode, 0, story->message, story->message_size);
    story->message_size = 0;
}

static void tell_event(struct story *story, const struct ws_event *event, const uint8_t *out, size_t out_size)
{
    require(!story->over || event->kind == WS_EVENT_MORE);
    switch (event->kind) {
    case WS_EVENT_MORE:
        return;
    case WS_EVENT_DATA:
        require(event->size <= out_size);
        tell_data(story, event, out);
        return;
    case WS_EVENT_FAIL:
        require(event->why != NULL && ws_close_code_valid(event->code));
        tell(story, 0xFF, event->code, (const uint8_t *)event->why, strnlen(event->why, 8));
        break;
    case WS_EVENT_CLOSE:
        require(event->code == 1005 || ws_close_code_valid(event->code));
        require(utf8_valid(event->payload, event->size));
        break;
    default:
        require(event->kind == WS_EVENT_PING || event->kind == WS_EVENT_PONG);
        break;
    }
    if (event->kind != WS_EVENT_FAIL) {
        require(event->size <= WS_CONTROL_MAX);
        tell(story, (uint8_t)event->opcode, event->code, event->payload, event->size);
    }
    story->over = event->kind == WS_EVENT_CLOSE || event->kind == WS_EVENT_FAIL;
}

/* Decodes one piece, copied to memory of exactly its size; out_size 0 unmasks over the piece itself. */
static void decode_piece(struct ws_decoder *decoder, struct story *story, const uint8_t *bytes, size_t size,
                         size_t out_size)
{
    uint8_t *in = memory(size), *room = memory(out_size), *out;
    struct ws_event event;
    size_t used;

    memcpy(in, bytes, size);
    for (size_t at = 0; at < size; at += used) {
        size_t left = size - at, before = 0;

        /* Without room, no payload may go; what does go is never more than one event a call. */
        ws_decode(decoder, in + at, left, &before, NULL, 0, &event);
        require(before <= left && (event.kind != WS_EVENT_DATA || event.size == 0));
        tell_event(story, &event, NULL, 0);
        at += before;
        if ((left -= before) == 0)
            break;
        out = out_size == 0 ? in + at : room;
        if (out_size == 0 && ws_decode_whole(decoder, in + at, left, &used, &event))
            require(event.kind == WS_EVENT_FAIL || (event.begin && event.end && out[event.size] == 0));
        else
            ws_decode(decoder, in + at, left, &used, out, out_size == 0 ? left : out_size, &event);
        require(used > 0 && used <= left);
        require(event.kind != WS_EVENT_MORE || used == left);
        tell_event(story, &event, out, out_size == 0 ? left : out_size);
    }
    free(in);
    free(room);
}

static void decode_whole(struct ws_decoder *decoder, struct story *story, const uint8_t *stream, size_t size)
{
    uint8_t *in = memory(size), *out = memory(size + 1);
    struct ws_event event;
    size_t used;

    memcpy(in, stream, size);
    for (size_t at = 0; at < size; at += used) {
        ws_decode(decoder, in + at, size - at, &used, out, size + 1, &event);
        require(used > 0 && used <= size - at);
        tell_event(story, &event, out, size + 1);
    }
    free(in);
    free(out);
}

static void compare(const struct story *whole, const struct story *chopped)
{
    require(whole->over == chopped->over);
    require(whole->told_size == chopped->told_size);
    require(whole->told_size == 0 || memcmp(whole->told, chopped->told, whole->told_size) == 0);
    if (whole->over)
        return;  /* of a message that fails on the way, the chopped decoding may have reported more */
    require(whole->open == chopped->open && whole->message_size == chopped->message_size);
    require(whole->message_size == 0 || memcmp(whole->message, chopped->message, whole->message_size) == 0);
}

static void decoder_start(struct ws_decoder *decoder, uint8_t options)
{
    static const uint64_t limits[] = {10, 300, INT64_MAX, UINT64_MAX};

    ws_decoder_init(decoder, (options & 1) != 0 ? WS_CLIENT : WS_SERVER, limits[options >> 1 & 3]);
    if ((options & 8) != 0)
        ws_decoder_deflate(decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct story whole, chopped;
    struct ws_decoder decoder;
    const uint8_t *cuts = data + 2, *stream;
    size_t cut_count;

    if (size < 2 || (cut_count = data[1]) > size - 2)
        return 0;
    stream = cuts + cut_count;
    size -= 2 + cut_count;
    story_start(&whole, size);
    story_start(&chopped, size);

    decoder_start(&decoder, data[0]);
    decode_whole(&decoder, &whole, stream, size);
    ws_decoder_fini(&decoder);
    decoder_start(&decoder, data[0]);
    for (size_t at = 0, i = 0, n; at < size; at += n, i++) {
        uint8_t cut = cut_count > 0 ? cuts[i % cut_count] : 0;

        n = 1u + cut % 16 < size - at ? 1u + cut % 16 : size - at;
        decode_piece(&decoder, &chopped, stream + at, n, cut >> 4 == 15 ? OUT_MAX : cut >> 4);
    }
    ws_decoder_fini(&decoder);
    compare(&whole, &chopped);
    story_end(&whole);
    story_end(&chopped);
    return 0;
}
