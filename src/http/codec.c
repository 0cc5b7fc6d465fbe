/* SPDX-License-Identifier: MIT */
/*
 * The request decoder.
 *
 * Lines are read whole: from the input where they lie there in one piece, else gathered behind the end of the store that their
 * contents will go to. The lines of chunks are read byte by byte, for nothing of them is kept.
 *
 * Invariants:
 *  1. A verdict depends on the bytes and their order, never on where the input was cut.
 *  2. Every byte that is not body is taken from `line_bytes_left`, so what one request may send is bounded.
 *  3. The head's store is not touched once its end was reported: its strings are in use.
 */
#include "http/codec.h"

#include <errno.h>
#include <string.h>

#define CHUNK_LINE_BYTES 16      /* what each chunk adds to line_bytes_left: a size of twelve digits and two line ends */
#define CHUNK_DIGITS_MAX 16

static const char why_version[] = "HTTP/1.1 and HTTP/1.0 are the versions served here";
static const char why_request_line[] = "the request line is malformed";
static const char why_field[] = "a header field is malformed";
static const char why_chunk[] = "the chunked body is malformed";
static const char why_large[] = "the body is too large";

/* What a byte may be part of. */
enum { IN_TOKEN = 1, IN_TARGET = 2, IN_VALUE = 4, HEX_DIGIT = 8 };

#define T (IN_TOKEN | IN_TARGET | IN_VALUE)   /* RFC 9110, 5.6.2: tchar */
#define X (T | HEX_DIGIT)
#define U (IN_TARGET | IN_VALUE)              /* what a URI may have, and some that none should but all do: RFC 3986, 2 */
#define V IN_VALUE                            /* RFC 9110, 5.5 */

static const unsigned char kinds[256] = {
    ['\t'] = V, [' '] = V,
    ['!'] = T, ['"'] = U, ['#'] = IN_TOKEN | V, ['$'] = T, ['%'] = T, ['&'] = T, ['\''] = T, ['('] = U, [')'] = U, ['*'] = T,
    ['+'] = T, [','] = U, ['-'] = T, ['.'] = T, ['/'] = U, ['0' ... '9'] = X, [':'] = U, [';'] = U, ['<'] = U, ['='] = U,
    ['>'] = U, ['?'] = U, ['@'] = U, ['A' ... 'F'] = X, ['G' ... 'Z'] = T, ['['] = U, ['\\'] = U, [']'] = U, ['^'] = T,
    ['_'] = T, ['`'] = T, ['a' ... 'f'] = X, ['g' ... 'z'] = T, ['{'] = U, ['|'] = T, ['}'] = U, ['~'] = T,
    [0x80 ... 0xff] = V,
};

/* How many bytes from `text` on are of a kind. */
static size_t span(const char *text, const char *end, unsigned kind)
{
    const char *at = text;

    while (at < end && (kinds[(unsigned char)*at] & kind) != 0)
        at++;
    return (size_t)(at - text);
}

/* The first verdict stands. */
static void refuse(struct http_decoder *decoder, int status, const char *why)
{
    if (decoder->phase == REFUSED)
        return;
    decoder->phase = REFUSED;
    decoder->fault = (struct http_fault){status, why};
}

static void refuse_for_memory(struct http_decoder *decoder)
{
    refuse(decoder, 503, "memory is short");
}

/* Those that are registered and whose requests have the framing of all others (RFC 9110, 16.1.1). */
static bool method_known(const char *method, size_t size)
{
    static const char known[] = " GET HEAD POST PUT DELETE PATCH OPTIONS CONNECT TRACE PROPFIND PROPPATCH MKCOL COPY MOVE LOCK "
                                "UNLOCK SEARCH REPORT ACL BIND UNBIND REBIND LINK UNLINK MERGE CHECKOUT MKACTIVITY MKCALENDAR "
                                "M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PURGE ";

    if (size == 3 && memcmp(method, "GET", 3) == 0)
        return true;
    for (const char *at = known; (at = memmem(at, strlen(at), method, size)) != NULL; at++)
        if (at[-1] == ' ' && at[size] == ' ')
            return true;
    return false;
}

