/* SPDX-License-Identifier: MIT */
#include "http/compress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "http/accept.h"

#define LEVEL 4            /* half the time of the default 6, for three per cent more bytes of text */
#define MEMORY 8
#define PIECE (16 * 1024)  /* half a millisecond */

struct http_gzip {
    z_stream zlib;
    char *fields;          /* the answer's, with our own */
    unsigned char out[PIECE];
};

/* The value of a line in "Name: value\r\n" lines; NULL when there is none. */
static const char *find_line(const char *fields, const char *name)
{
    size_t size = strlen(name);

    for (const char *at = fields; at && *at; at = strstr(at, "\r\n") ? strstr(at, "\r\n") + 2 : NULL)
        if (strncasecmp(at, name, size) == 0 && at[size] == ':')
            return at + size + 1 + strspn(at + size + 1, " \t");
    return NULL;
}

static bool line_has(const char *value, const char *token)
{
    size_t size = value ? strcspn(value, "\r") : 0;

    for (size_t i = 0; i + strlen(token) <= size; i++)
        if (strncasecmp(value + i, token, strlen(token)) == 0)
            return true;
    return false;
}

static bool is_eligible(const struct answer *answer)
{
    return answer->status == 200 && http_type_compresses(answer->type) && !find_line(answer->fields, "Content-Encoding") &&
           !line_has(find_line(answer->fields, "Cache-Control"), "no-transform") &&
           (answer->body_bytes < 0 || answer->body_bytes >= COMPRESS_BYTES_MIN);
}

/* A strong entity tag names bytes that are not those sent now, so it becomes a weak one (RFC 9110, 8.8.3.3). */
static char *make_fields(const char *fields, bool gzip)
{
    static const char both[] = "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n", vary[] = "Vary: Accept-Encoding\r\n";
    const char *etag = gzip ? find_line(fields, "ETag") : NULL;
    size_t before = etag && *etag == '"' ? (size_t)(etag - fields) : 0;
    char *made = malloc(strlen(fields) + sizeof both + 2), *at = made;

    if (!made)
        return NULL;
    memcpy(at, fields, before);
    at += before;
    if (before > 0)
        at = stpcpy(at, "W/");
    at = stpcpy(at, fields + before);
    memcpy(at, gzip ? both : vary, gzip ? sizeof both : sizeof vary);
    return made;
}

int compress_prepare(td_http *http, struct answer *answer)
{
    struct http_gzip *gzip;
    bool wanted;

    if (!answer->fields)
        answer->fields = "";
    if (!is_eligible(answer) || !http_lines_valid(answer->fields))  /* what is malformed is refused later */
        return 0;
    wanted = http_accepts_gzip(td_http_field(http, "Accept-Encoding"));
    gzip = http->gzip = calloc(1, sizeof *gzip);
    if (!gzip)
        return -ENOMEM;
    gzip->fields = make_fields(answer->fields, wanted);
    if (!gzip->fields || (wanted && deflateInit2(&gzip->zlib, LEVEL, Z_DEFLATED, 15 + 16, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)) {
        free(gzip->fields);
        free(gzip);
        http->gzip = NULL;
        return -ENOMEM;
    }
    answer->fields = gzip->fields;
    if (wanted) {
        answer->body_bytes = -1;
        http->gzips = true;
    }
    return 0;
}

/* Runs zlib until it wants more input. */
static int run(td_http *http, int flush)
{
    struct http_gzip *gzip = http->gzip;
    int rc;

    do {
        size_t n;

        gzip->zlib.next_out = gzip->out;
        gzip->zlib.avail_out = sizeof gzip->out;
        if (deflate(&gzip->zlib, flush) == Z_STREAM_ERROR)
            return -EIO;
        n = sizeof gzip->out - gzip->zlib.avail_out;
        rc = n > 0 ? http->kind->data(http, gzip->out, n, false, NULL) : 0;
    } while (rc == 0 && gzip->zlib.avail_out == 0);
    return rc;
}

int compress_write(td_http *http, const void *data, size_t size, bool flush)
{
    struct http_gzip *gzip = http->gzip;
    int rc = 0;

    gzip->zlib.next_in = (unsigned char *)(uintptr_t)data;
    while (size > 0 && rc == 0) {
        size_t n = size < PIECE ? size : PIECE;

        size -= n;
        gzip->zlib.avail_in = (unsigned)n;
        rc = run(http, size == 0 && flush ? Z_SYNC_FLUSH : Z_NO_FLUSH);
        if (rc == 0 && size > 0)
            rc = td_yield();  /* others first: this may be long */
    }
    return rc;
}

int compress_finish(td_http *http)
{
    http->gzip->zlib.avail_in = 0;
    return run(http, Z_FINISH);
}

void compress_end(td_http *http)
{
    if (!http->gzip)
        return;
    if (http->gzips)
        deflateEnd(&http->gzip->zlib);
    free(http->gzip->fields);
    free(http->gzip);
    http->gzip = NULL;
    http->gzips = false;
}
