/* SPDX-License-Identifier: MIT */
/* Paths, query values and lists: what goes in, what comes out. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/codec.h"

#define ENTRIES(table) (sizeof(table) / sizeof((table)[0]))

static void targets_split_into_path_and_query(void **state)
{
    static const struct {
        const char *target;
        const char *path;
        const char *query;
    } table[] = {
        {"/", "/", ""},
        {"/chat/r?name=ann", "/chat/r", "name=ann"},
        {"/a?", "/a", ""},
        {"/a?b?c", "/a", "b?c"},
        {"/a%20b", "/a b", ""},
        {"/%c3%A4", "/\xc3\xa4", ""},
        {"/a+b", "/a+b", ""},
        {"/a?b%zz", "/a", "b%zz"},
        {"/../a/./%2e%2E/b", "/../a/./../b", ""},
        {"//a", "//a", ""},
        {"http://h/a?b", "/a", "b"},
        {"HTTPS://h:1/a", "/a", ""},
        {"http://h", "/", ""},
        {"http://h?b", "/", "b"},
        {"/http://h", "/http://h", ""},
    };

    for (size_t i = 0; i < ENTRIES(table); i++) {
        const char *query = NULL;
        char path[64];

        assert_int_equal(http_path(table[i].target, path, sizeof(path), &query), 0);
        assert_string_equal(path, table[i].path);
        assert_string_equal(query, table[i].query);
    }
}

static void bad_targets_are_refused(void **state)
{
    static const char *const table[] = {
        "", "*", "a", "h:443", "ftp://h/a", "http:/a", "http:///a", "http:a", "http",
        "/%", "/%2", "/%g0", "/%0g", "/%%20", "/%00", "/a%00b", "http://h/%00",
    };

    for (size_t i = 0; i < ENTRIES(table); i++) {
        const char *query;
        char path[64];

        if (http_path(table[i], path, sizeof(path), &query) != -EINVAL)
            fail_msg("\"%s\" was taken", table[i]);
    }
}

/* The buffer is as large as claimed, so that a sanitizer sees a byte written too many. */
static void paths_fit_with_their_zero_or_not_at_all(void **state)
{
    const char *query;

    for (size_t size = 0; size < 8; size++) {
        char *path = malloc(size > 0 ? size : 1);

        assert_int_equal(http_path("/a%20c", path, size, &query), size >= sizeof("/a c") ? 0 : -ENAMETOOLONG);
        free(path);
    }
}

static void values_are_found_and_decoded(void **state)
{
    static const struct {
        const char *query;
        const char *name;
        int rc;
        const char *value;
    } table[] = {
        {"name=ann", "name", 3, "ann"},
        {"a=1&name=ann&b=2", "name", 3, "ann"},
        {"name=a&name=b", "name", 1, "a"},
        {"name=", "name", 0, ""},
        {"name", "name", 0, ""},
        {"name&a", "a", 0, ""},
        {"name=a=b", "name", 3, "a=b"},
        {"name=a+b%2B%26", "name", 5, "a b+&"},
        {"n%61me=x", "name", 1, "x"},
        {"a+b=x", "a b", 1, "x"},
        {"&&name=x&", "name", 1, "x"},
        {"%zz=1&name=x", "name", 1, "x"},
        {"", "name", -ENOENT, NULL},
        {NULL, "name", -ENOENT, NULL},
        {"names=x", "name", -ENOENT, NULL},
        {"nam=x", "name", -ENOENT, NULL},
        {"Name=x", "name", -ENOENT, NULL},
        {"a=name=x", "name", -ENOENT, NULL},
        {"name=%", "name", -EINVAL, NULL},
        {"name=%4", "name", -EINVAL, NULL},
        {"name=%4&1", "name", -EINVAL, NULL},
        {"name=a%00b", "name", -EINVAL, NULL},
        {"name=12345678", "name", -ENAMETOOLONG, NULL},
        {"name=1234567", "name", 7, "1234567"},
    };

    for (size_t i = 0; i < ENTRIES(table); i++) {
        char value[8];
        int rc = http_query_value(table[i].query, table[i].name, value, sizeof(value));

        if (rc != table[i].rc)
            fail_msg("%s in \"%s\": %d", table[i].name, table[i].query, rc);
        if (rc >= 0)
            assert_string_equal(value, table[i].value);
    }
}

static void lists_have_whole_tokens(void **state)
{
    static const struct {
        const char *list;
        const char *token;
        bool has;
    } table[] = {
        {"upgrade", "upgrade", true},
        {"a, Upgrade", "upgrade", true},
        {"a,\tUPGRADE ,b", "upgrade", true},
        {",, ,upgrade", "upgrade", true},
        {"upgrades", "upgrade", false},
        {"an upgrade", "upgrade", false},
        {"upgrad", "upgrade", false},
        {"", "upgrade", false},
        {" , ", "upgrade", false},
        {NULL, "upgrade", false},
    };

    for (size_t i = 0; i < ENTRIES(table); i++)
        if (http_list_has(table[i].list, table[i].token) != table[i].has)
            fail_msg("%s in \"%s\"", table[i].token, table[i].list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_split_into_path_and_query),
        cmocka_unit_test(bad_targets_are_refused),
        cmocka_unit_test(paths_fit_with_their_zero_or_not_at_all),
        cmocka_unit_test(values_are_found_and_decoded),
        cmocka_unit_test(lists_have_whole_tokens),
    };

    return cmocka_run_group_tests_name("http target", tests, NULL, NULL);
}
