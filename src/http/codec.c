/* SPDX-License-Identifier: MIT */
/*
 * The request decoder: two readers in step.
 *
 * Even in strict mode llhttp 8.1 takes more than RFC 9112 lets a server take: a bare LF after the version and at the
 * end of the head, obsolete line folding, fields without a name, several spaces in the request line, a fragment in the
 * target, RTSP, ICE and HTTP/0.9; and it sets no bound on chunk lines and trailers. So this file finds the lines
 * itself, feeds llhttp one line or one run of body bytes at a time, and refuses what the two read differently: a
 * request is smuggled past readers that disagree (RFC 9112, 11.2). That is also why no callback pauses llhttp: it is
 * never given a byte beyond the event it reports. (What llhttp refuses stays refused, even where the RFC is milder: 8.1
 * takes no second chunk extension behind one with a value.)
 *
 * Invariants:
 *  1. llhttp is fed up to the end of a line or of the announced body bytes, never past the last byte of the request.
 *  2. What llhttp has `heard` is what the piece just fed had to tell it, or the request is refused.
 *  3. A verdict depends on the bytes and their order, never on where the input was cut.
 *  4. Every byte that is not body is taken from `line_bytes_left`, so what one request may send is bounded.
 */
#include "http/request.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What each chunk adds to line_bytes_left: a size of twelve digits and two line ends. */
#define CHUNK_LINE_BYTES 16

enum heard { HEARD_HEAD = 1, HEARD_CHUNK = 2, HEARD_CHUNK_END = 4, HEARD_END = 8 };

static const char why_version[] = "HTTP/1.1 and HTTP/1.0 are the versions served here";
static const char why_large[] = "the body is too large";

/* The first verdict stands. Returns -1, which stops llhttp when a callback returns it. */
static int refuse(struct http_decoder *decoder, int status, const char *why)
{
    if (decoder->phase != REFUSED) {
        decoder->phase = REFUSED;
        decoder->fault = (struct http_fault){status, why};
    }
    return -1;
}

static int refuse_for_memory(struct http_decoder *decoder, int rc)
{
    return rc < 0 ? refuse(decoder, 503, "memory is short") : 0;
}

/* Trailers are read and dropped: nobody may act on one he did not ask for (RFC 9110, 6.5.1). */
static int on_field_bytes(llhttp_t *parser, const char *at, size_t size)
{
    struct http_decoder *decoder = parser->data;

    return decoder->phase == IN_FIELDS ? refuse_for_memory(decoder, head_append(&decoder->head, at, size)) : 0;
}

static int on_name_end(llhttp_t *parser)
{
    struct http_decoder *decoder = parser->data;

    if (decoder->phase != IN_FIELDS)
        return 0;
    if (decoder->head.fields == decoder->limits.fields_max)
        return refuse(decoder, 431, "the request has too many header fields");
    return refuse_for_memory(decoder, head_end_name(&decoder->head));
}

static int on_value_end(llhttp_t *parser)
{
    struct http_decoder *decoder = parser->data;

    return decoder->phase == IN_FIELDS ? refuse_for_memory(decoder, head_end_value(&decoder->head)) : 0;
}

/* The length of the body (RFC 9112, 6.3), if llhttp made the same of the same fields. */
static int on_head(llhttp_t *parser)
{
    struct http_decoder *decoder = parser->data;
    struct http_fault fault = head_fault(&decoder->head);
    bool chunked = http_field(decoder, "transfer-encoding") != NULL;
    bool has_length = http_field(decoder, "content-length") != NULL;

    decoder->heard |= HEARD_HEAD;
    if (fault.status != 0)
        return refuse(decoder, fault.status, fault.why);
    if ((chunked && has_length) || chunked != ((parser->flags & F_CHUNKED) != 0) ||
        has_length != ((parser->flags & F_CONTENT_LENGTH) != 0))
        return refuse(decoder, 400, "the length of the body is ambiguous");
    if (has_length && parser->content_length > decoder->limits.body_bytes_max)
        return refuse(decoder, 413, why_large);
    decoder->chunked = chunked;
    decoder->body_bytes_left = has_length ? parser->content_length : 0;
    return 0;
}

static int on_chunk(llhttp_t *parser)
{
    struct http_decoder *decoder = parser->data;

    decoder->heard |= HEARD_CHUNK;
    if (parser->content_length > decoder->limits.body_bytes_max - decoder->chunks_bytes)
        return refuse(decoder, 413, why_large);
    decoder->body_bytes_left = parser->content_length;
    decoder->chunks_bytes += parser->content_length;
    return 0;
}

static int on_chunk_end(llhttp_t *parser)
{
    struct http_decoder *decoder = parser->data;

    decoder->heard |= HEARD_CHUNK_END;
    return 0;
}

