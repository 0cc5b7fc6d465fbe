/* SPDX-License-Identifier: MIT */
/* What a decoded request answers when asked, and what its head costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reader.h"

#define ENTRIES(table) (sizeof(table) / sizeof((table)[0]))

static const struct http_limits limits = {.head_bytes_max = 16384, .fields_max = 64, .body_bytes_max = 32};

/* The allocator between us and the C library's (the linker's --wrap), with as much memory as a test allows it. */
static struct {
    size_t allocations_left;
    size_t asked;
} memory = {.allocations_left = SIZE_MAX};

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    if (memory.allocations_left == 0)
        return NULL;
    if (memory.allocations_left != SIZE_MAX)
        memory.allocations_left--;
    memory.asked = size;
    return __real_malloc(size);
}

static struct http_step decode(struct reader *decoder, const char *bytes)
{
    return http_decode(&decoder->decoder, (const uint8_t *)bytes, strlen(bytes));
}

/* A decoder whose request has these lines behind "Host: h", at HTTP_HEAD. */
static struct reader *request(const char *method, int version_minor, const char *lines)
{
    struct reader *decoder = reader_open(&limits);
    char bytes[512];

    snprintf(bytes, sizeof(bytes), "%s %s HTTP/1.%d\r\nHost: h\r\n%s\r\n", method,
             strcmp(method, "CONNECT") == 0 ? "h:443" : "/", version_minor, lines);
    assert_non_null(decoder);
    assert_int_equal(decode(decoder, bytes).event, HTTP_HEAD);
    return decoder;
}

static void fields_are_found_in_any_case(void **state)
{
    struct reader *decoder = request("GET", 1, "Accept:text/html\r\nX-Empty:\r\nX-Padded: \t a b \t \r\n");

    assert_string_equal(http_method(&decoder->head), "GET");
    assert_string_equal(http_target(&decoder->head), "/");
    assert_int_equal(decoder->head.version, 11);
    assert_string_equal(http_field(&decoder->head, "host"), "h");
    assert_string_equal(http_field(&decoder->head, "ACCEPT"), "text/html");
    assert_string_equal(http_field(&decoder->head, "x-empty"), "");
    assert_string_equal(http_field(&decoder->head, "x-padded"), "a b");
    assert_null(http_field(&decoder->head, "accep"));
    assert_null(http_field(&decoder->head, "accept-"));
    assert_null(http_field(&decoder->head, "text/html"));
    reader_close(decoder);
}

/* RFC 9110, 5.3 */
static void namesakes_are_joined_in_their_order(void **state)
{
    struct reader *decoder = request("GET", 1, "A: 1\r\nB: x\r\na: 2\r\nC: y\r\nA:\r\nA: 4\r\nb: z\r\n");

    assert_string_equal(http_field(&decoder->head, "a"), "1, 2, , 4");
    assert_string_equal(http_field(&decoder->head, "b"), "x, z");
    assert_string_equal(http_field(&decoder->head, "c"), "y");
    assert_string_equal(http_field(&decoder->head, "host"), "h");
    reader_close(decoder);
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
        struct reader *decoder = request(table[i].method, table[i].version_minor, table[i].lines);

        if (http_keep_alive(&decoder->head) != table[i].keeps)
            fail_msg("%s HTTP/1.%d %s", table[i].method, table[i].version_minor, table[i].lines);
        reader_close(decoder);
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
        struct reader *decoder = request("GET", table[i].version_minor, table[i].lines);

        if (http_wants_upgrade(&decoder->head) != table[i].wants)
            fail_msg("HTTP/1.%d %s", table[i].version_minor, table[i].lines);
        reader_close(decoder);
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
        struct reader *decoder = request("POST", table[i].version_minor, table[i].lines);

        if (http_expects_continue(&decoder->head) != table[i].expects)
            fail_msg("HTTP/1.%d %s", table[i].version_minor, table[i].lines);
        reader_close(decoder);
    }
}

