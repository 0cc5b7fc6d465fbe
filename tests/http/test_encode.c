/* SPDX-License-Identifier: MIT */
/* A response's head, byte for byte. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/codec.h"

#define ENTRIES(table) (sizeof(table) / sizeof((table)[0]))
#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"    /* the example of RFC 9110, 5.6.7 */

static const int64_t example_date = 784111777;

static struct http_decoder *request(const char *bytes)
{
    static const struct http_limits limits = {.head_bytes_max = 256, .fields_max = 8, .body_bytes_max = 8};
    struct http_decoder *decoder = http_decoder_open(&limits);

    assert_non_null(decoder);
    assert_int_equal(http_decode(decoder, (const uint8_t *)bytes, strlen(bytes)).event, HTTP_HEAD);
    return decoder;
}

static void heads_say_what_they_must(void **state)
{
    static const char http11[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    static const char http11_asking[] = "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n";
    static const char http10[] = "GET / HTTP/1.0\r\n\r\n";
    static const char http10_asking[] = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    static const struct {
        const char *request;
        int status;
        const char *extra;
        size_t length;
        bool keep_alive;
        const char *head;
    } table[] = {
        {http11, 200, "", 5, true, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\n\r\n"},
        {http11_asking, 200, "", 5, true, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\n\r\n"},
        {http11, 200, "", 5, false, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\nConnection: close\r\n\r\n"},
        {http10_asking, 200, "", 5, true,
         "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\nConnection: keep-alive\r\n\r\n"},
        {http10_asking, 200, "", 5, false, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\nConnection: close\r\n\r\n"},
        {http10, 200, "", 5, false, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\nConnection: close\r\n\r\n"},
        {http11, 404, "Content-Type: text/plain\r\nA:\r\n", 0, true,
         "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nA:\r\n" DATE "Content-Length: 0\r\n\r\n"},
        {http11, 204, "", 0, true, "HTTP/1.1 204 No Content\r\n" DATE "\r\n"},
        {http11, 304, "", 7, true, "HTTP/1.1 304 Not Modified\r\n" DATE "Content-Length: 7\r\n\r\n"},
        {http11, 100, "", 0, false, "HTTP/1.1 100 Continue\r\n" DATE "\r\n"},
        {http11, 101, "Connection: Upgrade\r\nUpgrade: websocket\r\n", 0, true,
         "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" DATE "\r\n"},
        {http11, 299, "", 0, true, "HTTP/1.1 299 Unknown\r\n" DATE "Content-Length: 0\r\n\r\n"},
    };

    for (size_t i = 0; i < ENTRIES(table); i++) {
        struct http_decoder *decoder = request(table[i].request);
        char head[512];
        int size = http_encode_head(head, sizeof(head), decoder, table[i].status, table[i].extra, table[i].length,
                                    table[i].keep_alive, example_date);

        assert_int_equal(size, strlen(table[i].head));
        assert_string_equal(head, table[i].head);
        http_decoder_close(decoder);
    }
}

/* The caller's lines may not end the head, nor announce another body: whatever they were made from. */
static void extra_lines_inject_nothing(void **state)
{
    static const char *const table[] = {
        "A: b", "A: b\n", "A: b\r", "A: b\r\n\r\n", "\r\n", "A: b\r\n\r\nHTTP/1.1 200 OK\r\n",
        "A: b\nC: d\r\n", "A: b\rC: d\r\n",
        "A b\r\n", ": b\r\n", "A : b\r\n", " A: b\r\n", "A: b\r\n c\r\n", "A: b\x01\r\n", "A: b\x7f\r\n",
        "Content-Length: 1\r\n", "content-length: 1\r\n", "A: b\r\nTransfer-Encoding: chunked\r\n", "date: now\r\n",
    };
    struct http_decoder *decoder = request("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    char head[512];

    for (size_t i = 0; i < ENTRIES(table); i++)
        if (http_encode_head(head, sizeof(head), decoder, 200, table[i], 0, true, 0) != -EINVAL)
            fail_msg("\"%s\" was taken", table[i]);
    http_decoder_close(decoder);
}

static void status_has_three_digits(void **state)
{
    static const int table[] = {-200, 0, 99, 1000, 20000};
    struct http_decoder *decoder = request("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    char head[512];

    for (size_t i = 0; i < ENTRIES(table); i++)
        assert_int_equal(http_encode_head(head, sizeof(head), decoder, table[i], "", 0, true, 0), -EINVAL);
    http_decoder_close(decoder);
}

/* The buffer is as large as claimed, so that a sanitizer sees a byte written too many. */
static void heads_fit_or_not_at_all(void **state)
{
    static const char head[] = "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 0\r\n\r\n";
    struct http_decoder *decoder = request("GET / HTTP/1.1\r\nHost: h\r\n\r\n");

    for (size_t size = 0; size <= sizeof(head); size++) {
        char *out = malloc(size > 0 ? size : 1);
        int rc;

        assert_non_null(out);
        rc = http_encode_head(out, size, decoder, 200, "", 0, true, example_date);
        assert_int_equal(rc, size >= sizeof(head) ? (int)sizeof(head) - 1 : -ENOBUFS);
        free(out);
    }
    http_decoder_close(decoder);
}

static void dates_keep_their_form(void **state)
{
    static const struct {
        int64_t unix_seconds;
        const char *date;
    } table[] = {
        {0, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"},
        {951782400, "Date: Tue, 29 Feb 2000 00:00:00 GMT\r\n"},
        {INT64_C(253402300799), "Date: Fri, 31 Dec 9999 23:59:59 GMT\r\n"},
        {INT64_MIN, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"},
        {INT64_MAX, "Date: Fri, 31 Dec 9999 23:59:59 GMT\r\n"},
    };
    struct http_decoder *decoder = request("GET / HTTP/1.1\r\nHost: h\r\n\r\n");

    for (size_t i = 0; i < ENTRIES(table); i++) {
        char head[512];

        assert_true(http_encode_head(head, sizeof(head), decoder, 200, "", 0, true, table[i].unix_seconds) > 0);
        assert_non_null(strstr(head, table[i].date));
    }
    http_decoder_close(decoder);
}

static void every_status_a_decoder_gives_has_a_reason(void **state)
{
    static const int table[] = {400, 413, 414, 417, 431, 501, 503, 505};

    for (size_t i = 0; i < ENTRIES(table); i++)
        assert_string_not_equal(http_reason(table[i]), "Unknown");
    assert_string_equal(http_reason(404), "Not Found");
    assert_string_equal(http_reason(299), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_say_what_they_must),
        cmocka_unit_test(extra_lines_inject_nothing),
        cmocka_unit_test(status_has_three_digits),
        cmocka_unit_test(heads_fit_or_not_at_all),
        cmocka_unit_test(dates_keep_their_form),
        cmocka_unit_test(every_status_a_decoder_gives_has_a_reason),
    };

    return cmocka_run_group_tests_name("http encode", tests, NULL, NULL);
}