static int on_end(llhttp_t *parser)
{
    struct http_decoder *decoder = parser->data;

    decoder->heard |= HEARD_END;
    return 0;
}

static const llhttp_settings_t callbacks = {
    .on_header_field = on_field_bytes,
    .on_header_field_complete = on_name_end,
    .on_header_value = on_field_bytes,
    .on_header_value_complete = on_value_end,
    .on_headers_complete = on_head,
    .on_chunk_header = on_chunk,
    .on_chunk_complete = on_chunk_end,
    .on_message_complete = on_end,
};

static void refuse_as_llhttp(struct http_decoder *decoder, llhttp_errno_t error)
{
    if (error == HPE_INVALID_METHOD && decoder->head.bytes[0] >= 'A' && decoder->head.bytes[0] <= 'Z')
        refuse(decoder, 501, "the method is not known here");
    else if (error == HPE_INVALID_VERSION)
        refuse(decoder, 505, why_version);
    else if (error == HPE_INVALID_URL)
        refuse(decoder, 400, "the request target is malformed");
    else if (error == HPE_UNEXPECTED_CONTENT_LENGTH || error == HPE_INVALID_CONTENT_LENGTH)
        refuse(decoder, 400, "the Content-Length is malformed or not alone");
    else if (error == HPE_INVALID_TRANSFER_ENCODING)
        refuse(decoder, 400, "the transfer coding does not end in chunked");
    else if (decoder->phase > IN_FIELDS)
        refuse(decoder, 400, "the chunked body is malformed");
    else
        refuse(decoder, 400, "the request head is malformed");
}

/* An upgrade stops llhttp behind the last byte of the request, where the piece ends anyway (invariant 1). */
static void feed(struct http_decoder *decoder, const uint8_t *piece, size_t size)
{
    llhttp_errno_t error;

    decoder->heard = 0;
    error = llhttp_execute(&decoder->parser, (const char *)piece, size);
    if (error != HPE_OK && !(error == HPE_PAUSED_UPGRADE && (decoder->heard & HEARD_END) != 0))
        refuse_as_llhttp(decoder, error);
}

/* Invariant 2 for a whole line; a piece of one tells nothing. */
static unsigned due(const struct http_decoder *decoder, bool empty)
{
    switch (decoder->phase) {
    case IN_FIELDS:
        return empty ? HEARD_HEAD | (decoder->heard & HEARD_END) : 0;
    case IN_CHUNK_LINE:
        return HEARD_CHUNK;
    case AFTER_CHUNK:
        return HEARD_CHUNK_END;
    case IN_TRAILERS:
        return empty ? HEARD_CHUNK_END | HEARD_END : 0;
    default:
        return 0;
    }
}

static void end_request_line(struct http_decoder *decoder)
{
    int rc = head_end_request_line(&decoder->head);

    if (rc == -EPROTONOSUPPORT)
        refuse(decoder, 505, why_version);
    else if (rc < 0)
        refuse(decoder, 400, "the request line is malformed");
    else
        decoder->phase = IN_FIELDS;
}

static void end_head(struct http_decoder *decoder)
{
    decoder->head_unreported = true;
    decoder->line_bytes_left = decoder->limits.head_bytes_max;
    if ((decoder->heard & HEARD_END) != 0)
        decoder->phase = COMPLETE;      /* no body; and what follows a CONNECT is the tunnel's (RFC 9110, 9.3.6) */
    else
        decoder->phase = decoder->chunked ? IN_CHUNK_LINE : IN_BODY;
}

static void end_line(struct http_decoder *decoder, bool empty)
{
    decoder->line_size = 0;
    decoder->last_was_cr = false;
    if (decoder->phase == IN_REQUEST_LINE && empty) {
        decoder->head.size = 0;         /* RFC 9112, 2.2: an empty line before the request line is passed over */
    } else if (decoder->phase == IN_REQUEST_LINE) {
        end_request_line(decoder);
    } else if (decoder->phase == IN_FIELDS && empty) {
        end_head(decoder);
    } else if (decoder->phase == IN_CHUNK_LINE) {
        decoder->line_bytes_left += CHUNK_LINE_BYTES;
        decoder->phase = decoder->body_bytes_left > 0 ? IN_BODY : IN_TRAILERS;
    } else if (decoder->phase == AFTER_CHUNK) {
        decoder->phase = IN_CHUNK_LINE;
    } else if (decoder->phase == IN_TRAILERS && empty) {
        decoder->phase = COMPLETE;
    }
}

/* Called when the next byte is one too many. */
static void refuse_long_lines(struct http_decoder *decoder)
{
    if (decoder->phase > IN_FIELDS)
        refuse(decoder, 431, "the chunk extensions and trailers are too large");
    else if (decoder->head.size > 0 && decoder->head.target_at == 0 &&
             memchr(decoder->head.bytes, ' ', decoder->head.size) != NULL)
        refuse(decoder, 414, "the request target is too long");
    else
        refuse(decoder, 431, "the request head is too large");
}

