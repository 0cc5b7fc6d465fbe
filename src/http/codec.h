/* SPDX-License-Identifier: MIT */
/*
 * The HTTP/1 codec: bytes to requests, and answers to bytes. It knows no socket and no task.
 *
 * The decoder is strict (RFC 9112): a request that two readers could read differently is refused, for that is how requests
 * are smuggled (11.2). So there is no bare CR or LF, no folded line, no white space where the grammar has none, one length.
 * It is a struct in its user's memory and takes none of its own: the head goes to the user's store, body bytes are handed out
 * where they lie in the input.
 */
#ifndef TANDEM_HTTP_CODEC_H
#define TANDEM_HTTP_CODEC_H

#include "http/request.h"

struct http_limits {
    size_t head_bytes_max;  /* request line and header fields together; past it 431 (414 when still in the target);
                               and once more for the chunk extensions and trailers of one body; past it 431 */
    size_t fields_max;      /* header fields; past it 431 */
    uint64_t body_bytes_max;/* past it 413, at once when Content-Length says so */
};

enum http_event {
    HTTP_MORE,   /* all input used, nothing complete */
    HTTP_HEAD,   /* request line and header fields are complete, and in the store; a body may follow */
    HTTP_BODY,   /* `body`/`body_size` point into the input */
    HTTP_DONE,   /* the request is complete; the next byte belongs to the next request, or to the upgraded protocol */
    HTTP_FAIL,   /* answer `status` with `why`, and close */
};

/* In the order of their coming. */
enum http_phase { IN_REQUEST_LINE, IN_FIELDS, IN_BODY, IN_CHUNK_LINE, IN_CHUNK, AFTER_CHUNK, IN_TRAILERS, COMPLETE, REFUSED };

/* All fields belong to the codec. */
struct http_decoder {
    const struct http_limits *limits;
    struct http_head *head, *trailers;
    enum http_phase phase;
    struct http_fault fault;    /* once REFUSED */
    bool head_unreported;
    bool chunked;
    bool last_was_cr;           /* of the current line's bytes so far */
    unsigned char extension;    /* where in a chunk's line we are */
    unsigned char digits;       /* of a chunk's size: 0 before the first, then 1 and how many count */
    size_t line_size;           /* bytes of the current line so far; those of a head or trailer lie behind the store's end */
    size_t line_bytes_left;
    uint64_t body_bytes_left;   /* of the body, or of the chunk, that was announced */
    uint64_t chunks_bytes;      /* announced by the chunks so far */
};

/* For one request; the stores are empty, and all outlive the decoder. `limits` stay as they are. */
void http_decoder_init(struct http_decoder *decoder, const struct http_limits *limits, struct http_head *head,
                       struct http_head *trailers);

struct http_step {
    enum http_event event;
    size_t used;              /* input bytes consumed by this call */
    const uint8_t *body;
    size_t body_size;
    int status;               /* of HTTP_FAIL: 400, 413, 414, 417, 431, 501, 503 (memory is short), 505 */
    const char *why;          /* a constant sentence */
};

/*
 * Consumes bytes until one event is complete. Call again with the rest of the input until it reports HTTP_MORE. HTTP_DONE and
 * HTTP_FAIL stand for good and use no byte. What it says depends on the bytes and their order, never on where they were cut.
 */
struct http_step http_decode(struct http_decoder *decoder, const uint8_t *in, size_t size);

/* Whether no byte of a request has come, or all: the peer may close here. */
bool http_decoder_idle(const struct http_decoder *decoder);

/* Whether the size bytes at text are `name`, case aside, in ASCII and whatever the locale. */
bool http_same(const char *text, size_t size, const char *name);
bool http_same_bytes(const char *text, const char *name, size_t size);
/* Whether the comma-separated list of a field (NULL has none) has this token, case aside: ("a, Upgrade", "upgrade"). */
bool http_list_has(const char *list, const char *token);
/* How often it has it, and whether it is the last one. */
unsigned http_list_count(const char *list, const char *token, bool *last);

/*
 * Splits the target into a decoded path and its raw query. `path` gets at most path_size bytes with the final zero.
 * Returns 0; -EINVAL for a bad percent escape, an encoded zero byte, or a target that is not origin form ("/...";
 * absolute form "http://host/..." is accepted and its path taken); -ENAMETOOLONG when it does not fit. *query is ""
 * when there is none. ".." stays as it is, and "%2F" becomes a slash like any other.
 */
int http_path(const char *target, char *path, size_t path_size, const char **query);

/* The "host:port" of a target in absolute form, and its size; NULL for another form. */
const char *http_authority(const char *target, size_t *size);

/*
 * Finds `name` in a query (its first, if there are several) and decodes its value ('+' is a space). Returns its length;
 * -ENOENT when it is not there; -EINVAL for a bad escape or a zero byte; -ENAMETOOLONG when it does not fit with its
 * final zero.
 */
int http_query_value(const char *query, const char *name, char *value, size_t value_size);

const char *http_reason(int status);   /* "Not Found"; "Unknown" for a code it does not know */

#define HTTP_DATE_BYTES 30

/* RFC 9110, 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT" and a zero byte. */
void http_format_date(char out[HTTP_DATE_BYTES], int64_t unix_seconds);

enum http_framing {
    HTTP_LENGTH,       /* Content-Length: `length`, where the status may have one (not 1xx, 204) */
    HTTP_CHUNKED,      /* Transfer-Encoding: chunked */
    HTTP_TO_THE_END,   /* nothing: the body ends with the connection */
};

struct http_answer_head {
    int status;
    const char *fields;       /* lines "Name: value\r\n"; may be NULL */
    const char *type;         /* Content-Type; may be NULL */
    const char *date;         /* of http_format_date */
    enum http_framing framing;
    uint64_t length;
    bool close;               /* Connection: close */
    bool keep_alive;          /* Connection: keep-alive, for an HTTP/1.0 client that asked */
};

/* Bytes that the head takes at the most. */
size_t http_head_room(const struct http_answer_head *head);

/*
 * Writes an answer's head: status line, fields, Content-Type, Date, framing, Connection (neither in 1xx), the empty line.
 *
 * Returns its length; -ENOBUFS when it does not fit; -EINVAL for a status outside 100..999, and for a line that is malformed,
 * that the head writes itself (Date, Content-Length), or that it never may (Transfer-Encoding).
 */
int http_encode_head(char *out, size_t out_size, const struct http_answer_head *head);

/* Whether these are lines "Name: value\r\n" that an answer may have (trailers too), or none. */
bool http_lines_valid(const char *lines);

#endif
