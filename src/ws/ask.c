/* SPDX-License-Identifier: MIT */
#include "ws/ask.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#define HEAD_ROOM 512  /* of what is written whatever is asked for */

void ws_key_text(const uint8_t bytes[16], char key[WS_KEY_SIZE])
{
    EVP_EncodeBlock((unsigned char *)key, bytes, 16);
}

/* The names that the handshake writes itself, and those that would make it another request. */
static bool is_ours(const char *name, size_t size)
{
    static const char *const ours[] = {"Host", "Upgrade", "Connection", "Content-Length", "Transfer-Encoding", "TE", "Trailer",
                                       "Expect"};

    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strlen(ours[i]) == size && strncasecmp(name, ours[i], size) == 0)
            return true;
    return size >= 14 && strncasecmp(name, "Sec-WebSocket-", 14) == 0;
}

bool ws_fields_valid(const char *fields)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    while (fields && *fields) {
        size_t size = strspn(fields, token);

        if (size == 0 || fields[size] != ':' || is_ours(fields, size))
            return false;
        for (fields += size + 1; (unsigned char)*fields >= ' ' || *fields == '\t'; fields++)
            if (*fields == 127)
                return false;
        if (fields[0] != '\r' || fields[1] != '\n')
            return false;
        fields += 2;
    }
    return true;
}

static size_t size_of(const char *text)
{
    return text ? strlen(text) : 0;
}

size_t ws_ask_size(const struct ws_url *url, const struct ws_ask *ask)
{
    return HEAD_ROOM + strlen(url->target) + strlen(url->field) + size_of(ask->fields) + size_of(ask->protocols) +
           size_of(ask->extensions);
}

size_t ws_ask_write(char *out, size_t room, const struct ws_url *url, const struct ws_ask *ask)
{
    int n = snprintf(out, room,
                     "GET %s%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s%s%s%s%s%s%s\r\n",
                     *url->target == '/' ? "" : "/", url->target, url->field, ask->key,
                     ask->protocols ? "Sec-WebSocket-Protocol: " : "", ask->protocols ? ask->protocols : "",
                     ask->protocols ? "\r\n" : "", ask->extensions ? "Sec-WebSocket-Extensions: " : "",
                     ask->extensions ? ask->extensions : "", ask->extensions ? "\r\n" : "", ask->fields ? ask->fields : "");

    return (size_t)n;
}
