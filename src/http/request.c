/* SPDX-License-Identifier: MIT */
#include "http/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http/codec.h"

#define HEAD_BYTES_MIN 1024

void head_init(struct http_head *head, void *room, size_t room_size)
{
    *head = (struct http_head){.bytes = room, .capacity = room_size, .room = room, .room_size = room_size};
}

void head_clear(struct http_head *head)
{
    if (head->bytes != head->room)
        free(head->bytes);
    head_init(head, head->room, head->room_size);
}

int head_reserve(struct http_head *head, size_t extra)
{
    size_t need = head->size + extra, capacity = head->capacity > 0 ? 2 * head->capacity : HEAD_BYTES_MIN;
    char *larger;

    if (need <= head->capacity)
        return 0;
    if (capacity < need)
        capacity = need;
    larger = malloc(capacity);
    if (!larger)
        return -ENOMEM;
    if (head->capacity > 0)
        memcpy(larger, head->bytes, head->capacity);  /* what lies behind `size` too: a line that is not complete */
    if (head->bytes != head->room)
        free(head->bytes);
    head->bytes = larger;
    head->capacity = capacity;
    return 0;
}

/* Whether the text lies in the store, and so moves with it. */
static bool inside(const struct http_head *head, const char *text)
{
    return head->bytes && text >= head->bytes && text < head->bytes + head->capacity;
}

/* Reserves for two strings with their zero bytes, and keeps them valid should they lie in the store. */
static int reserve_pair(struct http_head *head, const char **one, size_t one_size, const char **two, size_t two_size)
{
    bool first = inside(head, *one), second = inside(head, *two);
    size_t one_at = first ? (size_t)(*one - head->bytes) : 0, two_at = second ? (size_t)(*two - head->bytes) : 0;
    int rc = head_reserve(head, one_size + two_size + 2);

    if (rc < 0)
        return rc;
    if (first)
        *one = head->bytes + one_at;
    if (second)
        *two = head->bytes + two_at;
    return 0;
}

static void append(struct http_head *head, const char *text, size_t size)
{
    memmove(head->bytes + head->size, text, size);
    head->bytes[head->size + size] = '\0';
    head->size += size + 1;
}

int head_start(struct http_head *head, const char *method, size_t method_size, const char *target, size_t target_size,
               int version)
{
    int rc = reserve_pair(head, &method, method_size, &target, target_size);

    if (rc < 0)
        return rc;
    append(head, method, method_size);
    head->target_at = head->size;
    append(head, target, target_size);
    head->fields_at = head->size;
    head->version = version;
    return 0;
}

/* The bit of a name in `names`; that of its namesakes, too, for letters differ in case by the bit that is dropped. */
static uint64_t mark(const char *name, size_t size)
{
    return UINT64_C(1) << ((5 * size + ((unsigned char)name[0] & 0x1f)) % 64);
}

/* The offset of the value of a field, or 0. */
static size_t find(const struct http_head *head, const char *wanted, size_t wanted_size)
{
    size_t at = head->fields_at;

    if (wanted_size == 0 || (head->names & mark(wanted, wanted_size)) == 0)
        return 0;
    while (at < head->size) {
        size_t name_size = strlen(head->bytes + at), value_at = at + name_size + 1;

        if (name_size == wanted_size && http_same_bytes(head->bytes + at, wanted, wanted_size))
            return value_at;
        at = value_at + strlen(head->bytes + value_at) + 1;
    }
    return 0;
}

/* Makes a gap at `at`, of bytes that are reserved, or closes one (negative). */
static void shift(struct http_head *head, size_t at, ptrdiff_t by)
{
    size_t from = by < 0 ? at + (size_t)-by : at;

    memmove(head->bytes + at + (by > 0 ? (size_t)by : 0), head->bytes + from, head->size - from);
    head->size = by < 0 ? head->size - (size_t)-by : head->size + (size_t)by;
}

/* The value, which lies behind all fields in reserved room, goes behind that of its first namesake. */
static void join(struct http_head *head, size_t first_at, const char *between, size_t value_size)
{
    size_t end = first_at + strlen(head->bytes + first_at), gap = value_size + 2;

    shift(head, end, (ptrdiff_t)gap);
    memcpy(head->bytes + end, between, 2);
    memmove(head->bytes + end + 2, head->bytes + head->size, value_size);
}

int head_add(struct http_head *head, const char *name, size_t name_size, const char *value, size_t value_size)
{
    bool cookie = name_size == 6 && http_same_bytes(name, "cookie", 6);
    size_t first_at = find(head, name, name_size), gap = value_size + 2;
    int rc = reserve_pair(head, &name, name_size, &value, 2 * value_size + 4);

    if (rc < 0)
        return rc;
    head->fields++;
    if (first_at > 0) {
        memmove(head->bytes + head->size + gap, value, value_size);  /* where the shift of what is before it takes `size` */
        join(head, first_at, cookie ? "; " : ", ", value_size);
        return 0;
    }
    head->names |= mark(name, name_size);
    append(head, name, name_size);
    append(head, value, value_size);
    return 0;
}

