/* SPDX-License-Identifier: MIT */
/*
 * The masking of RFC 6455, 5.3, which is its own inverse: byte i of a payload is combined with byte i % 4 of a key.
 *
 * There are several ways to do it, as wide as the processor's registers; the widest that it has is taken at each call. The
 * scalar way is always there, and is what the tests hold the others against.
 */
#ifndef TANDEM_WS_MASK_H
#define TANDEM_WS_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A key as a word whose first byte in memory is meant for the payload's next byte. */
typedef uint32_t ws_key;

static inline ws_key ws_key_read(const uint8_t bytes[4])
{
    ws_key key;

    memcpy(&key, bytes, sizeof key);
    return key;
}

/* The key for what follows `size` bytes. */
static inline ws_key ws_key_turn(ws_key key, size_t size)
{
    unsigned bits = 8 * (size % 4);

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return bits == 0 ? key : key >> bits | key << (32 - bits);
#else
    return bits == 0 ? key : key << bits | key >> (32 - bits);
#endif
}

/*
 * Masks or unmasks `size` bytes. `to` may be `from`, or overlap it from below (start at a lower address). Where the two
 * do not overlap, any order is fine. A key of 0 makes this a plain copy. Any thread.
 */
void ws_mask(uint8_t *to, const uint8_t *from, size_t size, ws_key key);

/* One way to do it, for tests and measurements. */
struct ws_mask_way {
    const char *name;
    void (*run)(uint8_t *to, const uint8_t *from, size_t size, ws_key key);
    bool (*works)(void);  /* on this processor */
};

/* Way `i`, the scalar one first; NULL behind the last. */
const struct ws_mask_way *ws_mask_way(size_t i);

#endif
