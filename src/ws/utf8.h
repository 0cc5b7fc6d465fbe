/* SPDX-License-Identifier: MIT */
/*
 * Incremental UTF-8 validation (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
 *
 * Long pieces are checked by vectors where the processor has them (AVX2, NEON); the scalar way is always there, takes the
 * ends, and is what the tests hold the others against.
 */
#ifndef TANDEM_WS_UTF8_H
#define TANDEM_WS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_ACCEPT 0u  /* the state at the start, and after every complete character */
#define UTF8_REJECT 1u  /* final: no further byte can mend it */

/* Feeds `size` bytes; returns the new state: UTF8_REJECT as soon as one cannot be part of valid text. Any thread. */
uint32_t utf8_feed(uint32_t state, const uint8_t *bytes, size_t size);

/* The same without vectors. */
uint32_t utf8_feed_scalar(uint32_t state, const uint8_t *bytes, size_t size);

/* Whether the whole text is valid and ends on a character. */
bool utf8_valid(const uint8_t *bytes, size_t size);

/*
 * Checks as many whole blocks as there are, from a character's start. Returns the number of bytes looked at, or SIZE_MAX
 * when they are not UTF-8; the last character of them may be incomplete.
 */
size_t utf8_blocks_avx2(const uint8_t *bytes, size_t size);
size_t utf8_blocks_neon(const uint8_t *bytes, size_t size);

#endif
