/* SPDX-License-Identifier: MIT */
/*
 * The HTTP/1.1 codec: bytes to requests (by llhttp) and responses to bytes. It knows no socket and no task.
 *
 * A decoder lives as long as its connection. It stores the head of the current request (target, header fields) in one
 * bounded buffer of its own and hands body bytes out where they lie in the input.
 */
#ifndef TANDEM_HTTP_CODEC_H
#define TANDEM_HTTP_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_limits {
    size_t head_bytes_max;  /* request line and header fields together; past it 431 (414 when still in the target);
                               and once more for the chunk extensions and trailers of one body; past it 431 */
    size_t fields_max;      /* header fields; past it 431 */
    size_t body_bytes_max;  /* past it 413, at once when Content-Length says so */
};

enum http_event {
    HTTP_MORE,   /* all input used, nothing complete */
    HTTP_HEAD,   /* request line and header fields are complete: http_decoder_* getters answer; body follows */
    HTTP_BODY,   /* `body`/`body_size` point into the input */
    HTTP_DONE,   /* the request is complete; the next byte belongs to the next request, or to the upgraded protocol */
    HTTP_FAIL,   /* answer `status` with `why`, and close */
};

struct http_decoder;

/* Returns NULL when memory is short. The limits are copied. */
struct http_decoder *http_decoder_open(const struct http_limits *limits);
void http_decoder_close(struct http_decoder *decoder);

/* Makes it ready for the next request of the same connection, after HTTP_DONE; gives back what a large head took. */
void http_decoder_next(struct http_decoder *decoder);

struct http_step {
    enum http_event event;
    size_t used;              /* input bytes consumed by this call */
    const uint8_t *body;
    size_t body_size;
    int status;               /* of HTTP_FAIL: 400, 413, 414, 417, 431, 501, 503 (memory is short), 505 */
    const char *why;          /* a constant sentence */
};

/*
 * Consumes bytes until one event is complete. Call again with the rest of the input until it reports HTTP_MORE.
 * HTTP_DONE stands until http_decoder_next, HTTP_FAIL for good; neither uses bytes again.
 */
struct http_step http_decode(struct http_decoder *decoder, const uint8_t *in, size_t size);

/* Tells the decoder that the peer closed: true when that was legal here (between requests). */
bool http_decoder_idle(const struct http_decoder *decoder);

/* Valid from HTTP_HEAD until http_decoder_next. All strings end with a zero byte. */
const char *http_method(const struct http_decoder *decoder);           /* "GET" */
const char *http_target(const struct http_decoder *decoder);           /* as sent: "/chat/r?name=ann" */
int http_version_minor(const struct http_decoder *decoder);            /* 0 or 1 */
const char *http_field(const struct http_decoder *decoder, const char *name);  /* case-insensitive; NULL when absent;
                                                                   repeated fields are joined by ", " (RFC 9110, 5.3) */
bool http_keep_alive(const struct http_decoder *decoder);              /* what the request asks for */
bool http_wants_upgrade(const struct http_decoder *decoder);           /* Connection: upgrade and an Upgrade field */
bool http_expects_continue(const struct http_decoder *decoder);
/* Whether the size bytes at text are `name`, case aside, in ASCII and whatever the locale. */
bool http_same(const char *text, size_t size, const char *name);
/* Whether the comma-separated list of a field (NULL has none) has this token, case aside: ("a, Upgrade", "upgrade"). */
bool http_list_has(const char *list, const char *token);

/*
 * Splits the target into a decoded path and its raw query. `path` gets at most path_size bytes with the final zero.
 * Returns 0; -EINVAL for a bad percent escape, an encoded zero byte, or a target that is not origin form ("/...";
 * absolute form "http://host/..." is accepted and its path taken); -ENAMETOOLONG when it does not fit. *query is ""
 * when there is none. ".." stays as it is, and "%2F" becomes a slash like any other.
 */
int http_path(const char *target, char *path, size_t path_size, const char **query);

/*
 * Finds `name` in a query (its first, if there are several) and decodes its value ('+' is a space). Returns its length;
 * -ENOENT when it is not there; -EINVAL for a bad escape or a zero byte; -ENAMETOOLONG when it does not fit with its
 * final zero.
 */
int http_query_value(const char *query, const char *name, char *value, size_t value_size);

const char *http_reason(int status);   /* "Not Found"; "Unknown" for a code it does not know */

/*
 * Writes a response's head into out: status line, the given extra header lines (each "Name: value\r\n", may be ""),
 * Date (from unix_seconds), Content-Length (unless it must not have one: 1xx, 204), Connection (close, or keep-alive
 * for an HTTP/1.0 client that asked; neither in 1xx), the empty line.
 *
 * Returns its length; -ENOBUFS when it does not fit; -EINVAL for a status outside 100..999, and for an extra line that
 * is malformed, that the head writes itself (Date, Content-Length), or that it never may (Transfer-Encoding).
 */
int http_encode_head(char *out, size_t out_size, const struct http_decoder *request, int status, const char *extra,
                     size_t content_length, bool keep_alive, int64_t unix_seconds);

#endif
