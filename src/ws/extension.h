/* SPDX-License-Identifier: MIT */
/*
 * Sec-WebSocket-Extensions (RFC 6455, 9.1) and what is agreed on in it: permessage-deflate (RFC 7692, 7.1). Of other
 * extensions only the syntax is looked at.
 */
#ifndef TANDEM_WS_EXTENSION_H
#define TANDEM_WS_EXTENSION_H

#include <stdbool.h>
#include <stdint.h>

#define WS_EXTENSION_MAX 160  /* bytes of the longest field value we write, with its final zero */

/* What one side wants. */
struct ws_deflate_wish {
    bool keep_context;    /* both sides may keep their context from message to message: memory for each connection */
    uint8_t window_bits;  /* 9 to 15: the largest windows, of either side */
};

/* What was agreed on. A side that does not keep its context begins each message without one. */
struct ws_deflate_terms {
    bool server_keeps, client_keeps;
    uint8_t server_bits, client_bits;  /* 8 to 15: how far back that side's messages may refer */
};

/*
 * A server's answer to what a client offers in a field's value. The first acceptable offer is taken; one with an unknown
 * parameter, a parameter given twice, or a bad value is declined, as RFC 7692, 7.1 demands.
 * Returns 1, *terms and the answer's value; 0 when nothing was agreed on: send no such field; -EPROTO when the value has no
 * valid syntax: the handshake is refused (RFC 6455, 9.1).
 */
int ws_extension_answer(const char *offers, const struct ws_deflate_wish *wish, struct ws_deflate_terms *terms,
                        char answer[WS_EXTENSION_MAX]);

/* A client's offer: the field's value. */
void ws_extension_offer(const struct ws_deflate_wish *wish, char offer[WS_EXTENSION_MAX]);

/*
 * What a server's answer to that offer means. Returns 1 and *terms; -EPROTO when it is none that a server may give: the
 * connection is to be failed (RFC 7692, 7.1; RFC 6455, 4.1).
 */
int ws_extension_agree(const char *answer, const struct ws_deflate_wish *wish, struct ws_deflate_terms *terms);

#endif
