/* SPDX-License-Identifier: MIT */
/*
 * The server's answer to a client's handshake (RFC 6455, 4.1), as strictly as the RFC has it. No socket is known here.
 */
#ifndef TANDEM_WS_ANSWER_H
#define TANDEM_WS_ANSWER_H

#include <stddef.h>

#include "ws/codec.h"
#include "ws/extension.h"
#include "ws/protocols.h"

#define WS_ANSWER_MAX 16384  /* bytes of a head; a longer one is refused */

struct ws_asked {
    char accept[WS_ACCEPT_SIZE];  /* what the server must have made of our key */
    const char *protocols;        /* offered; NULL: none */
    const struct ws_deflate_wish *deflate;  /* offered; NULL: not */
};

struct ws_answer {
    int status;                   /* 101, when the rest is as it must be */
    char protocol[WS_PROTOCOL_MAX];   /* agreed on; "": none */
    bool deflate;                 /* agreed on, with these terms */
    struct ws_deflate_terms terms;
};

/*
 * Reads a whole head: `size` bytes that end in an empty line. Returns 0; -EACCES for a well-formed answer with another status
 * than 101; -EPROTO for anything that RFC 9112 or RFC 6455 forbids, a subprotocol or an extension that was not offered
 * among it.
 */
int ws_answer_read(const char *head, size_t size, const struct ws_asked *asked, struct ws_answer *answer);

#endif