/* Before a head, after a refusal: there is nothing to say, but asking is no error. */
static void asking_too_early_is_harmless(void **state)
{
    static const char *const pieces[] = {"", "G", "ET /a HTTP/1.1", "\r\nHost: ", "h\r\nHost: i\r\n", "\r\n"};
    struct reader *decoder = reader_open(&limits);

    for (size_t i = 0; i < ENTRIES(pieces); i++) {
        assert_int_equal(decode(decoder, pieces[i]).event, i + 1 < ENTRIES(pieces) ? HTTP_MORE : HTTP_FAIL);
        assert_non_null(http_method(&decoder->head));
        assert_non_null(http_target(&decoder->head));
        assert_null(http_field(&decoder->head, "connection"));
        assert_false(http_wants_upgrade(&decoder->head));
        assert_false(http_expects_continue(&decoder->head));
    }
    reader_close(decoder);
}

/* A head begins in the room it is given, moves to the heap with all that is in it, and comes back. */
static void a_head_outgrows_its_room(void **state)
{
    char room[64], value[3000] = {0};
    struct http_head head;

    head_init(&head, room, sizeof(room));
    assert_int_equal(head_start(&head, "GET", 3, "/", 1, 11), 0);
    assert_int_equal(head_add(&head, "Host", 4, "h", 1), 0);
    assert_ptr_equal(head.bytes, room);
    memset(value, 'x', sizeof(value) - 1);
    assert_int_equal(head_add(&head, "A", 1, value, sizeof(value) - 1), 0);
    assert_ptr_not_equal(head.bytes, room);
    assert_string_equal(http_method(&head), "GET");
    assert_string_equal(http_field(&head, "a"), value);
    assert_string_equal(http_field(&head, "host"), "h");
    head_clear(&head);
    assert_ptr_equal(head.bytes, room);
    assert_string_equal(http_method(&head), "");
    assert_null(http_field(&head, "host"));
}

/* RFC 9112, 3.2.2: the target's host takes the place of the field's, be it longer or shorter. */
static void fields_are_replaced(void **state)
{
    struct reader *decoder = request("GET", 1, "A: 1\r\nB: 2\r\n");

    assert_int_equal(head_replace(&decoder->head, "Host", "longer.example:80", 17), 0);
    assert_string_equal(http_field(&decoder->head, "host"), "longer.example:80");
    assert_int_equal(head_replace(&decoder->head, "host", "", 0), 0);
    assert_string_equal(http_field(&decoder->head, "host"), "");
    assert_int_equal(head_replace(&decoder->head, "C", "3", 1), 0);
    assert_string_equal(http_field(&decoder->head, "a"), "1");
    assert_string_equal(http_field(&decoder->head, "b"), "2");
    assert_string_equal(http_field(&decoder->head, "c"), "3");
    reader_close(decoder);
}

/* RFC 9113, 8.2.3: crumbs make a cookie again; a comma would be another one's value. */
static void cookies_are_joined_by_semicolons(void **state)
{
    struct reader *decoder = request("GET", 1, "Cookie: a=1\r\nX: y\r\ncookie: b=2\r\n");

    assert_string_equal(http_field(&decoder->head, "cookie"), "a=1; b=2");
    assert_string_equal(http_field(&decoder->head, "x"), "y");
    reader_close(decoder);
}

/* Whichever allocation fails: 503, and nothing leaks (the sanitizer looks). */
static void short_memory_is_503(void **state)
{
    static const char bytes[] = "GET / HTTP/1.1\r\nHost: h\r\nA: %0*d\r\nB: x\r\nA: y%0*d\r\n\r\n";
    char text[4096];
    unsigned refusals = 0;
    bool done = false;

    snprintf(text, sizeof(text), bytes, 600, 1, 900, 1);
    for (size_t allowed = 0; !done; allowed++) {
        struct reader *decoder = reader_open(&limits);
        struct http_step step;

        memory.allocations_left = allowed;
        step = decode(decoder, text);
        memory.allocations_left = SIZE_MAX;
        done = step.event == HTTP_HEAD;
        if (!done)
            assert_int_equal(step.status, 503);
        refusals += !done;
        reader_close(decoder);
    }
    assert_in_range(refusals, 2, 4);
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
        cmocka_unit_test(a_head_outgrows_its_room),
        cmocka_unit_test(fields_are_replaced),
        cmocka_unit_test(cookies_are_joined_by_semicolons),
        cmocka_unit_test(short_memory_is_503),
    };

    return cmocka_run_group_tests_name("http request", tests, NULL, NULL);
}
