/* SPDX-License-Identifier: MIT */
/* What files are answered by, as text alone: conditions, dates, ranges, what a client accepts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "http/accept.h"
#include "http/range.h"
#include "http/validators.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"
#define EARLIER "Sun, 06 Nov 1994 08:49:36 GMT"
#define SECONDS 784111777

static void dates_have_three_forms(void **state)
{
    static const char *const bad[] = {"", "yesterday", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 24:00:00 GMT",
                                      "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 +0100", "Sun, 06 Nov 1994",
                                      "Sun Nov  6 08:49:37", "784111777", "Sun, 06 Foo 1994 08:49:37 GMT"};

    assert_int_equal(http_parse_date(DATE), SECONDS);
    assert_int_equal(http_parse_date("Sunday, 06-Nov-94 08:49:37 GMT"), SECONDS);
    assert_int_equal(http_parse_date("Sun Nov  6 08:49:37 1994"), SECONDS);
    for (size_t i = 0; i < COUNT(bad); i++)
        if (http_parse_date(bad[i]) != -1)
            fail_msg("taken for a date: %s", bad[i]);
}

/* RFC 9110, 13.2.2: which condition is looked at when there are several. */
static void conditions_have_their_order(void **state)
{
    static const struct { struct http_conditions conditions; int result; } cases[] = {
        {{0}, 0},
        {{.if_match = "\"a\""}, 0}, {{.if_match = "*"}, 0}, {{.if_match = "\"b\", \"a\""}, 0}, {{.if_match = "\"b\""}, 412},
        {{.if_match = "W/\"a\""}, 412},
        {{.if_match = "\"a\"", .if_unmodified_since = EARLIER}, 0}, {{.if_unmodified_since = EARLIER}, 412},
        {{.if_unmodified_since = DATE}, 0}, {{.if_unmodified_since = "never"}, 0},
        {{.if_none_match = "\"a\""}, 304}, {{.if_none_match = "W/\"a\""}, 304}, {{.if_none_match = "*"}, 304},
        {{.if_none_match = "\"x\",W/\"y\" , \"a\""}, 304}, {{.if_none_match = "\"b\""}, 0}, {{.if_none_match = "a"}, 0},
        {{.if_none_match = "\"b\"", .if_modified_since = DATE}, 0},
        {{.if_none_match = "\"a\"", .if_modified_since = EARLIER}, 304},
        {{.if_modified_since = DATE}, 304}, {{.if_modified_since = EARLIER}, 0}, {{.if_modified_since = "?"}, 0},
        {{.if_match = "\"b\"", .if_none_match = "\"a\""}, 412}, {{.if_match = "\"a\"", .if_none_match = "\"a\""}, 304},
    };
    const struct http_validators ours = {"\"a\"", SECONDS};

    for (size_t i = 0; i < COUNT(cases); i++)
        if (http_evaluate(&cases[i].conditions, &ours) != cases[i].result)
            fail_msg("case %zu", i);
    assert_true(http_if_range_holds(NULL, &ours));
    assert_true(http_if_range_holds("\"a\"", &ours));
    assert_true(http_if_range_holds(DATE, &ours));
    assert_false(http_if_range_holds("W/\"a\"", &ours));
    assert_false(http_if_range_holds("\"b\"", &ours));
    assert_false(http_if_range_holds(EARLIER, &ours));
}

