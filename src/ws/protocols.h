/* SPDX-License-Identifier: MIT */
/*
 * Subprotocols (RFC 6455, 1.9): lists of names, the best first. No socket is known here.
 */
#ifndef TANDEM_WS_PROTOCOLS_H
#define TANDEM_WS_PROTOCOLS_H

#include <stdbool.h>

#define WS_PROTOCOL_MAX 128  /* bytes of one name, its final zero included */

/* Whether this is a list of at least one token (RFC 9110, 5.6.2), none of them empty or too long. */
bool ws_protocols_valid(const char *list);

/* Whether the list has this name; case counts. NULL has none. */
bool ws_protocols_have(const char *list, const char *name);

/*
 * The first of ours that the other side offered; "" when there is none. Either list may be NULL. Returns 0, or -EINVAL when
 * the offer is no list of names.
 */
int ws_protocol_choose(const char *offered, const char *ours, char chosen[WS_PROTOCOL_MAX]);

#endif
