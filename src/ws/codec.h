/* SPDX-License-Identifier: MIT */
/*
 * The WebSocket codec (RFC 6455): bytes to events and events to bytes. It knows no socket and no task.
 *
 * The decoder reads what a peer sent and reports one event a call. Payload is unmasked straight from the input
 * to where the caller wants it, in one pass and validated on the way, so that a message assembled in shared memory
 * is written once. The decoder holds no payload itself: only a partial header, and a control frame's 125 bytes.
 */
#ifndef TANDEM_WS_CODEC_H
#define TANDEM_WS_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

/* Close codes of RFC 6455, 7.4.1 (1013: of its IANA registry) that we send ourselves. */
enum {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_BAD_DATA = 1007,
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_BIG = 1009,
    WS_CLOSE_INTERNAL = 1011,
    WS_CLOSE_TRY_LATER = 1013,
};

#define WS_CONTROL_MAX 125  /* bytes of payload in a control frame: RFC 6455, 5.5 */
#define WS_HEADER_MAX 14    /* bytes of the longest frame header */

enum ws_side { WS_SERVER, WS_CLIENT };  /* whose decoder it is: a server demands masked frames, a client unmasked ones */

enum ws_event_kind {
    WS_EVENT_MORE,    /* all input was used and nothing is complete: bring more bytes; or, with out_size 0, payload is
                         next: bring room */
    WS_EVENT_DATA,    /* `size` payload bytes were written to `out`; `begin` on a message's first event, `end` on its
                         last. An empty message is one event with size 0, begin and end. `opcode` is WS_TEXT or WS_BINARY. */
    WS_EVENT_PING,    /* control frames, legal between the fragments of a message: `payload`, `size` */
    WS_EVENT_PONG,
    WS_EVENT_CLOSE,   /* `code` (1005 when the frame had none), `payload`/`size` = the reason, valid UTF-8 */
    WS_EVENT_FAIL,    /* the peer broke the protocol: send `code` and close; `why` is a constant sentence */
};

struct ws_event {
    enum ws_event_kind kind;
    enum ws_opcode opcode;
    bool begin, end;
    size_t size;             /* bytes */
    const uint8_t *payload;  /* control frames: inside the decoder, valid until the next call */
    uint16_t code;
    const char *why;
};

struct ws_decoder {
    uint64_t frame_left;     /* payload bytes of the current frame still to come */
    uint64_t message_size;   /* payload bytes of the current message so far, the declared rest of this frame included */
    uint64_t message_max;    /* bytes; a message that declares more fails with 1009 before its payload is read */
    uint32_t utf8;           /* state of the incremental validator */
    uint8_t mask[4];
    uint8_t mask_at;
    uint8_t header[WS_HEADER_MAX];
    uint8_t header_have;     /* bytes of a partial header */
    uint8_t control[WS_CONTROL_MAX];
    uint8_t control_have;
    uint8_t opcode;          /* of the current frame */
    uint8_t message_opcode;  /* WS_TEXT or WS_BINARY while a message is open, else 0 */
    bool fin, in_payload, begun, failed, closed;
    enum ws_side side;
};

void ws_decoder_init(struct ws_decoder *decoder, enum ws_side side, uint64_t message_max);

/*
 * Consumes bytes from `in` until one event is complete, and writes it to *event. *used says how many input bytes were
 * consumed. Data payload goes to out[0..out_size): a DATA event is reported when `out` is full, the frame ends or the
 * input does, and the rest follows on the next calls. `out` may be the very place the payload has in `in` (unmasked in
 * place), or overlap `in` in any way that starts no later than that, as `in` itself does. With out_size 0 no payload is
 * consumed, control frames and headers still are; where payload is next, the event is MORE with *used < in_size.
 * Text is checked as it arrives: an invalid byte fails with 1007 at once, also in the middle of a frame. After FAIL or
 * CLOSE every call reports MORE and consumes all input.
 */
void ws_decode(struct ws_decoder *decoder, const uint8_t *in, size_t in_size, size_t *used,
               uint8_t *out, size_t out_size, struct ws_event *event);

/* Writes the header of one unmasked, final frame of `size` payload bytes to out; returns its length (2, 4 or 10). */
size_t ws_encode_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t size);

/*
 * Writes a whole close frame (header, code, reason cut at a character's end to fit 123 bytes); returns its length.
 * Code 1005, what a close event has when the peer sent none, writes a frame without code and reason.
 */
size_t ws_encode_close(uint8_t out[2 + WS_CONTROL_MAX], uint16_t code, const char *reason);

/* Whether a peer may send this close code (RFC 6455, 7.4). */
bool ws_close_code_valid(uint16_t code);

#define WS_ACCEPT_SIZE 29  /* 28 characters and the final zero */

/*
 * Computes Sec-WebSocket-Accept for a client's key (RFC 6455, 4.2.2). Returns 0; -EINVAL when the key is not
 * the base64 form of 16 bytes; -EIO when libcrypto computes no SHA-1.
 */
int ws_accept_key(const char *key, size_t key_size, char out[WS_ACCEPT_SIZE]);

#endif
