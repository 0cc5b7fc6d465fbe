/* SPDX-License-Identifier: MIT */
#include "http/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Most heads fit in here, and glibc serves this size from the thread's own cache. */
#define HEAD_BYTES_MIN 1024

void head_clear(struct http_head *head)
{
    free(head->bytes);
    *head = (struct http_head){0};
}

static int reserve(struct http_head *head, size_t extra)
{
    size_t need = head->size + extra;
    size_t capacity = head->capacity > 0 ? 2 * head->capacity : HEAD_BYTES_MIN;
    char *grown;

    if (need <= head->capacity)
        return 0;
    if (capacity < need)
        capacity = need;
    grown = realloc(head->bytes, capacity);
    if (grown == NULL)
        return -ENOMEM;
    head->bytes = grown;
    head->capacity = capacity;
    return 0;
}

int head_append(struct http_head *head, const void *bytes, size_t size)
{
    int rc = reserve(head, size);

    if (rc < 0)
        return rc;
    if (size > 0)
        memcpy(head->bytes + head->size, bytes, size);
    head->size += size;
    return 0;
}

/* RFC 9112, 3: method SP request-target SP HTTP-version CRLF, in exactly this shape; 3.2: a target has no fragment. */
int head_end_request_line(struct http_head *head)
{
    char *line = head->bytes;
    char *end = line + head->size - 2;
    char *target = memchr(line, ' ', (size_t)(end - line));
    char *version = target != NULL ? memchr(target + 1, ' ', (size_t)(end - target - 1)) : NULL;

    if (version == NULL || version == target + 1 || memchr(line, '\r', (size_t)(end - line)) != NULL ||
        memchr(target, '#', (size_t)(version - target)) != NULL ||
        end - version < 6 || memcmp(version, " HTTP/", 6) != 0)
        return -EINVAL;
    if (end - version != 9 || memcmp(version, " HTTP/1.", 8) != 0 || (version[8] != '0' && version[8] != '1'))
        return -EPROTONOSUPPORT;
    *version = '\0';
    head->version_minor = version[8] - '0';
    head->target_at = (size_t)(target + 1 - line);
    head->fields_at = head->fields_end = head->size;
    return 0;
}

int head_end_name(struct http_head *head)
{
    head->fields++;
    head->value_at = head->size + 1;
    return head_append(head, "", 1);
}

/* The bit of a name in `names`; that of its namesakes, too, for letters differ in case by the bit that is dropped. */
static uint64_t mark(const char *name, size_t size)
{
    return UINT64_C(1) << ((5 * size + (name[0] & 0x1f)) % 64);
}

/* The value of a complete field, or NULL. */
static const char *find(const struct http_head *head, const char *name)
{
    size_t wanted_size = strlen(name);
    size_t at = (head->names & mark(name, wanted_size)) != 0 ? head->fields_at : head->fields_end;

    while (at < head->fields_end) {
        size_t name_size = strlen(head->bytes + at);
        const char *value = head->bytes + at + name_size + 1;

        if (name_size == wanted_size && http_same(head->bytes + at, name_size, name))
            return value;
        at += name_size + 1 + strlen(value) + 1;
    }
    return NULL;
}

/* Moves the value received last behind the first of its namesakes (RFC 9110, 5.3). */
static int join(struct http_head *head, const char *first)
{
    size_t end = (size_t)(first - head->bytes) + strlen(first);
    size_t size = strlen(head->bytes + head->value_at);
    size_t gap = size + 2;
    int rc = reserve(head, gap);

    if (rc < 0)
        return rc;
    memmove(head->bytes + end + gap, head->bytes + end, head->size - end);
    memcpy(head->bytes + end, ", ", 2);
    memcpy(head->bytes + end + 2, head->bytes + head->value_at + gap, size);
    head->size = head->fields_end += gap;
    return 0;
}

int head_end_value(struct http_head *head)
{
    const char *namesake;
    int rc;

    while (head->size > head->value_at && (head->bytes[head->size - 1] == ' ' || head->bytes[head->size - 1] == '\t'))
        head->size--;       /* RFC 9112, 5: white space behind a value is no part of it */
    if ((rc = head_append(head, "", 1)) < 0)
        return rc;
    namesake = find(head, head->bytes + head->fields_end);
    if (namesake != NULL)
        return join(head, namesake);
    head->names |= mark(head->bytes + head->fields_end, head->value_at - 1 - head->fields_end);
    head->fields_end = head->size;
    return 0;
}

/* RFC 9112, 3.2: one Host, valid by RFC 3986, 3.2, without user information. Two are joined by a space, too. */
static bool names_one_host(const char *host)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=%:[]";

    return host[strspn(host, allowed)] == '\0';
}

struct http_fault head_fault(const struct http_head *head)
{
    const char *host = find(head, "host");
    const char *coding = find(head, "transfer-encoding");
    const char *expectation = find(head, "expect");

    if (host == NULL && head->version_minor == 1)
        return (struct http_fault){400, "an HTTP/1.1 request must have a Host field"};
    if (host != NULL && !names_one_host(host))
        return (struct http_fault){400, "the Host field must name one host"};
    if (coding != NULL && head->version_minor == 0)                             /* RFC 9112, 6.1 */
        return (struct http_fault){400, "HTTP/1.0 has no Transfer-Encoding"};
    if (coding != NULL && !http_list_has(coding, "chunked"))                    /* RFC 9112, 6.3 */
        return (struct http_fault){400, "the transfer coding does not end in chunked"};
    if (coding != NULL && !http_same(coding, strlen(coding), "chunked"))        /* RFC 9112, 6.1 */
        return (struct http_fault){501, "chunked is the only transfer coding served here"};
    if (expectation != NULL && head->version_minor == 1 &&                      /* RFC 9110, 10.1.1 */
        !http_same(expectation, strlen(expectation), "100-continue"))
        return (struct http_fault){417, "100-continue is the only expectation met here"};
    return (struct http_fault){0};
}

const char *http_method(const struct http_decoder *decoder)
{
    return decoder->head.target_at > 0 ? llhttp_method_name(decoder->parser.method) : "";
}

const char *http_target(const struct http_decoder *decoder)
{
    return decoder->head.target_at > 0 ? decoder->head.bytes + decoder->head.target_at : "";
}

int http_version_minor(const struct http_decoder *decoder)
{
    return decoder->head.version_minor;
}

const char *http_field(const struct http_decoder *decoder, const char *name)
{
    return find(&decoder->head, name);
}

/* RFC 9112, 9.3. Never after a CONNECT: its client may take the bytes that follow for the tunnel's. */
bool http_keep_alive(const struct http_decoder *decoder)
{
    const char *connection = http_field(decoder, "connection");

    if (decoder->phase == REFUSED || decoder->parser.method == HTTP_CONNECT || http_list_has(connection, "close"))
        return false;
    return decoder->head.version_minor == 1 || http_list_has(connection, "keep-alive");
}

/* RFC 9110, 7.8: HTTP/1.0 has no Upgrade. */
bool http_wants_upgrade(const struct http_decoder *decoder)
{
    return decoder->head.version_minor == 1 && http_field(decoder, "upgrade") != NULL &&
           http_list_has(http_field(decoder, "connection"), "upgrade");
}

/* Only a client that still has a body to send waits for the 100 (RFC 9110, 10.1.1). */
bool http_expects_continue(const struct http_decoder *decoder)
{
    return decoder->head.version_minor == 1 && decoder->phase < COMPLETE && http_field(decoder, "expect") != NULL;
}
