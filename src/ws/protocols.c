/* SPDX-License-Identifier: MIT */
#include "ws/protocols.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* RFC 9110, 5.6.2 */
static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/* The next name of a list: returns where it begins, and its size, 0 at the list's end. */
static const char *next(const char **list, size_t *size)
{
    const char *at = *list + strspn(*list, " \t,");

    *size = strcspn(at, " \t,");
    *list = at + *size;
    return at;
}

bool ws_protocols_valid(const char *list)
{
    while (*list) {
        size_t size;

        list += strspn(list, " \t");
        size = strspn(list, token);
        list += size;
        list += strspn(list, " \t");
        if (size == 0 || size >= WS_PROTOCOL_MAX || (*list && *list != ','))
            return false;
        if (*list && !*++list)
            return false;  /* nothing behind the comma */
    }
    return true;
}

static bool has(const char *list, const char *name, size_t name_size)
{
    for (;;) {
        size_t size;
        const char *at = next(&list, &size);

        if (size == 0)
            return false;
        if (size == name_size && memcmp(at, name, size) == 0)
            return true;
    }
}

bool ws_protocols_have(const char *list, const char *name)
{
    return list && has(list, name, strlen(name));
}

int ws_protocol_choose(const char *offered, const char *ours, char chosen[WS_PROTOCOL_MAX])
{
    chosen[0] = '\0';
    if (offered && (!*offered || !ws_protocols_valid(offered)))
        return -EINVAL;
    while (offered && ours) {
        size_t size;
        const char *at = next(&ours, &size);

        if (size == 0)
            break;
        if (size >= WS_PROTOCOL_MAX || !has(offered, at, size))
            continue;
        memcpy(chosen, at, size);
        chosen[size] = '\0';
        break;
    }
    return 0;
}