/* RFC 9112, 3: method SP request-target SP HTTP-version, in exactly this shape; 3.2: a target has no fragment. */
static void take_request_line(struct http_decoder *decoder, const char *line, size_t size)
{
    const char *end = line + size, *target, *version;
    size_t method_size = span(line, end, IN_TOKEN), target_size;

    if (method_size == 0 || line[method_size] != ' ') {
        refuse(decoder, 400, why_request_line);
        return;
    }
    target = line + method_size + 1;
    target_size = span(target, end, IN_TARGET);
    version = target + target_size;
    if (target_size == 0 || end - version < 6 || memcmp(version, " HTTP/", 6) != 0) {
        refuse(decoder, 400, why_request_line);
        return;
    }
    if (end - version != 9 || memcmp(version, " HTTP/1.", 8) != 0 || (version[8] != '0' && version[8] != '1')) {
        refuse(decoder, 505, why_version);
        return;
    }
    if (!method_known(line, method_size))   /* RFC 9110, 9.1: in capitals it may be one that others know */
        refuse(decoder, *line >= 'A' && *line <= 'Z' ? 501 : 400, "the method is not known here");
    else if (head_start(decoder->head, line, method_size, target, target_size, version[8] == '1' ? 11 : 10) < 0)
        refuse_for_memory(decoder);
    else
        decoder->phase = IN_FIELDS;
}

/* RFC 9110, 6.5.1: what no trailer may be, since somebody on the way might merge it with the head. */
static bool frames(const char *name, size_t size)
{
    return http_same(name, size, "content-length") || http_same(name, size, "transfer-encoding");
}

/* RFC 9112, 5: name ":" OWS value OWS, and no white space before the colon. */
static void take_field(struct http_decoder *decoder, struct http_head *store, const char *line, size_t size)
{
    const char *end = line + size, *value;
    size_t name_size = span(line, end, IN_TOKEN);

    if (name_size == 0 || name_size == size || line[name_size] != ':') {
        refuse(decoder, 400, why_field);
        return;
    }
    value = line + name_size + 1;
    if (span(value, end, IN_VALUE) != (size_t)(end - value)) {
        refuse(decoder, 400, why_field);
        return;
    }
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (store == decoder->trailers && frames(line, name_size))
        refuse(decoder, 400, "a trailer says how long the body is");
    else if (store->fields == decoder->limits->fields_max)
        refuse(decoder, 431, "the request has too many header fields");
    else if (head_add(store, line, name_size, value, (size_t)(end - value)) < 0)
        refuse_for_memory(decoder);
}

/* RFC 9112, 3.2.2: of a target in absolute form its host is the host, whatever the Host field says. */
static void take_authority(struct http_decoder *decoder)
{
    struct http_head *head = decoder->head;
    size_t size;
    const char *authority = http_authority(http_target(head), &size);

    if (authority && head_replace(head, "Host", authority, size) < 0)
        refuse_for_memory(decoder);
}

static void end_head(struct http_decoder *decoder)
{
    struct http_head *head = decoder->head;
    struct http_fault fault = http_head_fault(head);
    int64_t length;

    if (fault.status == 0 && http_target(head)[0] != '/') {
        take_authority(decoder);
        fault = http_head_fault(head);
    }
    if (fault.status != 0) {
        refuse(decoder, fault.status, fault.why);
        return;
    }
    length = http_content_length(head);
    decoder->chunked = http_field(head, "transfer-encoding") != NULL;
    if (strcmp(http_method(head), "CONNECT") == 0) {   /* what follows is the tunnel's (RFC 9110, 9.3.6) */
        decoder->chunked = false;
        length = 0;
    }
    if (length > 0 && (uint64_t)length > decoder->limits->body_bytes_max) {
        refuse(decoder, 413, why_large);
        return;
    }
    if (decoder->phase == REFUSED)
        return;
    decoder->head_unreported = true;
    decoder->line_bytes_left = decoder->limits->head_bytes_max;
    decoder->body_bytes_left = length > 0 ? (uint64_t)length : 0;
    head->has_body = decoder->chunked || length > 0;
    decoder->phase = decoder->chunked ? IN_CHUNK_LINE : length > 0 ? IN_BODY : COMPLETE;
}

/* A whole line, without its end. */
static void take_line(struct http_decoder *decoder, struct http_head *store, const char *line, size_t size)
{
    decoder->line_size = 0;
    decoder->last_was_cr = false;
    if (decoder->phase == IN_REQUEST_LINE && size > 0)  /* RFC 9112, 2.2: an empty line before it is passed over */
        take_request_line(decoder, line, size);
    else if (decoder->phase == IN_FIELDS && size == 0)
        end_head(decoder);
    else if (decoder->phase == IN_TRAILERS && size == 0)
        decoder->phase = COMPLETE;
    else if (decoder->phase != IN_REQUEST_LINE)
        take_field(decoder, store, line, size);
}

/* Called when the next byte is one too many. */
static void refuse_long_lines(struct http_decoder *decoder)
{
    const char *line = decoder->head->bytes;

    if (decoder->phase > IN_FIELDS)
        refuse(decoder, 431, "the chunk extensions and trailers are too large");
    else if (decoder->phase == IN_REQUEST_LINE && decoder->line_size > 0 && memchr(line, ' ', decoder->line_size))
        refuse(decoder, 414, "the request target is too long");
    else
        refuse(decoder, 431, "the request head is too large");
}

