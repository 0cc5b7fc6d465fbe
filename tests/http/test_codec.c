/* SPDX-License-Identifier: MIT */
/*
 * What the request decoder makes of bytes. A test compares a transcript: a head gives "METHOD target ", body bytes
 * stand for themselves, the end gives ";", a refusal "!status". Every input is fed whole, byte by byte, and in two
 * pieces cut anywhere: the transcript is the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reader.h"

#define ENTRIES(table) (sizeof(table) / sizeof((table)[0]))
#define TEXT(literal) literal, sizeof(literal) - 1
#define HOST "Host: h\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static const struct http_limits limits = {.head_bytes_max = 256, .fields_max = 8, .body_bytes_max = 32};

struct world {
    struct reader *decoder;
    char transcript[2048];
    bool over;                /* refused, or handed to another protocol */
    size_t used;
};

struct spoken {
    const char *story;
    const char *bytes;
    size_t size;
    const char *transcript;
};

static void note(struct world *world, const char *text, size_t size)
{
    size_t at = strlen(world->transcript);

    assert_true(at + size < sizeof(world->transcript));
    memcpy(world->transcript + at, text, size);
    world->transcript[at + size] = '\0';
}

static void note_step(struct world *world, const struct http_step *step)
{
    char refusal[8];

    if (step->event == HTTP_HEAD) {
        note(world, http_method(&world->decoder->head), strlen(http_method(&world->decoder->head)));
        note(world, " ", 1);
        note(world, http_target(&world->decoder->head), strlen(http_target(&world->decoder->head)));
        note(world, " ", 1);
    } else if (step->event == HTTP_BODY) {
        note(world, (const char *)step->body, step->body_size);
    } else if (step->event == HTTP_DONE) {
        note(world, ";", 1);
    } else if (step->event == HTTP_FAIL) {
        assert_non_null(step->why);
        note(world, refusal, (size_t)snprintf(refusal, sizeof(refusal), "!%d", step->status));
    }
}

/* The piece lies in memory of its own, so that a sanitizer sees a byte read too many. */
static void feed(struct world *world, const char *bytes, size_t size)
{
    uint8_t *piece = malloc(size > 0 ? size : 1);
    size_t at = 0;
    struct http_step step = {.event = HTTP_DONE};

    assert_non_null(piece);
    memcpy(piece, bytes, size);
    while (!world->over && step.event != HTTP_MORE) {
        step = http_decode(&world->decoder->decoder, piece + at, size - at);
        at += step.used;
        note_step(world, &step);
        world->over = step.event == HTTP_FAIL || (step.event == HTTP_DONE && http_wants_upgrade(&world->decoder->head));
        if (step.event == HTTP_DONE && !world->over)
            reader_next(world->decoder);
    }
    world->used += at;
    free(piece);
}

static struct world world_open(const struct http_limits *with)
{
    struct world world = {.decoder = reader_open(with)};

    assert_non_null(world.decoder);
    return world;
}

static void expect_cut(const struct spoken *spoken, size_t cut, size_t step)
{
    struct world world = world_open(&limits);

    feed(&world, spoken->bytes, cut);
    for (size_t at = cut; at < spoken->size; at += step)
        feed(&world, spoken->bytes + at, step < spoken->size - at ? step : spoken->size - at);
    if (strcmp(world.transcript, spoken->transcript) != 0)
        print_message("%s, cut at %zu and then every %zu\n", spoken->story, cut, step);
    assert_string_equal(world.transcript, spoken->transcript);
    reader_close(world.decoder);
}

static void expect(const struct spoken *table, size_t entries)
{
    for (size_t i = 0; i < entries; i++) {
        expect_cut(&table[i], 0, 1);
        for (size_t cut = 0; cut < table[i].size; cut++)
            expect_cut(&table[i], cut, table[i].size);
    }
}

