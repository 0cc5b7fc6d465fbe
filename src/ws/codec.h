/* SPDX-License-Identifier: MIT */
/*
 * The WebSocket codec (RFC 6455, and the frame bit of RFC 7692): bytes to events and events to bytes. It knows no socket
 * and no task.
 *
 * The decoder reads what a peer sent and reports one event a call. Payload is unmasked straight from the input
 * to where the caller wants it, in one pass and validated on the way, so that a message assembled in shared memory
 * is written once. The decoder holds no payload itself, only a partial header, and is 64 bytes small. A control frame is
 * reported where it lies in the input; one that comes in pieces has 125 bytes allocated until it has been reported.
 *
 * Fragments: a message may come in as many as its sender likes, as long as they carry something. One below 32 bytes owes
 * what it lacks, a larger one pays off what it has more, and a message that owes 512 KiB fails with 1008: 4 MiB in 65,536
 * fragments pass and owe nothing, a flood of empty ones ends after 16,384.
 */
#ifndef TANDEM_WS_CODEC_H
#define TANDEM_WS_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

/* Bits beside the opcode in a frame's first byte. */
enum {
    WS_FIN = 0x80,         /* the last of its message */
    WS_COMPRESSED = 0x40,  /* RSV1: the message that begins here is compressed (RFC 7692, 6) */
};

/* Close codes of RFC 6455, 7.4.1 (1013: of its IANA registry) that we send ourselves. */
enum {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_NO_CODE = 1005,   /* stands for "the close frame had no code"; never sent */
    WS_CLOSE_BAD_DATA = 1007,
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_BIG = 1009,
    WS_CLOSE_INTERNAL = 1011,
    WS_CLOSE_TRY_LATER = 1013,
};

#define WS_CONTROL_MAX 125  /* bytes of payload in a control frame: RFC 6455, 5.5 */
#define WS_HEADER_MAX 14    /* bytes of the longest frame header */
#define WS_MASK_SIZE 4

#define WS_FRAGMENT_BYTES 32u                             /* a fragment with less of a message owes the difference */
#define WS_FRAGMENT_DEBT_MAX (16384u * WS_FRAGMENT_BYTES)

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
    bool compressed;         /* DATA: of a compressed message: to be inflated, and checked if it is text, by the caller */
    size_t size;             /* bytes */
    const uint8_t *payload;  /* control frames: in the input, or inside the decoder: valid until the next call */
    uint16_t code;
    const char *why;
};

struct ws_decoder {
    uint64_t frame_left;     /* payload bytes of the current frame still to come */
    uint64_t message_size;   /* payload bytes of the current message so far, the declared rest of this frame included */
    uint64_t message_max;    /* bytes; a message that declares more fails with 1009 before its payload is read */
    uint8_t *control;        /* payload of a control frame that came in pieces; NULL: there is none */
    uint32_t utf8;           /* state of the incremental validator */
    uint32_t mask;           /* the key, turned so that it fits the payload's next byte */
    uint32_t debt;           /* bytes that the message's fragments owe */
    uint8_t header[WS_HEADER_MAX];
    uint8_t header_have;     /* bytes of a partial header */
    uint8_t control_have;    /* bytes of a partial control frame */
    uint8_t opcode;          /* of the current frame */
    uint8_t message_opcode;  /* WS_TEXT or WS_BINARY while a message is open, else 0 */
    bool client : 1, deflate : 1, fin : 1, in_payload : 1, begun : 1, compressed : 1, failed : 1, closed : 1;
};

/*
 * `message_max` counts payload bytes, of an uncompressed message. What a compressed one inflates to is the inflater's to
 * bound; on the wire it may have twice as many and 1 KiB. A failed or finished decoder may be initialised again after fini.
 */
void ws_decoder_init(struct ws_decoder *decoder, enum ws_side side, uint64_t message_max);

/* From now on compressed messages are legal: permessage-deflate was agreed on. */
void ws_decoder_deflate(struct ws_decoder *decoder);

/* Gives back what the decoder allocated. It may still be asked: it is as after a close. */
void ws_decoder_fini(struct ws_decoder *decoder);

/*
 * Consumes bytes from `in` until one event is complete, and writes it to *event. *used says how many input bytes were
 * consumed; a control frame is unmasked where it lies, hence `in` is not const. Data payload goes to out[0..out_size): a
 * DATA event is reported when `out` is full, the frame ends or the
 * input does, and the rest follows on the next calls. `out` may be the very place the payload has in `in` (unmasked in
 * place), or overlap `in` in any way that starts no later than that, as `in` itself does. With out_size 0 no payload is
 * consumed, control frames and headers still are; where payload is next, the event is MORE with *used < in_size.
 * Text is checked as it arrives: an invalid byte fails with 1007 at once, also in the middle of a frame. After FAIL or
 * CLOSE every call reports MORE and consumes all input.
 */
void ws_decode(struct ws_decoder *decoder, uint8_t *in, size_t in_size, size_t *used,
               uint8_t *out, size_t out_size, struct ws_event *event);

/*
 * The short way for a message that came whole in one frame: when no message is open and `in` begins with all of such a
 * frame, it is unmasked over its own header, so that the message is in[0..event->size), and a zero byte follows that
 * counts for nothing. The event is DATA with begin and end, or FAIL for text that is no UTF-8. Returns false, and has
 * done nothing, in every other case: ask ws_decode.
 */
bool ws_decode_whole(struct ws_decoder *decoder, uint8_t *in, size_t in_size, size_t *used, struct ws_event *event);

/* Writes the header of one unmasked, final frame of `size` payload bytes to out; returns its length (2, 4 or 10). */
size_t ws_encode_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t size);

/*
 * The same for any frame: `first` is an opcode with WS_FIN and WS_COMPRESSED where they belong, `mask` the key of a client's
 * frame or NULL. Returns the header's length. RFC 6455, 5.3 wants keys that nobody can predict: a fresh one from a strong
 * source for each frame.
 */
size_t ws_encode_head(uint8_t out[WS_HEADER_MAX], unsigned first, uint64_t size, const uint8_t mask[WS_MASK_SIZE]);

/* Writes a whole frame to WS_HEADER_MAX + size bytes, masking the payload while it is copied. Returns its size. */
size_t ws_encode_frame(uint8_t *out, unsigned first, const uint8_t mask[WS_MASK_SIZE], const void *payload, size_t size);

/*
 * Writes a close frame's payload (code, and reason cut at a character's end to fit 123 bytes); returns its size. Code 1005,
 * what a close event has when the peer sent none, makes an empty one.
 */
size_t ws_encode_close_payload(uint8_t out[WS_CONTROL_MAX], uint16_t code, const char *reason);

/* Writes a whole unmasked close frame with such a payload; returns its length. */
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
