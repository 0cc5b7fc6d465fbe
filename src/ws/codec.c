/* SPDX-License-Identifier: MIT */
/*
 * What holds between two calls of ws_decode, as long as nothing failed:
 *
 * 1. in_payload if and only if frame_left > 0: a frame whose last byte has come is finished in the same call.
 * 2. header_have > 0 only between two frames; the header is not whole then, so header_have < WS_HEADER_MAX.
 * 3. message_size <= wire_max, so their difference never wraps. Both are 0 or more: sizes are checked at the header.
 * 4. message_opcode is WS_TEXT or WS_BINARY while a message is open and 0 otherwise; `begun` (an event carried
 *    `begin`), `compressed`, message_size > 0 and debt > 0 only while one is open.
 * 5. utf8 is never UTF8_REJECT, and UTF8_ACCEPT unless a text message is open that is not compressed.
 * 6. control_have > 0 only in a control frame's payload, and then `control` is there and
 *    control_have + frame_left <= WS_CONTROL_MAX.
 *
 * `failed` and `closed` are final: nothing else is looked at once one of them is set.
 */
#include "ws/codec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ws/mask.h"
#include "ws/utf8.h"

#define RESERVED 0x70
#define OPCODE 0x0F
#define CONTROL 0x08  /* the opcode's bit that tells control frames from data: RFC 6455, 5.2 */
#define MASKED 0x80
#define LENGTH 0x7F
#define LENGTH_16 126
#define LENGTH_64 127

#define COMPRESSED_EXTRA 1024  /* bytes a compressed message may have beyond twice those of a plain one */
#define CHECK_BLOCK 1024u      /* bytes unmasked before they are checked as text: they are still in the L1 cache then,
                                  16 MB of text take 1.1 ms instead of 1.4 (clang; no difference with gcc) */

_Static_assert(sizeof(struct ws_decoder) <= 64, "an idle connection's decoder is small");

struct input {
    uint8_t *at, *end;
};

static inline size_t input_left(const struct input *in)
{
    return (size_t)(in->end - in->at);
}

static inline size_t min_size(uint64_t a, size_t b)
{
    return a < b ? (size_t)a : b;
}

