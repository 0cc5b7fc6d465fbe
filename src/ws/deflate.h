/* SPDX-License-Identifier: MIT */
/*
 * Compressed messages (RFC 7692) by zlib: messages to payloads and payloads to messages. It knows no frame and no socket.
 *
 * A compressor needs up to 268 KB and a decompressor 10 to 42, so connections do not have their own unless that was
 * agreed on: without context takeover each message stands alone, and those of a whole loop come from one struct
 * ws_deflate_shared. A compressor is needed for one call; a decompressor is borrowed from a message's first byte to its last.
 *
 * Objects belong to one loop. Nothing here is a checkpoint.
 */
#ifndef TANDEM_WS_DEFLATE_H
#define TANDEM_WS_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ws_deflater;
struct ws_inflater;

/*
 * A compressor whose matches reach back 2^window_bits bytes at the most, 8 to 15. `keeps`: it keeps its context from message
 * to message. Returns NULL when memory is short.
 */
struct ws_deflater *ws_deflater_new(int window_bits, bool keeps);
void ws_deflater_free(struct ws_deflater *deflater);

/*
 * Compresses a message. Returns the size of its payload, which is at *payload until the next call; 0 when the message
 * would not get smaller: send it as it is; -ENOMEM, likewise.
 */
ssize_t ws_deflate(struct ws_deflater *deflater, const void *data, size_t size, const uint8_t **payload);

/*
 * A decompressor for matches that reach back 2^window_bits bytes, 8 to 15. NULL when memory is short. A peer that breaks its
 * word and refers further back is refused where those bytes are gone, and understood where they happen to be there still.
 */
struct ws_inflater *ws_inflater_new(int window_bits, bool keeps);
void ws_inflater_free(struct ws_inflater *inflater);

/* Begins a message, which may have message_max bytes. */
void ws_inflater_begin(struct ws_inflater *inflater, uint64_t message_max);

/* What a call of ws_inflate reads and writes; it moves the pointers and counts the sizes down. */
struct ws_inflate_io {
    const uint8_t *in;
    size_t in_left;
    uint8_t *out;
    size_t out_left;
    bool last;  /* the message has no more payload than this */
};

enum ws_inflated {
    WS_INFLATE_INPUT,  /* all input was used: bring the message's next piece */
    WS_INFLATE_ROOM,   /* `out` is full, and there is at least one more byte: bring room, and what is left of the input */
    WS_INFLATE_DONE,   /* the message is complete: all input was used, and it was the last */
};

/*
 * Decompresses a piece of a message, as far as there is room; out_left may be 0. Not more than message_max bytes are ever
 * written, nor computed: however much a payload would expand to, the work ends there.
 * Returns an enum ws_inflated; -EMSGSIZE when the message is larger than message_max, at the first byte too many (1009);
 * -EBADMSG when the payload is no valid DEFLATE data, or ends inside a block (1007); -ENOMEM (1011). After an error only
 * ws_inflater_free is left, and ws_deflate_shared_return.
 */
int ws_inflate(struct ws_inflater *inflater, struct ws_inflate_io *io);

/* Compressors and decompressors without context takeover for all connections of a loop. Zeroed memory is an empty one. */
struct ws_deflate_shared {
    struct ws_deflater *deflaters[16];  /* by window bits */
    struct ws_inflater *idle;
    unsigned idle_count;
};

void ws_deflate_shared_fini(struct ws_deflate_shared *shared);

/* The compressor for these window bits (8 to 15), made when it is first asked for; NULL when memory is short. */
struct ws_deflater *ws_deflate_shared_deflater(struct ws_deflate_shared *shared, int window_bits);

/* Lends a decompressor for one message, of any window; NULL when memory is short. Give it back after the message, or an error. */
struct ws_inflater *ws_deflate_shared_borrow(struct ws_deflate_shared *shared);
void ws_deflate_shared_return(struct ws_deflate_shared *shared, struct ws_inflater *inflater);

#endif
