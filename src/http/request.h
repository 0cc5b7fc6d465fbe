/* SPDX-License-Identifier: MIT */
/*
 * The head of a request, whichever decoder reads it: method, target and fields in one store, every string ended by a zero
 * byte. Those of HTTP/1.1 and HTTP/2 look the same here: the latter's :authority is a field "host".
 *
 * The store begins in room that its maker gives (a stack's, mostly) and moves to the heap when that is too small. Strings
 * move when something is added, so they are handed out when the head is complete.
 */
#ifndef TANDEM_HTTP_REQUEST_H
#define TANDEM_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_head {
    char *bytes;              /* method, target, then a name and a value for each field; NULL while there is no room */
    size_t size, capacity;
    char *room;               /* the maker's; may be NULL */
    size_t room_size;
    size_t target_at;         /* offsets into bytes; 0 while unknown */
    size_t fields_at;
    size_t fields;            /* added; namesakes count one by one */
    uint64_t names;           /* a bit for each name there may be: most searches end here, without a walk */
    int version;              /* 10, 11 or 20; 0 while unknown */
    bool has_body;            /* one is announced, and it is not empty */
};

/* An empty head in `room`, which outlives it; NULL and 0: all on the heap. */
void head_init(struct http_head *head, void *room, size_t room_size);

/* Gives back what it took from the heap and forgets everything. */
void head_clear(struct http_head *head);

/* Makes sure that `extra` bytes fit behind what is there. Returns 0 or -ENOMEM. */
int head_reserve(struct http_head *head, size_t extra);

/*
 * Sets the request line of an empty head. The strings may lie in the store's own free room, behind head->size. Returns 0 or
 * -ENOMEM.
 */
int head_start(struct http_head *head, const char *method, size_t method_size, const char *target, size_t target_size,
               int version);

/*
 * Adds a field; its strings likewise. Namesakes are joined by ", " (RFC 9110, 5.3), and those of Cookie by "; " (RFC 9113,
 * 8.2.3). Returns 0 or -ENOMEM.
 */
int head_add(struct http_head *head, const char *name, size_t name_size, const char *value, size_t value_size);

/* The same in place of all namesakes. */
int head_replace(struct http_head *head, const char *name, const char *value, size_t value_size);

/* "" while there is none. */
const char *http_method(const struct http_head *head);                 /* "GET" */
const char *http_target(const struct http_head *head);                 /* as sent: "/chat/r?name=ann" */
const char *http_field(const struct http_head *head, const char *name);   /* case-insensitive; NULL when absent */
bool http_keep_alive(const struct http_head *head);                    /* what the request asks for (RFC 9112, 9.3) */
bool http_wants_upgrade(const struct http_head *head);                 /* Connection: upgrade and an Upgrade field */
bool http_expects_continue(const struct http_head *head);

/* The value of Content-Length: digits alone. Returns -ENOENT when there is none, -EINVAL when it is no length. */
int64_t http_content_length(const struct http_head *head);

struct http_fault {
    int status;               /* 0 when there is none */
    const char *why;          /* a constant sentence */
};

/* What RFC 9110 and RFC 9112 forbid in a complete head of HTTP/1: hosts, lengths, expectations; limits aside. */
struct http_fault http_head_fault(const struct http_head *head);

#endif