/* Feeds the line up to its end, or what there is of it; returns the bytes used. */
static size_t read_line(struct http_decoder *decoder, const uint8_t *in, size_t size)
{
    size_t piece = size < decoder->line_bytes_left ? size : decoder->line_bytes_left;
    const uint8_t *lf = memchr(in, '\n', piece);
    bool whole, empty;

    if (piece == 0)
        refuse_long_lines(decoder);
    else if (decoder->line_size == 0 && (in[0] == ' ' || in[0] == '\t'))
        refuse(decoder, 400, "a line begins with white space");     /* RFC 9112, 2.2 and 5.2 */
    else if (decoder->line_size == 0 && in[0] == ':')
        refuse(decoder, 400, "a field has no name");                /* RFC 9110, 5.1 */
    if (decoder->phase == REFUSED)
        return 0;
    if (lf != NULL)
        piece = (size_t)(lf - in);
    if (piece > 0)
        decoder->last_was_cr = in[piece - 1] == '\r';
    whole = lf != NULL && decoder->last_was_cr;
    piece += whole;
    decoder->line_size += piece;
    decoder->line_bytes_left -= piece;
    empty = decoder->line_size == 2;
    if (decoder->phase == IN_REQUEST_LINE && refuse_for_memory(decoder, head_append(&decoder->head, in, piece)) < 0)
        return 0;
    feed(decoder, in, piece);
    if (lf != NULL && !whole)
        refuse(decoder, 400, "a line does not end in CRLF");        /* RFC 9112, 2.2 */
    if (decoder->heard != (whole ? due(decoder, empty) : 0))
        refuse(decoder, 400, "the request is malformed");
    if (decoder->phase != REFUSED && whole)
        end_line(decoder, empty);
    return piece;
}

/* Feeds what there is of the announced body bytes; returns the bytes used. */
static size_t read_body(struct http_decoder *decoder, const uint8_t *in, size_t size)
{
    size_t piece = size < decoder->body_bytes_left ? size : (size_t)decoder->body_bytes_left;
    bool last = piece == decoder->body_bytes_left;

    decoder->body_bytes_left -= piece;
    feed(decoder, in, piece);
    if (decoder->heard != (last && !decoder->chunked ? HEARD_END : 0))
        refuse(decoder, 400, "the request is malformed");
    if (decoder->phase != REFUSED && last)
        decoder->phase = decoder->chunked ? AFTER_CHUNK : COMPLETE;
    return piece;
}

/* What there is to report before another byte is read. */
static enum http_event standing_event(struct http_decoder *decoder)
{
    if (decoder->phase == REFUSED)
        return HTTP_FAIL;
    if (decoder->head_unreported) {
        decoder->head_unreported = false;
        return HTTP_HEAD;
    }
    return decoder->phase == COMPLETE ? HTTP_DONE : HTTP_MORE;
}

struct http_step http_decode(struct http_decoder *decoder, const uint8_t *in, size_t size)
{
    struct http_step step = {.event = standing_event(decoder)};

    while (step.event == HTTP_MORE && step.used < size) {
        if (decoder->phase == IN_BODY) {
            step.body = in + step.used;
            step.body_size = read_body(decoder, step.body, size - step.used);
            step.used += step.body_size;
            step.event = decoder->phase == REFUSED ? HTTP_FAIL : HTTP_BODY;
        } else {
            step.used += read_line(decoder, in + step.used, size - step.used);
            step.event = standing_event(decoder);
        }
    }
    step.status = decoder->fault.status;
    step.why = decoder->fault.why;
    return step;
}

static void start(struct http_decoder *decoder)
{
    head_clear(&decoder->head);
    *decoder = (struct http_decoder){.limits = decoder->limits, .line_bytes_left = decoder->limits.head_bytes_max};
    llhttp_init(&decoder->parser, HTTP_REQUEST, &callbacks);
    decoder->parser.data = decoder;
}

struct http_decoder *http_decoder_open(const struct http_limits *limits)
{
    struct http_decoder *decoder = calloc(1, sizeof(*decoder));

    if (decoder == NULL)
        return NULL;
    decoder->limits = *limits;
    start(decoder);
    return decoder;
}

void http_decoder_close(struct http_decoder *decoder)
{
    if (decoder != NULL)
        head_clear(&decoder->head);
    free(decoder);
}

void http_decoder_next(struct http_decoder *decoder)
{
    assert(decoder->phase == COMPLETE && !decoder->head_unreported);
    start(decoder);
}

bool http_decoder_idle(const struct http_decoder *decoder)
{
    return decoder->phase == COMPLETE || (decoder->phase == IN_REQUEST_LINE && decoder->line_size == 0);
}
