/* SPDX-License-Identifier: MIT */
/* What a request's strings say: paths, queries, lists. */
#include <errno.h>
#include <string.h>

#include "http/codec.h"

/* HTTP's names are ASCII, whatever locale the program chose: hence not strncasecmp. */
static int lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

bool http_same(const char *text, size_t size, const char *name)
{
    for (size_t i = 0; i < size; i++)
        if (name[i] == '\0' || lower(text[i]) != lower(name[i]))
            return false;
    return name[size] == '\0';
}

bool http_same_bytes(const char *text, const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (lower(text[i]) != lower(name[i]))
            return false;
    return true;
}

unsigned http_list_count(const char *list, const char *token, bool *last)
{
    unsigned found = 0;

    *last = false;
    while (list != NULL && *list != '\0') {
        const char *start = list + strspn(list, " \t,");
        const char *end = start + strcspn(start, ",");

        list = end;
        while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        *last = http_same(start, (size_t)(end - start), token);
        found += *last;
    }
    return found;
}

bool http_list_has(const char *list, const char *token)
{
    bool last;

    return list != NULL && http_list_count(list, token, &last) > 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes one byte or one escape at *at, before end. Returns the byte; -EINVAL for a bad escape and for a zero byte. */
static int decode_byte(const char **at, const char *end, bool plus_is_space)
{
    char c = *(*at)++;
    int high, low;

    if (c == '+' && plus_is_space)
        return ' ';
    if (c != '%')
        return (unsigned char)c;
    if (end - *at < 2 || (high = hex_digit((*at)[0])) < 0 || (low = hex_digit((*at)[1])) < 0 || high + low == 0)
        return -EINVAL;
    *at += 2;
    return 16 * high + low;
}

/* Decodes what lies before end into out, with a final zero. Returns the length, -EINVAL or -ENAMETOOLONG. */
static int decode(const char *at, const char *end, bool plus_is_space, char *out, size_t out_size)
{
    size_t size = 0;

    while (at < end) {
        int byte = decode_byte(&at, end, plus_is_space);

        if (byte < 0)
            return byte;
        if (size + 1 >= out_size)
            return -ENAMETOOLONG;
        out[size++] = (char)byte;
    }
    if (size >= out_size)
        return -ENAMETOOLONG;
    out[size] = '\0';
    return (int)size;
}

const char *http_authority(const char *target, size_t *size)
{
    size_t scheme_size = strcspn(target, ":");

    if (!http_same(target, scheme_size, "http") && !http_same(target, scheme_size, "https"))
        return NULL;
    if (strncmp(target + scheme_size, "://", 3) != 0)
        return NULL;
    target += scheme_size + 3;
    *size = strcspn(target, "/?");
    return *size > 0 ? target : NULL;   /* RFC 9110, 4.2.1: the host is not empty */
}

/* Behind the "http://host" of an absolute form (RFC 9112, 3.2.2); or NULL. */
static const char *skip_authority(const char *target)
{
    size_t size;
    const char *authority = http_authority(target, &size);

    return authority != NULL ? authority + size : NULL;
}

int http_path(const char *target, char *path, size_t path_size, const char **query)
{
    const char *start = target[0] == '/' ? target : skip_authority(target);
    size_t size;
    int rc;

    if (start == NULL)
        return -EINVAL;
    size = strcspn(start, "?");
    *query = start[size] == '?' ? start + size + 1 : start + size;
    if (size == 0) {    /* "http://host" and "http://host?query": RFC 9110, 4.2.3 */
        start = "/";
        size = 1;
    }
    rc = decode(start, start + size, false, path, path_size);
    return rc < 0 ? rc : 0;
}

/* Whether the key between at and end, decoded, is name. */
static bool key_is(const char *at, const char *end, const char *name)
{
    while (at < end) {
        int byte = decode_byte(&at, end, true);

        if (byte < 0 || *name == '\0' || byte != (unsigned char)*name)
            return false;
        name++;
    }
    return *name == '\0';
}

int http_query_value(const char *query, const char *name, char *value, size_t value_size)
{
    while (query != NULL && *query != '\0') {
        const char *key_end = query + strcspn(query, "=&");
        const char *end = key_end + strcspn(key_end, "&");

        if (key_is(query, key_end, name))
            return decode(key_end < end ? key_end + 1 : end, end, true, value, value_size);
        query = *end == '&' ? end + 1 : end;
    }
    return -ENOENT;
}
