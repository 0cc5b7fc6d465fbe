/* SPDX-License-Identifier: MIT */
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define UNIX_PREFIX "unix:"

static int parse_number(const char *text, unsigned most, unsigned *number)
{
    unsigned value = 0;

    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || value > (most - (unsigned)(*text - '0')) / 10)
            return -EINVAL;
        value = value * 10 + (unsigned)(*text - '0');
    }
    *number = value;
    return 0;
}

static int parse_port(const char *text, in_port_t *port)
{
    unsigned value;
    int rc = parse_number(text, 65535, &value);

    if (rc == 0)
        *port = htons((uint16_t)value);
    return rc;
}

/* RFC 4007, 11.2: the zone is a number, or what the system calls its interfaces. */
static int parse_zone(const char *text, struct sockaddr_in6 *address)
{
    unsigned zone;

    if (!*text || strlen(text) >= IF_NAMESIZE)
        return -EINVAL;
    if (parse_number(text, UINT32_MAX, &zone) < 0)
        zone = if_nametoindex(text);
    if (zone == 0)
        return -ENODEV;
    address->sin6_scope_id = zone;
    return 0;
}

static int parse_v6(char *host, struct sockaddr_in6 *address)
{
    char *zone = strchr(host, '%');

    if (zone)
        *zone++ = '\0';
    if (inet_pton(AF_INET6, host, &address->sin6_addr) != 1)
        return -EINVAL;
    address->sin6_family = AF_INET6;
    return zone ? parse_zone(zone, address) : 0;
}

static int parse_unix(const char *name, struct sockaddr_un *address, socklen_t *size)
{
    bool abstract = name[0] == '@';
    size_t length = strlen(name);

    if (length <= abstract)
        return -EINVAL;
    if (length >= sizeof address->sun_path)
        return -ENAMETOOLONG;
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, name, length);
    if (abstract)
        address->sun_path[0] = '\0';
    /* An abstract name ends with the address, a path with a zero byte: unix(7). */
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + !abstract);
    return 0;
}

static int parse_internet(const char *text, struct sockaddr_storage *address, socklen_t *size)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + IF_NAMESIZE + 2];
    size_t length;
    int rc;

    if (!colon || colon == text || (length = (size_t)(colon - text)) >= sizeof host)
        return -EINVAL;
    memcpy(host, text, length);
    host[length] = '\0';
    if (host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = '\0';
        rc = parse_v6(host + 1, v6);
        *size = sizeof *v6;
        return rc < 0 ? rc : parse_port(colon + 1, &v6->sin6_port);
    }
    if (inet_pton(AF_INET, host, &v4->sin_addr) != 1)
        return -EINVAL;
    v4->sin_family = AF_INET;
    *size = sizeof *v4;
    return parse_port(colon + 1, &v4->sin_port);
}

int address_parse(const char *text, struct sockaddr_storage *address, socklen_t *size)
{
    memset(address, 0, sizeof *address);
    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return parse_unix(text + strlen(UNIX_PREFIX), (struct sockaddr_un *)address, size);
    return parse_internet(text, address, size);
}

static void format_v6(const struct sockaddr_in6 *address, char *text)
{
    char host[INET6_ADDRSTRLEN] = "?", zone[IF_NAMESIZE];
    unsigned port = ntohs(address->sin6_port);

    inet_ntop(AF_INET6, &address->sin6_addr, host, sizeof host);
    if (address->sin6_scope_id == 0)
        snprintf(text, TD_ADDRESS_MAX, "[%s]:%u", host, port);
    else if (if_indextoname(address->sin6_scope_id, zone))
        snprintf(text, TD_ADDRESS_MAX, "[%s%%%s]:%u", host, zone, port);
    else
        snprintf(text, TD_ADDRESS_MAX, "[%s%%%u]:%u", host, address->sin6_scope_id, port);
}

static void format_unix(const struct sockaddr_un *address, socklen_t size, char *text)
{
    size_t begin = offsetof(struct sockaddr_un, sun_path), length = size > begin ? size - begin : 0;

    if (length > sizeof address->sun_path)
        length = sizeof address->sun_path;
    if (length > 0 && address->sun_path[0])
        snprintf(text, TD_ADDRESS_MAX, UNIX_PREFIX "%.*s", (int)length, address->sun_path);
    else if (length > 1)
        snprintf(text, TD_ADDRESS_MAX, UNIX_PREFIX "@%.*s", (int)length - 1, address->sun_path + 1);
    else
        snprintf(text, TD_ADDRESS_MAX, UNIX_PREFIX);
}

void address_format(const struct sockaddr_storage *address, socklen_t size, char text[TD_ADDRESS_MAX])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    char host[INET_ADDRSTRLEN] = "?";

    if (address->ss_family == AF_UNIX) {
        format_unix((const struct sockaddr_un *)address, size, text);
    } else if (address->ss_family == AF_INET6) {
        format_v6((const struct sockaddr_in6 *)address, text);
    } else {
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(text, TD_ADDRESS_MAX, "%s:%u", host, ntohs(v4->sin_port));
    }
}

bool address_is_path(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_UNIX && ((const struct sockaddr_un *)address)->sun_path[0];
}
