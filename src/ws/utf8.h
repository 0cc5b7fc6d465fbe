/* SPDX-License-Identifier: MIT */
/*
 * Incremental UTF-8 validation (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef TANDEM_WS_UTF8_H
#define TANDEM_WS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_ACCEPT 0u  /* the state at the start, and after every complete character */
#define UTF8_REJECT 1u  /* final: no further byte can mend it */

/* Feeds `size` bytes; returns the new state. Fails at the first byte that cannot be part of valid text. */
uint32_t utf8_feed(uint32_t state, const uint8_t *bytes, size_t size);

/* Whether the whole text is valid and ends on a character. */
bool utf8_valid(const uint8_t *bytes, size_t size);

#endif