/* Of a hundred bytes. */
static void ranges_are_what_was_asked_for(void **state)
{
    static const struct { const char *value; int count; int64_t begin, size; } cases[] = {
        {"bytes=0-0", 1, 0, 1}, {"bytes=0-99", 1, 0, 100}, {"bytes=10-", 1, 10, 90}, {"bytes=-10", 1, 90, 10},
        {"bytes=-1000", 1, 0, 100}, {"bytes=90-1000", 1, 90, 10}, {"Bytes=5-6", 1, 5, 2}, {"bytes=99-", 1, 99, 1},
        {"bytes=100-", -1, 0, 0}, {"bytes=-0", -1, 0, 0}, {"bytes=99999999999999999999999-", -1, 0, 0},
        {"bytes=0-99999999999999999999999", 1, 0, 100}, {"bytes=1-2, 4-5", 2, 1, 2}, {"bytes=,1-2,,4-5,", 2, 1, 2},
        {"bytes=200-, 4-5", 1, 4, 2}, {"bytes=200-,300-", -1, 0, 0},
        {"bytes=", 0, 0, 0}, {"bytes=5-4", 0, 0, 0}, {"bytes=a-b", 0, 0, 0}, {"bytes=-", 0, 0, 0}, {"bytes=1", 0, 0, 0},
        {"lines=1-2", 0, 0, 0}, {"bytes=1-2;3-4", 0, 0, 0}, {"bytes 1-2", 0, 0, 0}, {"bytes=1-2 3-4", 0, 0, 0},
        {"bytes=0-,0-", 0, 0, 0}, {"bytes=0-60,40-99", 0, 0, 0},
    };
    struct http_range ranges[HTTP_RANGES_MAX];
    char flood[2000] = "bytes=0-0";

    for (size_t i = 0; i < COUNT(cases); i++) {
        int count = http_ranges(cases[i].value, 100, ranges);

        if (count != cases[i].count || (count > 0 && (ranges[0].begin != cases[i].begin || ranges[0].size != cases[i].size)))
            fail_msg("%s: %d", cases[i].value, count);
    }
    assert_int_equal(http_ranges("bytes=0-", 0, ranges), -1);
    for (int i = 1; i < HTTP_RANGES_MAX; i++)
        snprintf(flood + strlen(flood), sizeof flood - strlen(flood), ",%d-%d", 2 * i, 2 * i);
    assert_int_equal(http_ranges(flood, 100, ranges), HTTP_RANGES_MAX);
    snprintf(flood + strlen(flood), sizeof flood - strlen(flood), ",98-98");
    assert_int_equal(http_ranges(flood, 100, ranges), 0);
}

static void gzip_is_for_who_likes_it(void **state)
{
    static const char *const liked[] = {"gzip", "GZIP", "deflate, gzip;q=1.0", "x-gzip", "*", "gzip;q=0.5, identity;q=0.5",
                                        "br , gzip ; q=0.001", "identity;q=0, *;q=0.1"};
    static const char *const not[] = {"", "identity", "br", "gzip;q=0", "gzip;q=0.000, *", "*;q=0", "gzip;q=0.5, identity",
                                      "gzip;q=2", "gzip;w=1", "gzipped", "gzip;q=0.5,identity;q=0.6"};

    assert_false(http_accepts_gzip(NULL));
    for (size_t i = 0; i < COUNT(liked); i++)
        if (!http_accepts_gzip(liked[i]))
            fail_msg("likes gzip: %s", liked[i]);
    for (size_t i = 0; i < COUNT(not); i++)
        if (http_accepts_gzip(not[i]))
            fail_msg("does not like gzip: %s", not[i]);
}

static void types_are_known_by_names(void **state)
{
    assert_string_equal(http_type_of("a/b.HTML"), "text/html; charset=utf-8");
    assert_string_equal(http_type_of("a.html/b"), "application/octet-stream");
    assert_string_equal(http_type_of("a.tar.gz"), "application/gzip");
    assert_true(http_type_compresses("text/plain; charset=utf-8"));
    assert_true(http_type_compresses("image/svg+xml"));
    assert_true(http_type_compresses("application/problem+json"));
    assert_false(http_type_compresses("text/event-stream"));
    assert_false(http_type_compresses("image/png"));
    assert_false(http_type_compresses(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_have_three_forms),
        cmocka_unit_test(conditions_have_their_order),
        cmocka_unit_test(ranges_are_what_was_asked_for),
        cmocka_unit_test(gzip_is_for_who_likes_it),
        cmocka_unit_test(types_are_known_by_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
