/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/stream.h"

static int parse_port(const char *text, in_port_t *port)
{
    unsigned value = 0;

    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || (value = value * 10 + (unsigned)(*text - '0')) > 65535)
            return -EINVAL;
    }
    *port = htons((uint16_t)value);
    return 0;
}

int address_parse(const char *text, struct sockaddr_storage *address, socklen_t *size)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    const char *colon = strrchr(text, ':');
    char host[TD_ADDRESS_MAX];
    size_t length;

    memset(address, 0, sizeof *address);
    if (!colon || (length = (size_t)(colon - text)) >= sizeof host)
        return -EINVAL;
    memcpy(host, text, length);
    host[length] = '\0';
    if (host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) != 1)
            return -EINVAL;
        v6->sin6_family = AF_INET6;
        *size = sizeof *v6;
        return parse_port(colon + 1, &v6->sin6_port);
    }
    if (inet_pton(AF_INET, host, &v4->sin_addr) != 1)
        return -EINVAL;
    v4->sin_family = AF_INET;
    *size = sizeof *v4;
    return parse_port(colon + 1, &v4->sin_port);
}

void address_format(const struct sockaddr_storage *address, char text[TD_ADDRESS_MAX])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    char host[INET6_ADDRSTRLEN] = "?";

    if (address->ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(text, TD_ADDRESS_MAX, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(text, TD_ADDRESS_MAX, "%s:%u", host, ntohs(v4->sin_port));
    }
}