/* What can be wrong with a line before it is whole; `piece` bytes of it lie at `in`, and no LF but as the last of them. */
static bool piece_is_wrong(struct http_decoder *decoder, const char *in, size_t piece)
{
    const char *cr = memchr(in, '\r', piece);
    bool first = decoder->line_size == 0;

    if (first && (in[0] == ' ' || in[0] == '\t'))
        refuse(decoder, 400, "a line begins with white space");     /* RFC 9112, 2.2 and 5.2 */
    else if (first && in[0] != '\r' && (kinds[(unsigned char)in[0]] & IN_TOKEN) == 0)
        refuse(decoder, 400, decoder->phase == IN_REQUEST_LINE ? why_request_line : why_field);
    else if ((decoder->last_was_cr && in[0] != '\n') || (cr && cr + 1 < in + piece && cr[1] != '\n'))
        refuse(decoder, 400, "a line has a CR that does not end it");
    else if (in[piece - 1] == '\n' && !(piece > 1 ? in[piece - 2] == '\r' : decoder->last_was_cr))
        refuse(decoder, 400, "a line does not end in CRLF");        /* RFC 9112, 2.2 */
    decoder->last_was_cr = in[piece - 1] == '\r';
    return decoder->phase == REFUSED;
}

/* Takes a line, or what there is of it; returns the bytes used. */
static size_t read_line(struct http_decoder *decoder, const char *in, size_t size)
{
    struct http_head *store = decoder->phase == IN_TRAILERS ? decoder->trailers : decoder->head;
    size_t piece = size < decoder->line_bytes_left ? size : decoder->line_bytes_left;
    const char *lf, *line = in;

    if (piece == 0) {
        refuse_long_lines(decoder);
        return 0;
    }
    lf = memchr(in, '\n', piece);
    if (lf)
        piece = (size_t)(lf + 1 - in);
    if (piece_is_wrong(decoder, in, piece))
        return 0;
    decoder->line_bytes_left -= piece;
    if (!lf || decoder->line_size > 0) {  /* gathered behind what the store has */
        if (head_reserve(store, decoder->line_size + piece) < 0) {
            refuse_for_memory(decoder);
            return 0;
        }
        memcpy(store->bytes + store->size + decoder->line_size, in, piece);
        line = store->bytes + store->size;
    }
    decoder->line_size += piece;
    if (lf)
        take_line(decoder, store, line, decoder->line_size - 2);
    return piece;
}

/* Where in a chunk's line we are: RFC 9112, 7.1 and 7.1.1. */
enum { IN_SIZE, BEFORE_SEMICOLON, BEFORE_NAME, IN_NAME, AFTER_NAME, BEFORE_EXT_VALUE, IN_EXT_TOKEN, IN_QUOTES, AFTER_BACKSLASH,
       AFTER_QUOTES, BEFORE_LF };

/* The end of a token or of white space in a chunk's extensions: what a byte that is none of it leads to, or -1. */
static int extension_goes_on(unsigned char byte, bool may_have_value)
{
    if (byte == ';')
        return BEFORE_NAME;
    if (byte == '\r')
        return BEFORE_LF;
    return byte == '=' && may_have_value ? BEFORE_EXT_VALUE : -1;
}

/* The state after a byte of a chunk's extensions, or -1. White space only where the grammar says BWS. */
static int after_extension_byte(int state, unsigned char byte)
{
    bool token = (kinds[byte] & IN_TOKEN) != 0, blank = byte == ' ' || byte == '\t';

    switch (state) {
    case BEFORE_SEMICOLON:
        return blank ? state : byte == ';' ? BEFORE_NAME : -1;
    case BEFORE_NAME:
        return blank ? state : token ? IN_NAME : -1;
    case IN_NAME:
        return token ? state : blank ? AFTER_NAME : extension_goes_on(byte, true);
    case AFTER_NAME:
        return blank ? state : byte == '\r' ? -1 : extension_goes_on(byte, true);
    case BEFORE_EXT_VALUE:
        return blank ? state : byte == '"' ? IN_QUOTES : token ? IN_EXT_TOKEN : -1;
    case IN_EXT_TOKEN:
        return token ? state : blank ? BEFORE_SEMICOLON : extension_goes_on(byte, false);
    case IN_QUOTES:
        return byte == '"' ? AFTER_QUOTES : byte == '\\' ? AFTER_BACKSLASH : (kinds[byte] & IN_VALUE) != 0 ? state : -1;
    case AFTER_BACKSLASH:
        return (kinds[byte] & IN_VALUE) != 0 ? IN_QUOTES : -1;
    case AFTER_QUOTES:
        return blank ? BEFORE_SEMICOLON : extension_goes_on(byte, false);
    default:
        return -1;
    }
}