static uint64_t read_big_endian(const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

/*
 * What a message may have on the wire. Data that does not compress grows by a thousandth, or an eighth with careless
 * coders; twice is a bound for those who send nothing but empty blocks.
 */
static uint64_t wire_max(const struct ws_decoder *d, bool compressed)
{
    if (!compressed)
        return d->message_max;
    return d->message_max > (UINT64_MAX - COMPRESSED_EXTRA) / 2 ? UINT64_MAX : 2 * d->message_max + COMPRESSED_EXTRA;
}

static void check_invariants(const struct ws_decoder *d)
{
    assert(d->in_payload == (d->frame_left > 0));
    assert(d->header_have == 0 || (!d->in_payload && d->header_have < WS_HEADER_MAX));
    assert(d->message_size <= wire_max(d, d->compressed));
    assert(d->message_opcode != 0 || (!d->begun && !d->compressed && d->message_size == 0 && d->debt == 0));
    assert(d->utf8 == UTF8_ACCEPT || (d->utf8 != UTF8_REJECT && d->message_opcode == WS_TEXT && !d->compressed));
    assert(d->control_have == 0 || (d->control != NULL && d->in_payload && (d->opcode & CONTROL) != 0));
}

static void fail(struct ws_decoder *d, struct ws_event *event, uint16_t code, const char *why)
{
    d->failed = true;
    *event = (struct ws_event){.kind = WS_EVENT_FAIL, .code = code, .why = why};
}

/* Headers: RFC 6455, 5.2 */

/* The size of the header that starts with these two bytes. */
static inline size_t header_size(const uint8_t *header)
{
    size_t length = header[1] & LENGTH;
    size_t extended = length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0;

    return 2 + extended + (header[1] & MASKED ? WS_MASK_SIZE : 0);
}

/* What is wrong with a frame's first two bytes, or NULL. */
static const char *opening_flaw(const struct ws_decoder *d, const uint8_t *header)
{
    uint8_t opcode = header[0] & OPCODE;
    bool begins = opcode == WS_TEXT || opcode == WS_BINARY;

    if ((header[0] & RESERVED) != 0 && ((header[0] & RESERVED) != WS_COMPRESSED || !d->deflate || !begins))
        return "a frame has reserved bits set that no extension gives a meaning";
    if ((header[1] & MASKED) == 0 && !d->client)
        return "a client's frame is not masked";
    if ((header[1] & MASKED) != 0 && d->client)
        return "a server's frame is masked";
    if ((opcode & CONTROL) != 0) {
        if (opcode > WS_PONG)
            return "a control frame has an unknown opcode";
        if ((header[0] & WS_FIN) == 0)
            return "a control frame is fragmented";
        return (header[1] & LENGTH) > WS_CONTROL_MAX ? "a control frame has more than 125 bytes" : NULL;
    }
    if (opcode > WS_BINARY)
        return "a data frame has an unknown opcode";
    if (opcode == WS_CONTINUATION && d->message_opcode == 0)
        return "a continuation frame continues no message";
    if (opcode != WS_CONTINUATION && d->message_opcode != 0)
        return "a new message starts before the last one has ended";
    return NULL;
}

/* Gathers a header that came in pieces. Returns NULL while some are missing, and for a flaw, seen at the second byte. */
static const uint8_t *header_gather(struct ws_decoder *d, struct input *in, struct ws_event *event)
{
    const char *flaw;

    while (d->header_have < 2 || d->header_have < header_size(d->header)) {
        if (in->at == in->end)
            return NULL;
        d->header[d->header_have++] = *in->at++;
        if (d->header_have == 2 && (flaw = opening_flaw(d, d->header)) != NULL) {
            fail(d, event, WS_CLOSE_PROTOCOL, flaw);
            return NULL;
        }
    }
    d->header_have = 0;
    return d->header;
}

/* Takes a header off the input. Returns where it lies whole: in the input if it can; NULL if bytes are missing, or wrong. */
static inline const uint8_t *header_take(struct ws_decoder *d, struct input *in, struct ws_event *event)
{
    const uint8_t *header = in->at;
    const char *flaw;

    if (d->header_have > 0 || input_left(in) < 2 || input_left(in) < header_size(header))
        return header_gather(d, in, event);
    if ((flaw = opening_flaw(d, header)) != NULL) {
        in->at += 2;
        fail(d, event, WS_CLOSE_PROTOCOL, flaw);
        return NULL;
    }
    in->at += header_size(header);
    return header;
}

/* Reads the payload's length; returns what is wrong with it, or NULL. */
static const char *length_read(const uint8_t *header, uint64_t *length)
{
    *length = header[1] & LENGTH;
    if (*length == LENGTH_16) {
        *length = read_big_endian(header + 2, 2);
        return *length < LENGTH_16 ? "a frame's length is not in its shortest form" : NULL;
    }
    if (*length == LENGTH_64) {
        *length = read_big_endian(header + 2, 8);
        if (*length > INT64_MAX)
            return "a frame's length has its top bit set";
        return *length <= UINT16_MAX ? "a frame's length is not in its shortest form" : NULL;
    }
    return NULL;
}

/* What a fragment owes or pays off. False when the message owes too much with it. */
static bool fragment_charge(struct ws_decoder *d, uint64_t length)
{
    if (length < WS_FRAGMENT_BYTES)
        d->debt += WS_FRAGMENT_BYTES - (uint32_t)length;
    else
        d->debt -= (uint32_t)min_size(length - WS_FRAGMENT_BYTES, d->debt);
    return d->debt <= WS_FRAGMENT_DEBT_MAX;
}

/* Counts a data frame's declared length, before any of it is read. False when *event says why the message ends with it. */
static bool message_grow(struct ws_decoder *d, const uint8_t *header, uint64_t length, struct ws_event *event)
{
    uint8_t opcode = header[0] & OPCODE;

    if (opcode != WS_CONTINUATION) {
        d->message_opcode = opcode;
        d->compressed = (header[0] & WS_COMPRESSED) != 0;
    }
    if (length > wire_max(d, d->compressed) - d->message_size) {
        fail(d, event, WS_CLOSE_TOO_BIG, "a message is larger than allowed");
        return false;
    }
    d->message_size += length;
    if ((header[0] & WS_FIN) == 0 && !fragment_charge(d, length)) {
        fail(d, event, WS_CLOSE_POLICY, "a message comes in too many tiny fragments");
        return false;
    }
    return true;
}

/* Begins a frame if its header is there. False when it is not yet, or *event says why it is refused. */
static bool frame_begin(struct ws_decoder *d, struct input *in, struct ws_event *event)
{
    const uint8_t *header = header_take(d, in, event);
    const char *flaw;
    uint64_t length;

    if (header == NULL)
        return false;
    if ((flaw = length_read(header, &length)) != NULL) {
        fail(d, event, WS_CLOSE_PROTOCOL, flaw);
        return false;
    }
    d->opcode = header[0] & OPCODE;
    if ((d->opcode & CONTROL) == 0 && !message_grow(d, header, length, event))
        return false;
    d->mask = d->client ? 0 : ws_key_read(header + header_size(header) - WS_MASK_SIZE);
    d->fin = (header[0] & WS_FIN) != 0;
    d->frame_left = length;
    d->in_payload = true;
    return true;
}

/* Payload */

static void unmask(struct ws_decoder *d, const uint8_t *from, uint8_t *to, size_t size)
{
    ws_mask(to, from, size, d->mask);
    d->mask = ws_key_turn(d->mask, size);
}

/* Unmasks and checks text block by block. False at the first byte that cannot be part of UTF-8. */
static bool unmask_text(struct ws_decoder *d, const uint8_t *from, uint8_t *to, size_t size)
{
    for (size_t n; size > 0; from += n, to += n, size -= n) {
        n = min_size(size, CHECK_BLOCK);
        unmask(d, from, to, n);
        d->utf8 = utf8_feed(d->utf8, to, n);
        if (d->utf8 == UTF8_REJECT)
            return false;
    }
    return true;
}

static void message_end(struct ws_decoder *d)
{
    d->message_opcode = 0;
    d->message_size = 0;
    d->debt = 0;
    d->begun = false;
    d->compressed = false;
}

/* Unmasks the next `size` payload bytes of a data frame, checked if they are text. False when they spoil it. */
static bool payload_take(struct ws_decoder *d, struct input *in, uint8_t *out, size_t size, struct ws_event *event)
{
    bool end = d->fin && size == d->frame_left, text_ok = true;

    if (d->message_opcode == WS_TEXT && !d->compressed)
        text_ok = unmask_text(d, in->at, out, size);
    else
        unmask(d, in->at, out, size);
    in->at += size;
    d->frame_left -= size;
    d->in_payload = d->frame_left > 0;
    if (text_ok && (!end || d->utf8 == UTF8_ACCEPT))
        return true;
    fail(d, event, WS_CLOSE_BAD_DATA, text_ok ? "a text message ends inside a character" : "text is not UTF-8");
    return false;
}

static void data_event(struct ws_decoder *d, size_t size, bool end, struct ws_event *event)
{
    *event = (struct ws_event){.kind = WS_EVENT_DATA, .opcode = d->message_opcode, .begin = !d->begun, .end = end,
                               .compressed = d->compressed, .size = size};
    d->begun = true;
    if (end)
        message_end(d);
}

/* Takes what there is of a data frame and fits `out`. True when that made an event. */
static bool take_data(struct ws_decoder *d, struct input *in, uint8_t *out, size_t out_size, struct ws_event *event)
{
    size_t size = min_size(d->frame_left, min_size(input_left(in), out_size));
    bool end = d->fin && size == d->frame_left;

    if (!payload_take(d, in, out, size, event))
        return true;
    if (size == 0 && !end)
        return false;
    data_event(d, size, end, event);
    return true;
}

/* Reads a whole close frame's payload: RFC 6455, 5.5.1 and 7.1.5 */
static void close_read(struct ws_decoder *d, const uint8_t *payload, size_t size, struct ws_event *event)
{
    uint16_t code = size < 2 ? WS_CLOSE_NO_CODE : (uint16_t)read_big_endian(payload, 2);

    if (size == 1) {
        fail(d, event, WS_CLOSE_PROTOCOL, "a close frame has half a code");
    } else if (size >= 2 && !ws_close_code_valid(code)) {
        fail(d, event, WS_CLOSE_PROTOCOL, "a close frame has a code nobody may send");
    } else if (size > 2 && !utf8_valid(payload + 2, size - 2)) {
        fail(d, event, WS_CLOSE_BAD_DATA, "a close frame's reason is not UTF-8");
    } else {
        d->closed = true;
        *event = (struct ws_event){.kind = WS_EVENT_CLOSE, .opcode = WS_CLOSE, .code = code,
                                   .payload = size < 2 ? payload : payload + 2, .size = size < 2 ? 0 : size - 2};
    }
}

/* Takes what there is of a control frame. True when it is whole and made an event. */
static bool take_control(struct ws_decoder *d, struct input *in, struct ws_event *event)
{
    size_t size = min_size(d->frame_left, input_left(in)), have = d->control_have;
    uint8_t *to = in->at;

    if (size == 0 && d->frame_left > 0)
        return false;
    if (have > 0 || size < d->frame_left) {
        if (d->control == NULL && (d->control = malloc(WS_CONTROL_MAX)) == NULL) {
            fail(d, event, WS_CLOSE_INTERNAL, "there is no memory for a control frame");
            return true;
        }
        assert(have + d->frame_left <= WS_CONTROL_MAX);
        to = d->control + have;
    }
    if (size > 0)
        unmask(d, in->at, to, size);
    in->at += size;
    d->frame_left -= size;
    d->in_payload = d->frame_left > 0;
    d->control_have = (uint8_t)(d->in_payload ? have + size : 0);
    if (d->in_payload)
        return false;
    if (d->opcode == WS_CLOSE)
        close_read(d, to - have, have + size, event);
    else
        *event = (struct ws_event){.kind = d->opcode == WS_PING ? WS_EVENT_PING : WS_EVENT_PONG,
                                   .opcode = d->opcode, .payload = to - have, .size = have + size};
    return true;
}

void ws_decoder_init(struct ws_decoder *decoder, enum ws_side side, uint64_t message_max)
{
    *decoder = (struct ws_decoder){.client = side == WS_CLIENT, .message_max = message_max, .utf8 = UTF8_ACCEPT};
}

void ws_decoder_deflate(struct ws_decoder *decoder)
{
    decoder->deflate = true;
}

void ws_decoder_fini(struct ws_decoder *decoder)
{
    free(decoder->control);
    decoder->control = NULL;
    decoder->closed = true;
}

/* Begins a call. False when there is nothing to do in it. What the last event lay in is given back. */
static bool call_begin(struct ws_decoder *d, size_t in_size)
{
    if (d->control != NULL && d->control_have == 0) {
        free(d->control);
        d->control = NULL;
    }
    if (d->failed || d->closed || in_size == 0)
        return false;
    check_invariants(d);
    return true;
}

void ws_decode(struct ws_decoder *decoder, uint8_t *in, size_t in_size, size_t *used,
               uint8_t *out, size_t out_size, struct ws_event *event)
{
    struct input input = {in, in};

    *event = (struct ws_event){.kind = WS_EVENT_MORE};
    *used = in_size;
    if (!call_begin(decoder, in_size))
        return;
    for (input.end += in_size;;) {
        if (!decoder->in_payload && !frame_begin(decoder, &input, event))
            break;
        if ((decoder->opcode & CONTROL) != 0 ? take_control(decoder, &input, event)
                                             : take_data(decoder, &input, out, out_size, event))
            break;
        if (decoder->in_payload)
            break;  /* out of input, or of room; otherwise that was an empty fragment, which is no event */
    }
    *used = (size_t)(input.at - in);
}

bool ws_decode_whole(struct ws_decoder *decoder, uint8_t *in, size_t in_size, size_t *used, struct ws_event *event)
{
    struct input input = {in, in + in_size};
    uint64_t length;
    uint8_t opcode;

    if (in_size < 2 || !call_begin(decoder, in_size) || decoder->in_payload || decoder->header_have > 0)
        return false;
    opcode = in[0] & OPCODE;
    if ((opcode != WS_TEXT && opcode != WS_BINARY) || (in[0] & WS_FIN) == 0 || in_size < header_size(in))
        return false;
    if (opening_flaw(decoder, in) != NULL || length_read(in, &length) != NULL || length > in_size - header_size(in) ||
        length > wire_max(decoder, (in[0] & WS_COMPRESSED) != 0))
        return false;
    if (!frame_begin(decoder, &input, event))
        return false;
    if (payload_take(decoder, &input, in, (size_t)length, event)) {
        data_event(decoder, (size_t)length, true, event);
        in[length] = '\0';
    }
    *used = (size_t)(input.at - in);
    return true;
}
