/* SPDX-License-Identifier: MIT */
#include "http/h2_fields.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "http/codec.h"

#define TOKEN_BYTES "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool is_of_connection(const char *name, size_t size)
{
    static const char *const names[] = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (http_same(name, size, names[i]))
            return true;
    return false;
}

static size_t count_lines(const char *lines)
{
    size_t count = 0;

    for (const char *at = lines; (at = strchr(at, '\n')) != NULL; at++)
        count++;
    return count;
}

/* The size of the line, or 0 when it is malformed (RFC 9110, 5.1 and 5.5). */
static size_t line_size(const char *line, size_t name_size)
{
    const char *at = line + name_size;

    if (name_size == 0 || *at != ':')
        return 0;
    while ((unsigned char)*at >= ' ' ? *at != 0x7f : *at == '\t')
        at++;
    return at[0] == '\r' && at[1] == '\n' ? (size_t)(at + 2 - line) : 0;
}

/* Takes one line, its name lowered into `store`. */
static void take(struct h2_fields *fields, const char *line, size_t name_size, size_t size, char *store)
{
    const char *value = line + name_size + 1, *end = line + size - 2;

    for (size_t i = 0; i < name_size; i++)
        store[i] = (char)(line[i] >= 'A' && line[i] <= 'Z' ? line[i] + ('a' - 'A') : line[i]);
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    fields->list[fields->count++] = (nghttp2_nv){.name = (uint8_t *)store, .value = (uint8_t *)(uintptr_t)value,
                                                 .namelen = name_size, .valuelen = (size_t)(end - value)};
}

int h2_fields_read(struct h2_fields *fields, int status, const char *lines)
{
    static const char name[] = ":status";
    size_t room = count_lines(lines) + 1, table = room * sizeof(nghttp2_nv);
    char *store;

    if (status != 0 && (status < 100 || status > 999))
        return -EINVAL;
    *fields = (struct h2_fields){.list = malloc(table + 4 + strlen(lines))};
    if (!fields->list)
        return -ENOMEM;
    store = (char *)fields->list + table;
    if (status != 0) {
        for (int i = 2, rest = status; i >= 0; i--, rest /= 10)
            store[i] = (char)('0' + rest % 10);
        fields->list[fields->count++] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name, .value = (uint8_t *)store,
                                                     .namelen = sizeof name - 1, .valuelen = 3};
        store += 3;
    }
    while (*lines != '\0') {
        size_t name_size = strspn(lines, TOKEN_BYTES), size = line_size(lines, name_size);

        if (size == 0) {
            h2_fields_free(fields);
            return -EINVAL;
        }
        if (!is_of_connection(lines, name_size)) {
            take(fields, lines, name_size, size, store);
            store += name_size;
        }
        lines += size;
    }
    return 0;
}

void h2_fields_free(struct h2_fields *fields)
{
    free(fields->list);
    *fields = (struct h2_fields){0};
}