static void take_digit(struct http_decoder *decoder, unsigned char byte)
{
    unsigned digit = byte <= '9' ? byte - '0' : (byte | 0x20) - 'a' + 10u;

    if (decoder->digits == 0)
        decoder->digits = 1;
    if (digit > 0 || decoder->digits > 1)
        decoder->digits++;
    if (decoder->digits > 1 + CHUNK_DIGITS_MAX)
        refuse(decoder, 400, why_chunk);
    decoder->body_bytes_left = decoder->body_bytes_left << 4 | digit;
}

/* RFC 9112, 7.1 */
static void end_chunk_line(struct http_decoder *decoder)
{
    if (decoder->body_bytes_left > decoder->limits->body_bytes_max - decoder->chunks_bytes) {
        refuse(decoder, 413, why_large);
        return;
    }
    decoder->chunks_bytes += decoder->body_bytes_left;
    decoder->line_bytes_left += CHUNK_LINE_BYTES;
    decoder->digits = 0;
    decoder->extension = IN_SIZE;
    decoder->phase = decoder->body_bytes_left > 0 ? IN_CHUNK : IN_TRAILERS;
}

static void take_chunk_line_byte(struct http_decoder *decoder, unsigned char byte)
{
    int next = -1;

    if (decoder->extension == BEFORE_LF) {
        if (byte == '\n')
            end_chunk_line(decoder);
        else
            refuse(decoder, 400, why_chunk);
        return;
    }
    if (decoder->extension != IN_SIZE)
        next = after_extension_byte(decoder->extension, byte);
    else if ((kinds[byte] & HEX_DIGIT) != 0)
        take_digit(decoder, byte), next = IN_SIZE;
    else if (decoder->digits > 0)
        next = byte == ' ' || byte == '\t' ? BEFORE_SEMICOLON : extension_goes_on(byte, false);
    if (next < 0)
        refuse(decoder, 400, why_chunk);
    else
        decoder->extension = (unsigned char)next;
}

/* The line before a chunk, or the line end behind one; returns the bytes used. */
static size_t read_chunk_line(struct http_decoder *decoder, const uint8_t *in, size_t size)
{
    enum http_phase phase = decoder->phase;
    size_t used = 0;

    while (used < size && decoder->phase == phase) {
        uint8_t byte = in[used];

        if (decoder->line_bytes_left == 0) {
            refuse_long_lines(decoder);
            break;
        }
        decoder->line_bytes_left--;
        used++;
        if (phase == IN_CHUNK_LINE) {
            take_chunk_line_byte(decoder, byte);
        } else if (byte != (decoder->last_was_cr ? '\n' : '\r')) {
            refuse(decoder, 400, why_chunk);
        } else {
            decoder->last_was_cr = byte == '\r';
            if (byte == '\n')
                decoder->phase = IN_CHUNK_LINE;
        }
    }
    return used;
}

/* Takes what there is of the announced body bytes; returns the bytes used. */
static size_t read_body(struct http_decoder *decoder, size_t size)
{
    size_t piece = size < decoder->body_bytes_left ? size : (size_t)decoder->body_bytes_left;

    decoder->body_bytes_left -= piece;
    if (decoder->body_bytes_left == 0)
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
        if (decoder->phase == IN_BODY || decoder->phase == IN_CHUNK) {
            step.body = in + step.used;
            step.body_size = read_body(decoder, size - step.used);
            step.used += step.body_size;
            step.event = HTTP_BODY;
            break;
        }
        if (decoder->phase == IN_CHUNK_LINE || decoder->phase == AFTER_CHUNK)
            step.used += read_chunk_line(decoder, in + step.used, size - step.used);
        else
            step.used += read_line(decoder, (const char *)in + step.used, size - step.used);
        step.event = standing_event(decoder);
    }
    step.status = decoder->fault.status;
    step.why = decoder->fault.why;
    return step;
}

void http_decoder_init(struct http_decoder *decoder, const struct http_limits *limits, struct http_head *head,
                       struct http_head *trailers)
{
    *decoder = (struct http_decoder){.limits = limits, .head = head, .trailers = trailers,
                                     .line_bytes_left = limits->head_bytes_max};
}

bool http_decoder_idle(const struct http_decoder *decoder)
{
    return decoder->phase == COMPLETE || (decoder->phase == IN_REQUEST_LINE && decoder->line_size == 0);
}
