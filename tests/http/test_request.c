/* SPDX-License-Identifier: MIT */
/* What a decoded request answers when asked, and what its head costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/codec.h"

#define ENTRIES(table) (sizeof(table) / sizeof((table)[0]))

static const struct http_limits limits = {.head_bytes_max = 16384, .fields_max = 64, .body_bytes_max = 32};

/* The allocator between us and the C library's (the linker's --wrap), with as much memory as a test allows it. */
static struct {
    size_t allocations_left;
    size_t held;
    void *last;
} memory = {.allocations_left = SIZE_MAX};

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *old);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *old);

static bool memory_is_short(void)
{
    if (memory.allocations_left == 0)
        return true;
    if (memory.allocations_left != SIZE_MAX)
        memory.allocations_left--;
    return false;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return memory_is_short() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    void *grown = memory_is_short() ? NULL : __real_realloc(old, size);

    if (grown != NULL) {
        memory.last = grown;
        memory.held = size;
    }
    return grown;
}

void __wrap_free(void *old)
{
    if (old != NULL && old == memory.last)
        memory.held = 0;
    __real_free(old);
}

static struct http_step decode(struct http_decoder *decoder, const char *bytes)
{
    return http_decode(decoder, (const uint8_t *)bytes, strlen(bytes));
}

/* A decoder whose request has these lines behind "Host: h", at HTTP_HEAD. */
static struct http_decoder *request(const char *method, int version_minor, const char *lines)
{
    struct http_decoder *decoder = http_decoder_open(&limits);
    char bytes[512];

    snprintf(bytes, sizeof(bytes), "%s %s HTTP/1.%d\r\nHost: h\r\n%s\r\n", method,
             strcmp(method, "CONNECT") == 0 ? "h:443" : "/", version_minor, lines);
    assert_non_null(decoder);
    assert_int_equal(decode(decoder, bytes).event, HTTP_HEAD);
    return decoder;
}

static void fields_are_found_in_any_case(void **state)
{
    struct http_decoder *decoder = request("GET", 1, "Accept:text/html\r\nX-Empty:\r\nX-Padded: \t a b \t \r\n");

    assert_string_equal(http_method(decoder), "GET");
    assert_string_equal(http_target(decoder), "/");
    assert_int_equal(http_version_minor(decoder), 1);
    assert_string_equal(http_field(decoder, "host"), "h");
    assert_string_equal(http_field(decoder, "ACCEPT"), "text/html");
    assert_string_equal(http_field(decoder, "x-empty"), "");
    assert_string_equal(http_field(decoder, "x-padded"), "a b");
    assert_null(http_field(decoder, "accep"));
    assert_null(http_field(decoder, "accept-"));
    assert_null(http_field(decoder, "text/html"));
    http_decoder_close(decoder);
}

/* RFC 9110, 5.3 */
static void namesakes_are_joined_in_their_order(void **state)
{
    struct http_decoder *decoder = request("GET", 1, "A: 1\r\nB: x\r\na: 2\r\nC: y\r\nA:\r\nA: 4\r\nb: z\r\n");

    assert_string_equal(http_field(decoder, "a"), "1, 2, , 4");
    assert_string_equal(http_field(decoder, "b"), "x, z");
    assert_string_equal(http_field(decoder, "c"), "y");
    assert_string_equal(http_field(decoder, "host"), "h");
    http_decoder_close(decoder);
}

/* RFC 9112, 9.3 */
static void keep_alive_is_what_the_request_asks_for(void **state)
{
    static const struct {
        const char *method;
        int version_minor;
        const char *lines;
        bool keeps;
    } table[] = {
        {"GET", 1, "", true},
        {"GET", 1, "Connection: close\r\n", false},
        {"GET", 1, "Connection: x, Close\r\n", false},
        {"GET", 1, "Connection: x\r\nConnection: close\r\n", false},
        {"GET", 1, "Connection: closed\r\n", true},
        {"GET", 0, "", false},
        {"GET", 0, "Connection: Keep-Alive\r\n", true},
        {"GET", 0, "Connection: keep-alive, close\r\n", false},
        {"HEAD", 1, "", true},
        {"CONNECT", 1, "", false},
    };

    for (size_t i = 0; i < ENTRIES(table); i++) {
        struct http_decoder *decoder = request(table[i].method, table[i].version_minor, table[i].lines);

        if (http_keep_alive(decoder) != table[i].keeps)
            fail_msg("%s HTTP/1.%d %s", table[i].method, table[i].version_minor, table[i].lines);
        http_decoder_close(decoder);
    }
}

