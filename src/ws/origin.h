/* SPDX-License-Identifier: MIT */
/*
 * Whose pages may connect. A browser lets every page open a WebSocket to every host and sends the cookies of that host
 * along; the Origin field is how the server knows whose page it is (RFC 6455, 10.2). No socket is known here.
 */
#ifndef TANDEM_WS_ORIGIN_H
#define TANDEM_WS_ORIGIN_H

#include <stdbool.h>

/*
 * Whether a page of `origin` (the field's value, never NULL) may connect to `host` (the request's, may be NULL). `allowed`: "*",
 * or a list of origins, or NULL: those of the same host. Origins are compared as RFC 6454, 5 has it: scheme, host, port. The
 * scheme that the browser used is not known here, for a proxy may have taken TLS off: of the same host are the same name and
 * the port that the origin's scheme means where none is written.
 */
bool ws_origin_allowed(const char *origin, const char *host, const char *allowed);

#endif
