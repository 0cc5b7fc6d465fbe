/* SPDX-License-Identifier: MIT */
/*
 * Addresses of WebSockets (RFC 6455, 3; RFC 3986): "ws://host:port/path?query". No socket is known here.
 */
#ifndef TANDEM_WS_URL_H
#define TANDEM_WS_URL_H

#include <stdbool.h>

#define WS_HOST_MAX 272   /* bytes of "host:port", the final zero included */

struct ws_url {
    bool tls;                 /* wss:// */
    char place[WS_HOST_MAX];  /* "host:port", for a lookup; an IPv6 address in brackets */
    char host[WS_HOST_MAX];   /* the name alone, without brackets: what a certificate is for */
    char field[WS_HOST_MAX];  /* for the Host field: the port only where it is not the scheme's */
    const char *target;       /* inside the text: "/path?query", or "?query", or "" */
};

/* Returns 0, or -EINVAL: no such address; it names a user; or it has a fragment, or bytes that must be escaped. */
int ws_url_parse(const char *text, struct ws_url *url);

#endif