/* RFC 9110, 7.8: both fields, and not from HTTP/1.0. */
static void upgrade_takes_both_fields(void **state)
{
    static const struct {
        int version_minor;
        const char *lines;
        bool wants;
    } table[] = {
        {1, "Connection: Upgrade\r\nUpgrade: websocket\r\n", true},
        {1, "Connection: keep-alive, upgrade\r\nUpgrade: websocket\r\n", true},
        {1, "Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", true},
        {1, "Upgrade: websocket\r\n", false},
        {1, "Connection: upgrade\r\n", false},
        {0, "Connection: upgrade\r\nUpgrade: websocket\r\n", false},
    };

    for (size_t i = 0; i < ENTRIES(table); i++) {
        struct http_decoder *decoder = request("GET", table[i].version_minor, table[i].lines);

        if (http_wants_upgrade(decoder) != table[i].wants)
            fail_msg("HTTP/1.%d %s", table[i].version_minor, table[i].lines);
        http_decoder_close(decoder);
    }
}

/* RFC 9110, 10.1.1 */
static void only_a_body_to_come_is_waited_for(void **state)
{
    static const struct {
        int version_minor;
        const char *lines;
        bool expects;
    } table[] = {
        {1, "Expect: 100-continue\r\nContent-Length: 3\r\n", true},
        {1, "Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n", true},
        {1, "Expect: 100-continue\r\n", false},
        {1, "Expect: 100-continue\r\nContent-Length: 0\r\n", false},
        {1, "Content-Length: 3\r\n", false},
        {0, "Expect: 100-continue\r\nContent-Length: 3\r\n", false},
        {0, "Expect: wonders\r\n", false},
    };

    for (size_t i = 0; i < ENTRIES(table); i++) {
        struct http_decoder *decoder = request("POST", table[i].version_minor, table[i].lines);

        if (http_expects_continue(decoder) != table[i].expects)
            fail_msg("HTTP/1.%d %s", table[i].version_minor, table[i].lines);
        http_decoder_close(decoder);
    }
}

/* Before a head, after a refusal: there is nothing to say, but asking is no error. */
static void asking_too_early_is_harmless(void **state)
{
    static const char *const pieces[] = {"", "G", "ET /a HTTP/1.1", "\r\nHost: ", "h\r\nHost: i\r\n", "\r\n"};
    struct http_decoder *decoder = http_decoder_open(&limits);

    for (size_t i = 0; i < ENTRIES(pieces); i++) {
        assert_int_equal(decode(decoder, pieces[i]).event, i + 1 < ENTRIES(pieces) ? HTTP_MORE : HTTP_FAIL);
        assert_non_null(http_method(decoder));
        assert_non_null(http_target(decoder));
        assert_null(http_field(decoder, "connection"));
        assert_false(http_wants_upgrade(decoder));
        assert_false(http_expects_continue(decoder));
    }
    assert_false(http_keep_alive(decoder));
    http_decoder_close(decoder);
}

/* Between requests a connection costs its decoder and nothing else, however large the head before. */
static void head_is_given_back(void **state)
{
    struct http_decoder *decoder = http_decoder_open(&limits);

    assert_int_equal(decode(decoder, "GET / HTTP/1.1\r\nHost: h\r\nA: ").event, HTTP_MORE);
    assert_int_equal(memory.held, 1024);
    for (size_t i = 0; i < 1500; i++)
        assert_int_equal(decode(decoder, "0123456789").event, HTTP_MORE);
    assert_int_equal(memory.held, 16384);
    assert_int_equal(decode(decoder, "\r\n\r\n").event, HTTP_HEAD);
    assert_int_equal(decode(decoder, "").event, HTTP_DONE);

    http_decoder_next(decoder);
    assert_int_equal(memory.held, 0);
    assert_int_equal(decode(decoder, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").event, HTTP_HEAD);
    http_decoder_close(decoder);
}

/* Whichever allocation fails: 503, and nothing leaks (the sanitizer looks). */
static void short_memory_is_503(void **state)
{
    static const char bytes[] = "GET / HTTP/1.1\r\nHost: h\r\nA: %0*d\r\nB: x\r\nA: y%0*d\r\n\r\n";
    char text[2048];
    struct http_decoder *decoder;
    struct http_step step;

    snprintf(text, sizeof(text), bytes, 600, 1, 900, 1);
    memory.allocations_left = 0;
    assert_null(http_decoder_open(&limits));
    for (size_t allowed = 0; allowed < 4; allowed++) {
        memory.allocations_left = 1 + allowed;
        decoder = http_decoder_open(&limits);
        step = decode(decoder, text);
        memory.allocations_left = SIZE_MAX;
        if (step.event == HTTP_HEAD)
            assert_true(allowed == 3);      /* 1 KiB, 2 KiB, and 4 KiB while two values are joined */
        else
            assert_int_equal(step.status, 503);
        http_decoder_close(decoder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_found_in_any_case),
        cmocka_unit_test(namesakes_are_joined_in_their_order),
        cmocka_unit_test(keep_alive_is_what_the_request_asks_for),
        cmocka_unit_test(upgrade_takes_both_fields),
        cmocka_unit_test(only_a_body_to_come_is_waited_for),
        cmocka_unit_test(asking_too_early_is_harmless),
        cmocka_unit_test(head_is_given_back),
        cmocka_unit_test(short_memory_is_503),
    };

    return cmocka_run_group_tests_name("http request", tests, NULL, NULL);
}
