/* SPDX-License-Identifier: MIT */
#include "fetch/response.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ROOM_FIRST 512

int grown_add(struct grown *grown, const void *bytes, size_t size)
{
    size_t room = grown->room ? grown->room : ROOM_FIRST;
    char *larger;

    if (size >= SIZE_MAX / 4 - grown->size)
        return -ENOMEM;
    while (room < grown->size + size + 1)
        room *= 2;
    if (room != grown->room) {
        larger = realloc(grown->bytes, room);
        if (!larger)
            return -ENOMEM;
        grown->bytes = larger;
        grown->room = room;
    }
    memcpy(grown->bytes + grown->size, bytes, size);
    grown->size += size;
    grown->bytes[grown->size] = '\0';
    return 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* A line that goes on with the field above it: obsolete, and to be read as if a space were there (RFC 9112, 5.2). */
static int unfold(struct grown *lines, const char *line, size_t size)
{
    while (size > 0 && is_space(*line)) {
        line++;
        size--;
    }
    if (lines->size == 0)
        return -EPROTO;
    lines->bytes[lines->size - 1] = ' ';  /* the zero behind the value */
    return grown_add(lines, line, size) < 0 || grown_add(lines, "", 1) < 0 ? -ENOMEM : 0;
}

static int add_field(struct grown *lines, const char *line, size_t size)
{
    const char *colon = memchr(line, ':', size), *value, *end = line + size;

    if (is_space(*line))
        return unfold(lines, line, size);
    if (!colon || colon == line || memchr(line, '\0', size))
        return -EPROTO;
    value = colon + 1;
    while (value < end && is_space(*value))
        value++;
    while (end > value && is_space(end[-1]))
        end--;
    if (grown_add(lines, line, (size_t)(colon - line)) < 0 || grown_add(lines, "", 1) < 0 ||
        grown_add(lines, value, (size_t)(end - value)) < 0 || grown_add(lines, "", 1) < 0)
        return -ENOMEM;
    return 0;
}

int response_line(td_http_response *response, const char *line, size_t size, size_t bytes_max)
{
    response->head_bytes += size;
    if (response->head_bytes > bytes_max)
        return -EMSGSIZE;
    while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r'))
        size--;
    if (size == 0) {
        response->head_done = true;
        return 0;
    }
    if (size >= 5 && memcmp(line, "HTTP/", 5) == 0 && !memchr(line, ':', size < 12 ? size : 12)) {
        const char *space = memchr(line, ' ', size);

        response->head_done = false;
        response->version = line[5] == '2' ? 20 : size > 7 && line[7] == '0' ? 10 : 11;
        response->status = space ? (int)strtol(space, NULL, 10) : 0;  /* libcurl ends its lines with a zero byte */
        response->fields.size = response->trailers.size = 0;
        return 0;
    }
    return add_field(response->head_done ? &response->trailers : &response->fields, line, size);
}

int response_collect(td_http_response *response, const void *bytes, size_t size, size_t bytes_max)
{
    if (size > bytes_max - response->body.size)
        return -EMSGSIZE;
    return grown_add(&response->body, bytes, size);
}

/* The next of the pairs in `lines` from `at` on. */
static bool next_pair(const struct grown *lines, size_t *at, const char **name, const char **value)
{
    if (*at >= lines->size)
        return false;
    *name = lines->bytes + *at;
    *value = *name + strlen(*name) + 1;
    *at = (size_t)(*value - lines->bytes) + strlen(*value) + 1;
    return true;
}

static const char *find(const struct grown *lines, const char *wanted)
{
    const char *name, *value;
    size_t at = 0;

    while (next_pair(lines, &at, &name, &value))
        if (strcasecmp(name, wanted) == 0)
            return value;
    return NULL;
}

int td_http_response_status(const td_http_response *response)
{
    return response->status;
}

int td_http_response_version(const td_http_response *response)
{
    return response->version;
}

const char *td_http_response_url(const td_http_response *response)
{
    return response->url ? response->url : "";
}

const char *td_http_response_field(const td_http_response *response, const char *name)
{
    return find(&response->fields, name);
}

const char *td_http_response_trailer(const td_http_response *response, const char *name)
{
    return find(&response->trailers, name);
}

bool td_http_response_each(const td_http_response *response, size_t index, const char **name, const char **value)
{
    size_t at = 0;

    while (next_pair(&response->fields, &at, name, value))
        if (index-- == 0)
            return true;
    return false;
}

const char *td_http_response_body(const td_http_response *response, size_t *size)
{
    if (size)
        *size = response->body.size;
    return response->body.bytes ? response->body.bytes : "";
}

void td_http_response_free(td_http_response *response)
{
    if (!response)
        return;
    free(response->fields.bytes);
    free(response->trailers.bytes);
    free(response->body.bytes);
    free(response->url);
    free(response);
}
