/* SPDX-License-Identifier: MIT */
/*
 * The request a decoder is reading: its state, and the store of its head. For codec.c and request.c alone.
 */
#ifndef TANDEM_HTTP_REQUEST_H
#define TANDEM_HTTP_REQUEST_H

/* A method of llhttp and an event of ours share this name; here it is the event. */
#define HTTP_HEAD LLHTTP_HEAD
#include <llhttp.h>
#undef HTTP_HEAD

#include "http/codec.h"

/*
 * The head in one buffer: the request line, its target ended by a zero byte, and then for each field a name and a
 * value, each ended by a zero byte. That is never more than the bytes received, so whoever bounds those bounds this. A
 * field counts once its value is complete: it lies below `fields_end` then.
 */
struct http_head {
    char *bytes;              /* NULL until the first byte of a request: an idle connection holds no buffer */
    size_t size;
    size_t capacity;
    size_t target_at;         /* offsets into bytes; 0 while unknown */
    size_t fields_at;
    size_t fields_end;
    size_t value_at;          /* of the field being received */
    size_t fields;            /* received; namesakes count one by one */
    uint64_t names;           /* a bit for each name there may be: most searches end here, without a walk */
    int version_minor;
};

/* In the order of their coming. */
enum http_phase { IN_REQUEST_LINE, IN_FIELDS, IN_BODY, AFTER_CHUNK, IN_CHUNK_LINE, IN_TRAILERS, COMPLETE, REFUSED };

struct http_fault {
    int status;               /* 0 when there is none */
    const char *why;
};

struct http_decoder {
    llhttp_t parser;
    struct http_limits limits;
    struct http_head head;
    enum http_phase phase;
    struct http_fault fault;  /* once REFUSED */
    unsigned heard;           /* from llhttp, in the piece fed last */
    bool head_unreported;
    bool chunked;
    bool last_was_cr;
    size_t line_size;         /* bytes of the current line so far */
    size_t line_bytes_left;
    uint64_t body_bytes_left; /* of the body, or of the chunk, that was announced */
    uint64_t chunks_bytes;    /* announced by the chunks so far */
};

/* Gives the buffer back and forgets everything. */
void head_clear(struct http_head *head);

/* Adds bytes of the request line, a name or a value. Returns 0 or -ENOMEM. */
int head_append(struct http_head *head, const void *bytes, size_t size);

/*
 * The bytes so far are the request line and end in CRLF. Returns 0; -EINVAL when malformed; -EPROTONOSUPPORT for a
 * version that is neither HTTP/1.0 nor HTTP/1.1.
 */
int head_end_request_line(struct http_head *head);

/* What was added since the last value is a name; what was added since the name is its value. Return 0 or -ENOMEM. */
int head_end_name(struct http_head *head);
int head_end_value(struct http_head *head);

/* What RFC 9110 and RFC 9112 forbid in a complete head, limits and lengths aside. */
struct http_fault head_fault(const struct http_head *head);

#endif