static void requests_follow_each_other(void **state)
{
    static const struct spoken table[] = {
        {"one", TEXT("GET /a HTTP/1.1\r\n" HOST "\r\n"), "GET /a ;"},
        {"three in one buffer", TEXT("GET /a HTTP/1.1\r\n" HOST "\r\n"
                                     "POST /b HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi"
                                     "HEAD /c HTTP/1.1\r\n" HOST "\r\n"), "GET /a ;POST /b hi;HEAD /c ;"},
        {"after a chunked one", TEXT("PUT /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
                                     "GET /b HTTP/1.1\r\n" HOST "\r\n"), "PUT /a x;GET /b ;"},
        {"an empty line in between (RFC 9112, 2.2)", TEXT(GET "\r\n\r\n" GET "\r\n"), "GET / ;GET / ;"},
        {"every sign that a name may have", TEXT(GET "!#$%&'*+-.^_`|~09azAZ: y\r\n\r\n"), "GET / ;"},
        {"the last port, and one that is left out", TEXT("GET / HTTP/1.1\r\nHost: %4a:065535\r\n\r\n"
                                                        "GET / HTTP/1.1\r\nHost: h:\r\n\r\n"), "GET / ;GET / ;"},
        {"HTTP/1.0 needs no Host", TEXT("GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n"), "GET /a ;GET /b ;"},
        {"the last one incomplete", TEXT("GET /a HTTP/1.1\r\n" HOST "\r\nGET /b HTT"), "GET /a ;"},
        {"every form of target", TEXT("GET http://h/a?b HTTP/1.1\r\n" HOST "\r\nOPTIONS * HTTP/1.1\r\n" HOST "\r\n"),
         "GET http://h/a?b ;OPTIONS * ;"},
        {"CONNECT ends with its head, whatever it says",
         TEXT("CONNECT h:443 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n"), "CONNECT h:443 ;"},
    };

    expect(table, ENTRIES(table));
}

static void bodies_end_where_announced(void **state)
{
    static const struct spoken table[] = {
        {"Content-Length", TEXT(POST "Content-Length: 5\r\n\r\nhello"), "POST / hello;"},
        {"Content-Length of zero", TEXT(POST "Content-Length: 0\r\n\r\n"), "POST / ;"},
        {"the largest body", TEXT(POST "Content-Length: 32\r\n\r\n01234567890123456789012345678901"),
         "POST / 01234567890123456789012345678901;"},
        {"a GET may have one", TEXT(GET "Content-Length: 2\r\n\r\nhi"), "GET / hi;"},
        {"line ends are body bytes", TEXT(POST "Content-Length: 4\r\n\r\n\r\n\r\n"), "POST / \r\n\r\n;"},
        {"chunks", TEXT(CHUNKED "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"),
         "POST / abc0123456789;"},
        {"chunked in any case", TEXT(POST "Transfer-Encoding: CHUNKED \r\n\r\n1\r\nx\r\n0\r\n\r\n"),
         "POST / x;"},
        {"chunk extensions are passed over",
         TEXT(CHUNKED "3;a=b\r\nabc\r\n1;c=\"d\"\r\nx\r\n0;e\r\n\r\n"), "POST / abcx;"},
        {"several extensions, with white space where the grammar has it",
         TEXT(CHUNKED "3 ; a = \"\\\";\" ;b\r\nabc\r\n0\r\n\r\n"), "POST / abc;"},
        {"a chunk size that begins with zeros", TEXT(CHUNKED "00000000000000000001\r\nx\r\n0\r\n\r\n"), "POST / x;"},
        {"trailers are passed over", TEXT(CHUNKED "1\r\nx\r\n0\r\n"
                                          "Connection: close\r\nHost: other\r\n\r\n"
                                          "GET /b HTTP/1.1\r\n" HOST "\r\n"), "POST / x;GET /b ;"},
        {"HTTP/1.0 with a length", TEXT("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi"), "POST / hi;"},
    };

    expect(table, ENTRIES(table));
}

