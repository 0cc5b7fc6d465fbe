/* SPDX-License-Identifier: MIT */
#include "ws/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Letters, digits, and what a name or an address may have beside them. */
static const char host_bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
static const char address_bytes[] = "0123456789abcdefABCDEF:.";
static const char digits[] = "0123456789";

/* Every byte of a target is a visible one, and none begins a fragment. */
static bool target_valid(const char *target)
{
    for (; *target; target++)
        if (*target <= ' ' || *target >= 127 || *target == '#')
            return false;
    return true;
}

int ws_url_parse(const char *text, struct ws_url *url)
{
    bool tls = strncasecmp(text, "wss://", 6) == 0, bracket;
    const char *host, *end, *port;
    size_t host_size, port_size = 0;

    if (!tls && strncasecmp(text, "ws://", 5) != 0)
        return -EINVAL;
    host = text + (tls ? 6 : 5);
    bracket = *host == '[';
    host_size = bracket ? strspn(host + 1, address_bytes) + 2 : strspn(host, host_bytes);
    if (host_size == (bracket ? 2 : 0) || host_size > WS_HOST_MAX - 8 || (bracket && host[host_size - 1] != ']'))
        return -EINVAL;
    end = host + host_size;
    port = tls ? "443" : "80";
    if (*end == ':') {
        port = end + 1;
        port_size = strspn(port, digits);
        end = port + port_size;
        if (port_size == 0 || port_size > 5)
            return -EINVAL;
    }
    if ((*end && *end != '/' && *end != '?') || !target_valid(end))
        return -EINVAL;
    *url = (struct ws_url){.tls = tls, .target = end};
    snprintf(url->place, sizeof url->place, "%.*s:%.*s", (int)host_size, host, port_size ? (int)port_size : 3, port);
    snprintf(url->host, sizeof url->host, "%.*s", (int)(bracket ? host_size - 2 : host_size), host + bracket);
    snprintf(url->field, sizeof url->field, "%.*s%s%.*s", (int)host_size, host, port_size ? ":" : "", (int)port_size, port);
    return 0;
}
