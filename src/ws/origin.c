/* SPDX-License-Identifier: MIT */
#include "ws/origin.h"

#include <stddef.h>
#include <string.h>

#include "http/codec.h"

struct span {
    const char *at;
    size_t size;
};

struct origin {
    struct span scheme, host;
    long port;   /* 0: none is written, and the scheme has none of its own */
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same(struct span a, struct span b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++)
        if (lower(a.at[i]) != lower(b.at[i]))
            return false;
    return true;
}

static bool is(struct span text, const char *name)
{
    return http_same(text.at, text.size, name);
}

static long port_of_scheme(struct span scheme)
{
    return is(scheme, "https") || is(scheme, "wss") ? 443 : is(scheme, "http") || is(scheme, "ws") ? 80 : 0;
}

/* Splits "host" or "host:port", an address in brackets too. Without a port it is `standard`. False: malformed. */
static bool split_host(struct span text, long standard, struct span *host, long *port)
{
    size_t at = 0;

    if (text.size > 0 && text.at[0] == '[')
        while (at < text.size && text.at[at] != ']')
            at++;
    while (at < text.size && text.at[at] != ':')
        at++;
    *host = (struct span){text.at, at};
    *port = standard;
    if (at == 0 || memchr(text.at, '@', text.size) || memchr(text.at, '/', text.size) || memchr(text.at, ' ', text.size))
        return false;
    if (at == text.size)
        return true;
    *port = 0;
    for (size_t i = at + 1; i < text.size; i++) {
        if (text.at[i] < '0' || text.at[i] > '9' || *port > 65535)
            return false;
        *port = *port * 10 + (text.at[i] - '0');
    }
    return at + 1 < text.size && *port > 0 && *port <= 65535;
}

/* False for what is no serialised origin (RFC 6454, 6.2), "null" among it. */
static bool parse(struct span text, struct origin *origin)
{
    const char *colon = memchr(text.at, ':', text.size);
    size_t scheme = colon ? (size_t)(colon - text.at) : 0;

    if (scheme == 0 || text.size < scheme + 4 || memcmp(colon, "://", 3) != 0)
        return false;
    origin->scheme = (struct span){text.at, scheme};
    return split_host((struct span){text.at + scheme + 3, text.size - scheme - 3}, port_of_scheme(origin->scheme),
                      &origin->host, &origin->port);
}

static bool same_host(const struct origin *origin, const char *host)
{
    struct span name;
    long port;

    return host && split_host((struct span){host, strlen(host)}, port_of_scheme(origin->scheme), &name, &port) &&
           port == origin->port && same(name, origin->host);
}

static bool matches(struct span one, struct span given, const struct origin *origin)
{
    struct origin allowed;

    if (is(one, "*"))
        return true;
    if (!origin)
        return is(one, "null") && is(given, "null");  /* a page in a sandbox, or from a file */
    return parse(one, &allowed) && same(allowed.scheme, origin->scheme) && same(allowed.host, origin->host) &&
           allowed.port == origin->port;
}

bool ws_origin_allowed(const char *text, const char *host, const char *allowed)
{
    struct span given = {text, strlen(text)};
    struct origin parsed, *origin = parse(given, &parsed) ? &parsed : NULL;

    if (!allowed)
        return origin && same_host(origin, host);
    while (*allowed) {
        struct span one = {allowed + strspn(allowed, " \t,"), 0};

        one.size = strcspn(one.at, " \t,");
        if (one.size && matches(one, given, origin))
            return true;
        allowed = one.at + one.size;
    }
    return false;
}