/* RFC 9112, 6.3 and 11.2: whoever can make two servers disagree on where a body ends, smuggles a request. */
static void ambiguous_lengths_are_refused(void **state)
{
    static const struct spoken table[] = {
        {"length, then coding", TEXT(POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         "!400"},
        {"coding, then length", TEXT(POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
         "!400"},
        {"two lengths", TEXT(POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), "!400"},
        {"a list of lengths", TEXT(POST "Content-Length: 3, 3\r\n\r\nabc"), "!400"},
        {"a signed length", TEXT(POST "Content-Length: +3\r\n\r\nabc"), "!400"},
        {"a negative length", TEXT(POST "Content-Length: -3\r\n\r\nabc"), "!400"},
        {"a hexadecimal length", TEXT(POST "Content-Length: 0x3\r\n\r\nabc"), "!400"},
        {"an empty length", TEXT(POST "Content-Length:\r\n\r\n"), "!400"},
        {"a length past 64 bits", TEXT(POST "Content-Length: 18446744073709551617\r\n\r\na"), "!400"},
        {"a coding that is not chunked", TEXT(POST "Transfer-Encoding: gzip\r\n\r\n"), "!400"},
        {"chunked, but not last", TEXT(POST "Transfer-Encoding: chunked, gzip\r\n\r\n"), "!400"},
        {"chunked twice", TEXT(POST "Transfer-Encoding: chunked, chunked\r\n\r\n"), "!400"},
        {"chunked in two fields", TEXT(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n"), "!400"},
        {"nearly chunked", TEXT(POST "Transfer-Encoding: xchunked\r\n\r\n"), "!400"},
        {"chunked with a vertical tab", TEXT(POST "Transfer-Encoding: \vchunked\r\n\r\n"), "!400"},
        {"a coding we do not undo", TEXT(POST "Transfer-Encoding: gzip, chunked\r\n\r\n"), "!501"},
        {"a coding in HTTP/1.0", TEXT("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "!400"},
        {"a chunk with no size", TEXT(CHUNKED "\r\n"), "POST / !400"},
        {"a chunk with a signed size", TEXT(CHUNKED "+1\r\nx\r\n"), "POST / !400"},
        {"a chunk with 0x", TEXT(CHUNKED "0x1\r\nx\r\n"), "POST / !400"},
        {"a chunk size past 64 bits", TEXT(CHUNKED "10000000000000001\r\n"),
         "POST / !400"},
        {"two equal lengths", TEXT(POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), "!400"},
        {"a length with a sign behind a space", TEXT(POST "Content-Length:  +3\r\n\r\nabc"), "!400"},
        {"a length with an underscore", TEXT(POST "Content-Length: 1_0\r\n\r\nabc"), "!400"},
        {"a length with a space in it", TEXT(POST "Content-Length: 1 0\r\n\r\nabc"), "!400"},
        {"a length with a fraction", TEXT(POST "Content-Length: 3.0\r\n\r\nabc"), "!400"},
        {"a length and more", TEXT(POST "Content-Length: 3;x\r\n\r\nabc"), "!400"},
        {"a length in full-width digits", TEXT(POST "Content-Length: \xef\xbc\x93\r\n\r\nabc"), "!400"},
        {"a length behind a vertical tab", TEXT(POST "Content-Length: \v3\r\n\r\nabc"), "!400"},
        {"a length that a NUL ends", TEXT(POST "Content-Length: 3\0\r\n\r\nabc"), "!400"},
        {"a name with an underscore is another one", TEXT(POST "Content_Length: 3\r\n\r\n"), "POST / ;"},
        {"a coding in quotes", TEXT(POST "Transfer-Encoding: \"chunked\"\r\n\r\n"), "!400"},
        {"a coding behind a comma", TEXT(POST "Transfer-Encoding: , chunked\r\n\r\n"), "!501"},
        {"a coding with a parameter", TEXT(POST "Transfer-Encoding: chunked;q=1\r\n\r\n"), "!400"},
        {"a coding folded", TEXT(POST "Transfer-Encoding:\r\n chunked\r\n\r\n"), "!400"},
        {"an empty coding", TEXT(POST "Transfer-Encoding:\r\n\r\n"), "!400"},
        {"identity", TEXT(POST "Transfer-Encoding: identity\r\n\r\n"), "!400"},
        {"identity, then chunked", TEXT(POST "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n"), "!501"},
        {"chunked, then identity", TEXT(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"), "!400"},
        {"a coding ended by a bare CR", TEXT(POST "Transfer-Encoding: chunked\rX: y\r\n\r\n"), "!400"},
        {"a coding whose name a tab ends", TEXT(POST "Transfer-Encoding\t: chunked\r\n\r\n"), "!400"},
        {"a coding hidden behind a bare LF", TEXT(POST "X: y\nTransfer-Encoding: chunked\r\n\r\n"), "!400"},
        {"a chunk size with a space before it", TEXT(CHUNKED " 1\r\nx\r\n"), "POST / !400"},
        {"a chunk size with a space behind it", TEXT(CHUNKED "1 \r\nx\r\n"), "POST / !400"},
        {"a chunk size with an underscore", TEXT(CHUNKED "1_0\r\nx\r\n"), "POST / !400"},
        {"a chunk size of 17 digits", TEXT(CHUNKED "fffffffffffffffff\r\n"), "POST / !400"},
        {"a chunk size past 64 bits that begins with zeros", TEXT(CHUNKED "00010000000000000001\r\n"), "POST / !400"},
        {"an extension with a bare LF", TEXT(CHUNKED "1;a\nx\r\n"), "POST / !400"},
        {"an extension with a bare CR", TEXT(CHUNKED "1;a\rb\r\nx\r\n"), "POST / !400"},
        {"an extension whose quotes hide a line end", TEXT(CHUNKED "1;a=\"b\r\nx\r\n"), "POST / !400"},
        {"an extension whose quotes hide a bare LF", TEXT(CHUNKED "1;a=\"b\nc\"\r\nx\r\n"), "POST / !400"},
        {"an extension without a name", TEXT(CHUNKED "1;\r\nx\r\n"), "POST / !400"},
        {"an extension without a value", TEXT(CHUNKED "1;a=\r\nx\r\n"), "POST / !400"},
        {"a chunk that ends in two CRs", TEXT(CHUNKED "1\r\nx\r\r\n"), "POST / x!400"},
        {"a trailer that gives a length", TEXT(CHUNKED "0\r\nContent-Length: 9\r\n\r\n"), "POST / !400"},
        {"a trailer that gives a coding", TEXT(CHUNKED "0\r\ntransfer-encoding: x\r\n\r\n"), "POST / !400"},
        {"a chunk longer than its size", TEXT(CHUNKED "1\r\nxy\r\n"),
         "POST / x!400"},
    };

    expect(table, ENTRIES(table));
}

/* RFC 9112, 2.2, 5.1 and 5.2 */
static void sloppy_lines_are_refused(void **state)
{
    static const struct spoken table[] = {
        {"bare LF after the request line", TEXT("GET / HTTP/1.1\n" HOST "\r\n"), "!400"},
        {"bare LF after a field", TEXT("GET / HTTP/1.1\r\nHost: h\n\r\n"), "!400"},
        {"bare LF at the end of the head", TEXT(GET "\n"), "!400"},
        {"bare LF before the request", TEXT("\nGET / HTTP/1.1\r\n" HOST "\r\n"), "!400"},
        {"bare LF after an empty line before the request", TEXT("\r\n\n" GET "\r\n"), "!400"},
        {"bare CR before the request", TEXT("\rGET / HTTP/1.1\r\n" HOST "\r\n"), "!400"},
        {"bare CR in a value", TEXT("GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n"), "!400"},
        {"bare CR at the end of the head", TEXT(GET "\rX"), "!400"},
        {"a folded value", TEXT(GET "A: b\r\n c\r\n\r\n"), "!400"},
        {"a folded value with a tab", TEXT(GET "A: b\r\n\tc\r\n\r\n"), "!400"},
        {"white space before the first field", TEXT("GET / HTTP/1.1\r\n Host: h\r\n\r\n"), "!400"},
        {"space before the colon", TEXT("GET / HTTP/1.1\r\nHost : h\r\n\r\n"), "!400"},
        {"space before the colon of a length", TEXT(GET "Content-Length : 1\r\n\r\nx"), "!400"},
        {"a field without a name", TEXT(GET ": x\r\n\r\n"), "!400"},
        {"a trailer without a name", TEXT(CHUNKED "0\r\n: x\r\n\r\n"),
         "POST / !400"},
        {"a field without a colon", TEXT(GET "x\r\n\r\n"), "!400"},
        {"NUL in a name", TEXT(GET "A\0B: x\r\n\r\n"), "!400"},
        {"NUL in a value", TEXT(GET "A: x\0y\r\n\r\n"), "!400"},
        {"a control character in a value", TEXT(GET "A: x\x01y\r\n\r\n"), "!400"},
        {"bare LF after a chunk size", TEXT(CHUNKED "1\nx\r\n"), "POST / !400"},
        {"bare LF after a chunk", TEXT(CHUNKED "1\r\nx\n0\r\n"), "POST / x!400"},
        {"bare LF after the trailers", TEXT(CHUNKED "0\r\n\n"), "POST / !400"},
        {"a folded trailer", TEXT(CHUNKED "0\r\nA: b\r\n c\r\n\r\n"),
         "POST / !400"},
    };

    expect(table, ENTRIES(table));
}

static void wrong_heads_are_refused(void **state)
{
    static const struct spoken table[] = {
        {"a method nobody knows", TEXT("BREW / HTTP/1.1\r\n" HOST "\r\n"), "!501"},
        {"a method in lower case", TEXT("get / HTTP/1.1\r\n" HOST "\r\n"), "!400"},
        {"a TLS hello", TEXT("\x16\x03\x01\x02\x00\x01"), "!400"},
        {"no target", TEXT("GET HTTP/1.1\r\n" HOST "\r\n"), "!400"},
        {"two spaces", TEXT("GET  / HTTP/1.1\r\n" HOST "\r\n"), "!400"},
        {"a space in the target", TEXT("GET /a b HTTP/1.1\r\n" HOST "\r\n"), "!400"},
        {"a control character in the target", TEXT("GET /\x01 HTTP/1.1\r\n" HOST "\r\n"), "!400"},
        {"a byte that is not ASCII in the target", TEXT("GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n"), "!400"},
        {"a fragment", TEXT("GET /a#b HTTP/1.1\r\n" HOST "\r\n"), "!400"},
        {"HTTP/0.9", TEXT("GET /\r\n"), "!400"},
        {"HTTP/2.0", TEXT("GET / HTTP/2.0\r\n" HOST "\r\n"), "!505"},
        {"the preface of HTTP/2", TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "!505"},
        {"HTTP/1.2", TEXT("GET / HTTP/1.2\r\n" HOST "\r\n"), "!505"},
        {"HTTP/1.10", TEXT("GET / HTTP/1.10\r\n" HOST "\r\n"), "!505"},
        {"http/1.1", TEXT("GET / http/1.1\r\n" HOST "\r\n"), "!400"},
        {"RTSP", TEXT("OPTIONS / RTSP/1.0\r\n" HOST "\r\n"), "!400"},
        {"ICE", TEXT("SOURCE / ICE/1.0\r\n" HOST "\r\n"), "!400"},
        {"no Host, but in the target", TEXT("GET http://h/ HTTP/1.1\r\n\r\n"), "!400"},
        {"a port that is none", TEXT("GET / HTTP/1.1\r\nHost: h:8o\r\n\r\n"), "!400"},
        {"a Host with two ports", TEXT("GET / HTTP/1.1\r\nHost: h:80:81\r\n\r\n"), "!400"},
        {"a Host with a comma and a space", TEXT("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), "!400"},
        {"a Host with half an escape", TEXT("GET / HTTP/1.1\r\nHost: %4\r\n\r\n"), "!400"},
        {"a Host with an escape that is none", TEXT("GET / HTTP/1.1\r\nHost: %zz\r\n\r\n"), "!400"},
        {"a port past all ports", TEXT("GET / HTTP/1.1\r\nHost: h:65536\r\n\r\n"), "!400"},
        {"a port that no number holds", TEXT("GET / HTTP/1.1\r\nHost: h:99999999999999\r\n\r\n"), "!400"},
        {"an IPv6 Host that is not closed", TEXT("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), "!400"},
        {"a target in absolute form with a user", TEXT("GET http://u@h/ HTTP/1.1\r\n" HOST "\r\n"), "!400"},
        {"a name in brackets", TEXT(GET "[A]: b\r\n\r\n"), "!400"},
        {"a name that is not ASCII", TEXT(GET "A\xc3\xa4: b\r\n\r\n"), "!400"},
        {"a name with a space in it", TEXT(GET "A B: c\r\n\r\n"), "!400"},
        {"HTTP/1.1 and a space", TEXT("GET / HTTP/1.1 \r\n" HOST "\r\n"), "!505"},
        {"a tab for a space", TEXT("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), "!400"},
        {"no Host", TEXT("GET / HTTP/1.1\r\n\r\n"), "!400"},
        {"two Hosts", TEXT(GET "A: b\r\n" HOST "\r\n"), "!400"},
        {"two empty Hosts", TEXT("GET / HTTP/1.1\r\nHost:\r\nhost:\r\n\r\n"), "!400"},
        {"a Host with a path", TEXT("GET / HTTP/1.1\r\nHost: h/x\r\n\r\n"), "!400"},
        {"a Host with a user", TEXT("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"), "!400"},
        {"an expectation nobody knows", TEXT(POST "Expect: wonders\r\nContent-Length: 1\r\n\r\n"), "!417"},
    };

    expect(table, ENTRIES(table));
}

#define EIGHT_CHUNKS                                                                                                   \
    "00001\r\na\r\n00001\r\nb\r\n00001\r\nc\r\n00001\r\nd\r\n"                                                          \
    "00001\r\ne\r\n00001\r\nf\r\n00001\r\ng\r\n00001\r\nh\r\n"

/* 256 bytes of head, 8 fields, 32 bytes of body: the last that fits and the first that does not. */
static void limits_hold_to_the_byte(void **state)
{
    char fits[300], passes[300], target[400], chunk_line[600], zeros[600];
    const struct spoken table[] = {
        {"a head that fits", fits, (size_t)snprintf(fits, sizeof(fits), GET "A: %0*d\r\n\r\n", 256 - 16 - 9 - 7, 1),
         "GET / ;"},
        {"a head that does not", passes,
         (size_t)snprintf(passes, sizeof(passes), GET "A: %0*d\r\n\r\n", 256 - 16 - 9 - 6, 1), "!431"},
        {"a target that does not", target, (size_t)snprintf(target, sizeof(target), "GET /%0*d HTTP/1.1\r\n", 300, 1),
         "!414"},
        {"eight fields", TEXT(GET "A: 1\r\nA: 2\r\nA: 3\r\nB: 4\r\nB: 5\r\nC: 6\r\nC: 7\r\n\r\n"), "GET / ;"},
        {"nine fields", TEXT(GET "A: 1\r\nA: 2\r\nA: 3\r\nB: 4\r\nB: 5\r\nC: 6\r\nC: 7\r\nC: 8\r\n\r\n"), "!431"},
        {"a length of 33", TEXT(POST "Content-Length: 33\r\n\r\n"), "!413"},
        {"a length of nearly 64 bits", TEXT(POST "Content-Length: 18446744073709551615\r\n\r\n"), "!413"},
        {"a chunk of 33", TEXT(CHUNKED "21\r\nx"), "POST / !413"},
        {"chunks of 3 and 30", TEXT(CHUNKED "3\r\nabc\r\n1e\r\nx"), "POST / abc!413"},
        {"a chunk of nearly 64 bits", TEXT(CHUNKED "1\r\nx\r\nffffffffffffffff\r\n"),
         "POST / x!413"},
        {"288 bytes of chunk lines, for there are many chunks",
         TEXT(CHUNKED EIGHT_CHUNKS EIGHT_CHUNKS EIGHT_CHUNKS EIGHT_CHUNKS "0\r\n\r\n"),
         "POST / abcdefghabcdefghabcdefghabcdefgh;"},
        {"chunk extensions without end", chunk_line,
         (size_t)snprintf(chunk_line, sizeof(chunk_line), CHUNKED "1;a=%0*d", 400, 1),
         "POST / !431"},
        {"a chunk size of zeros without end", zeros,
         (size_t)snprintf(zeros, sizeof(zeros), CHUNKED "%0*d", 400, 0),
         "POST / !431"},
    };

    expect(table, ENTRIES(table));
}

/* The bytes of the other protocol stay with the caller, and the decoder does not ask for them again. */
static void upgrade_leaves_the_rest(void **state)
{
    static const char head[] = GET "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    static const char rest[] = "\x81\x05hello";
    char bytes[sizeof(head) + sizeof(rest)];
    struct world world = world_open(&limits);
    struct http_step again;

    memcpy(bytes, head, sizeof(head) - 1);
    memcpy(bytes + sizeof(head) - 1, rest, sizeof(rest));
    feed(&world, bytes, sizeof(head) - 1 + sizeof(rest));
    assert_string_equal(world.transcript, "GET / ;");
    assert_int_equal(world.used, sizeof(head) - 1);

    again = http_decode(&world.decoder->decoder, (const uint8_t *)rest, sizeof(rest));
    assert_int_equal(again.event, HTTP_DONE);
    assert_int_equal(again.used, 0);
    reader_close(world.decoder);
}

/* RFC 9110, 7.8: a server may pass over an Upgrade; the connection goes on in HTTP. */
static void declined_upgrade_goes_on(void **state)
{
    static const char bytes[] = GET "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" POST "\r\n";
    struct world world = world_open(&limits);

    feed(&world, bytes, sizeof(bytes) - 1);
    reader_next(world.decoder);
    world.over = false;
    feed(&world, bytes + world.used, sizeof(bytes) - 1 - world.used);
    assert_string_equal(world.transcript, "GET / ;POST / ;");
    reader_close(world.decoder);
}

static void refusal_stands(void **state)
{
    struct world world = world_open(&limits);
    struct http_step again;

    feed(&world, TEXT("GET / HTTP/1.1\r\nHost : h\r\n\r\n"));
    again = http_decode(&world.decoder->decoder, (const uint8_t *)"GET", 3);
    assert_int_equal(again.event, HTTP_FAIL);
    assert_int_equal(again.status, 400);
    assert_int_equal(again.used, 0);
    assert_false(http_decoder_idle(&world.decoder->decoder));
    reader_close(world.decoder);
}

static void closing_is_legal_between_requests(void **state)
{
    static const char request[] = CHUNKED "1\r\nx\r\n0\r\n\r\n";
    struct world world = world_open(&limits);

    assert_true(http_decoder_idle(&world.decoder->decoder));
    for (size_t i = 0; i + 1 < sizeof(request) - 1; i++) {
        feed(&world, request + i, 1);
        assert_false(http_decoder_idle(&world.decoder->decoder));
    }
    feed(&world, request + sizeof(request) - 2, 1);
    assert_true(http_decoder_idle(&world.decoder->decoder));
    feed(&world, "\r\n", 2);
    assert_true(http_decoder_idle(&world.decoder->decoder));
    reader_close(world.decoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_follow_each_other),
        cmocka_unit_test(bodies_end_where_announced),
        cmocka_unit_test(ambiguous_lengths_are_refused),
        cmocka_unit_test(sloppy_lines_are_refused),
        cmocka_unit_test(wrong_heads_are_refused),
        cmocka_unit_test(limits_hold_to_the_byte),
        cmocka_unit_test(upgrade_leaves_the_rest),
        cmocka_unit_test(declined_upgrade_goes_on),
        cmocka_unit_test(refusal_stands),
        cmocka_unit_test(closing_is_legal_between_requests),
    };

    return cmocka_run_group_tests_name("http codec", tests, NULL, NULL);
}
