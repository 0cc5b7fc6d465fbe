/* SPDX-License-Identifier: MIT */
/*
 * A client's handshake, its first half (RFC 6455, 4.1). No socket is known here.
 */
#ifndef TANDEM_WS_ASK_H
#define TANDEM_WS_ASK_H

#include <stddef.h>
#include <stdint.h>

#include "ws/url.h"

#define WS_KEY_SIZE 25  /* 24 characters and the final zero */

/* The text of a key of 16 random bytes. */
void ws_key_text(const uint8_t bytes[16], char key[WS_KEY_SIZE]);

/* Whether these are lines "Name: value\r\n" that a handshake may have beside its own. NULL is none, and fine. */
bool ws_fields_valid(const char *fields);

/* What is asked for. Each but the key may be NULL: none. */
struct ws_ask {
    const char *key, *fields, *protocols, *extensions;
};

/* Bytes that ws_ask_write needs at the most. */
size_t ws_ask_size(const struct ws_url *url, const struct ws_ask *ask);

/* Writes the request. Returns its size. */
size_t ws_ask_write(char *out, size_t room, const struct ws_url *url, const struct ws_ask *ask);

#endif