int head_replace(struct http_head *head, const char *name, const char *value, size_t value_size)
{
    size_t at = find(head, name, strlen(name)), size;
    int rc;

    if (at == 0)
        return head_add(head, name, strlen(name), value, value_size);
    size = strlen(head->bytes + at);
    rc = reserve_pair(head, &name, 0, &value, value_size);
    if (rc < 0)
        return rc;
    shift(head, at, (ptrdiff_t)value_size - (ptrdiff_t)size);
    memcpy(head->bytes + at, value, value_size);
    return 0;
}

const char *http_method(const struct http_head *head)
{
    return head->target_at > 0 ? head->bytes : "";
}

const char *http_target(const struct http_head *head)
{
    return head->target_at > 0 ? head->bytes + head->target_at : "";
}

const char *http_field(const struct http_head *head, const char *name)
{
    size_t at = find(head, name, strlen(name));

    return at > 0 ? head->bytes + at : NULL;
}

/* Never after a CONNECT: its client may take the bytes that follow for the tunnel's. */
bool http_keep_alive(const struct http_head *head)
{
    const char *connection = http_field(head, "connection");

    if (head->version < 10 || http_list_has(connection, "close") || strcmp(http_method(head), "CONNECT") == 0)
        return false;
    return head->version >= 11 || http_list_has(connection, "keep-alive");
}

/* RFC 9110, 7.8: HTTP/1.0 has no Upgrade; RFC 9113, 8.6: nor has HTTP/2. */
bool http_wants_upgrade(const struct http_head *head)
{
    return head->version == 11 && http_field(head, "upgrade") && http_list_has(http_field(head, "connection"), "upgrade");
}

/* Only a client that still has a body to send waits for the 100 (RFC 9110, 10.1.1). */
bool http_expects_continue(const struct http_head *head)
{
    return head->version >= 11 && head->has_body && http_field(head, "expect");
}

int64_t http_content_length(const struct http_head *head)
{
    const char *text = http_field(head, "content-length");
    uint64_t length = 0;

    if (!text)
        return -ENOENT;
    if (*text == '\0')
        return -EINVAL;
    for (; *text != '\0'; text++)
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(length, 10, &length) ||
            __builtin_add_overflow(length, (uint64_t)(*text - '0'), &length))
            return -EINVAL;
    return length > INT64_MAX ? INT64_MAX : (int64_t)length;
}

/* RFC 3986, 2.1: behind each "%" are two digits. */
static bool escapes_are_whole(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] == '%' && (size - i < 3 || strspn(text + i + 1, "0123456789abcdefABCDEF") < 2))
            return false;
    return true;
}

/*
 * RFC 9110, 7.2: uri-host [ ":" port ], by RFC 3986, 3.2.2, without user information. Two Hosts are joined by ", ", whose
 * space is not allowed.
 */
static bool names_one_host(const char *host)
{
    unsigned port = 0;
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=%";
    size_t size;

    if (*host == '[') {
        size = 1 + strspn(host + 1, "0123456789abcdefABCDEF:.vV");
        if (size == 1 || host[size] != ']')
            return false;
        size++;
    } else {
        size = strspn(host, allowed);
        if ((size == 0 && *host != '\0') || !escapes_are_whole(host, size))
            return false;
    }
    host += size;
    if (*host == ':')
        for (host++; *host >= '0' && *host <= '9' && port <= UINT16_MAX; host++)
            port = 10 * port + (unsigned)(*host - '0');
    return *host == '\0' && port <= UINT16_MAX;
}

/* RFC 9112, 6.1 and 6.3: a body has one length, and who could read another is refused. */
static struct http_fault length_fault(const struct http_head *head)
{
    const char *coding = http_field(head, "transfer-encoding");
    bool last;

    if (!coding)
        return http_content_length(head) == -EINVAL
                   ? (struct http_fault){400, "the Content-Length is malformed or not alone"} : (struct http_fault){0};
    if (http_field(head, "content-length"))
        return (struct http_fault){400, "the length of the body is ambiguous"};
    if (head->version < 11)
        return (struct http_fault){400, "HTTP/1.0 has no Transfer-Encoding"};
    if (http_same(coding, strlen(coding), "chunked"))
        return (struct http_fault){0};
    if (http_list_count(coding, "chunked", &last) == 1 && last)
        return (struct http_fault){501, "chunked is the only transfer coding served here"};
    return (struct http_fault){400, "the transfer coding does not end in chunked, once"};
}

struct http_fault http_head_fault(const struct http_head *head)
{
    const char *host = http_field(head, "host"), *expectation = http_field(head, "expect");
    struct http_fault fault;

    if (!host && head->version == 11)
        return (struct http_fault){400, "an HTTP/1.1 request must have a Host field"};
    if (host && !names_one_host(host))
        return (struct http_fault){400, "the Host field must name one host"};
    fault = length_fault(head);
    if (fault.status == 0 && expectation && head->version == 11 &&       /* RFC 9110, 10.1.1 */
        !http_same(expectation, strlen(expectation), "100-continue"))
        return (struct http_fault){417, "100-continue is the only expectation met here"};
    return fault;
}
