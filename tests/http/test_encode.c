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

static int encode(char *out, size_t size, struct http_answer_head head)
{
    char date[HTTP_DATE_BYTES];

    http_format_date(date, example_date);
    head.date = date;
    return http_encode_head(out, size, &head);
}

static void heads_say_what_they_must(void **state)
{
    static const struct {
        struct http_answer_head head;
        const char *text;
    } table[] = {
        {{.status = 200, .length = 5}, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\n\r\n"},
        {{.status = 200, .length = 5, .close = true},
         "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\nConnection: close\r\n\r\n"},
        {{.status = 200, .length = 5, .keep_alive = true},
         "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\nConnection: keep-alive\r\n\r\n"},
        {{.status = 200, .framing = HTTP_CHUNKED, .type = "text/plain"},
         "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" DATE "Transfer-Encoding: chunked\r\n\r\n"},
        {{.status = 200, .framing = HTTP_TO_THE_END, .close = true},
         "HTTP/1.1 200 OK\r\n" DATE "Connection: close\r\n\r\n"},
        {{.status = 404, .fields = "Content-Type: text/plain\r\nA:\r\n"},
         "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nA:\r\n" DATE "Content-Length: 0\r\n\r\n"},
        {{.status = 204}, "HTTP/1.1 204 No Content\r\n" DATE "\r\n"},
        {{.status = 204, .framing = HTTP_CHUNKED}, "HTTP/1.1 204 No Content\r\n" DATE "\r\n"},
        {{.status = 304, .length = 7}, "HTTP/1.1 304 Not Modified\r\n" DATE "Content-Length: 7\r\n\r\n"},
        {{.status = 100, .close = true}, "HTTP/1.1 100 Continue\r\n" DATE "\r\n"},
        {{.status = 299, .length = UINT64_MAX}, "HTTP/1.1 299 Unknown\r\n" DATE "Content-Length: 18446744073709551615\r\n\r\n"},
    };

    for (size_t i = 0; i < ENTRIES(table); i++) {
        char head[512] = {0};

        assert_int_equal(encode(head, sizeof(head), table[i].head), strlen(table[i].text));
        assert_string_equal(head, table[i].text);
        assert_true(http_head_room(&table[i].head) >= strlen(table[i].text));
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
    static const char *const types[] = {"text/plain\r\nA: b", "text/plain\n", "text/plain\r", "a\x01"};
    char head[512];

    for (size_t i = 0; i < ENTRIES(table); i++)
        if (encode(head, sizeof(head), (struct http_answer_head){.status = 200, .fields = table[i]}) != -EINVAL)
            fail_msg("\"%s\" was taken", table[i]);
    for (size_t i = 0; i < ENTRIES(types); i++)
        if (encode(head, sizeof(head), (struct http_answer_head){.status = 200, .type = types[i]}) != -EINVAL)
            fail_msg("\"%s\" was taken", types[i]);
}

static void status_has_three_digits(void **state)
{
    static const int table[] = {-200, 0, 99, 1000, 20000};
    char head[512];

    for (size_t i = 0; i < ENTRIES(table); i++)
        assert_int_equal(encode(head, sizeof(head), (struct http_answer_head){.status = table[i]}), -EINVAL);
}

/* The buffer is as large as claimed, so that a sanitizer sees a byte written too many. */
static void heads_fit_or_not_at_all(void **state)
{
    static const char head[] = "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 0\r\n\r\n";

    for (size_t size = 0; size < sizeof(head); size++) {
        char *out = malloc(size > 0 ? size : 1);
        int rc;

        assert_non_null(out);
        rc = encode(out, size, (struct http_answer_head){.status = 200});
        assert_int_equal(rc, size >= sizeof(head) - 1 ? (int)sizeof(head) - 1 : -ENOBUFS);
        free(out);
    }
}

static void dates_keep_their_form(void **state)
{
    static const struct {
        int64_t unix_seconds;
        const char *date;
    } table[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {INT64_C(253402300799), "Fri, 31 Dec 9999 23:59:59 GMT"},
        {INT64_MIN, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };

    for (size_t i = 0; i < ENTRIES(table); i++) {
        char date[HTTP_DATE_BYTES];

        http_format_date(date, table[i].unix_seconds);
        assert_string_equal(date, table[i].date);
    }
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
