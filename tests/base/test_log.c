/* SPDX-License-Identifier: MIT */
/* The log, as somebody reads it who follows standard error. */
#include "run/harness.h"

static void assert_text(int (*body)(void **state), const char *wanted)
{
    struct ending ending = in_child(NULL, body);

    assert_ended_well(&ending);
    assert_string_equal(ending.text, wanted);
}

static int one_line(void **state)
{
    td_log(TD_LOG_ERROR, "cannot open %s: %d", "door", 7);
    td_log(TD_LOG_INFO, "%s", "");
    return 0;
}

static void a_line_an_event(void **state)
{
    assert_text(one_line, "tandem: cannot open door: 7\ntandem: \n");
}

static int quote_an_intruder(void **state)
{
    td_log(TD_LOG_WARNING, "bad name: %s", "bob\ntandem: all is well\r\x1b[2J");
    return 0;
}

/* What a client sent must not look like a line of ours. */
static void text_cannot_forge_a_line(void **state)
{
    struct ending ending = in_child(NULL, quote_an_intruder);

    assert_ended_well(&ending);
    assert_ptr_equal(strchr(ending.text, '\n'), ending.text + strlen(ending.text) - 1);
}

static int endless_line(void **state)
{
    char text[10000];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    td_log(TD_LOG_ERROR, "%s", text);
    td_log_set_format(TD_LOG_JSON);
    td_log(TD_LOG_ERROR, "%s", text);
    memset(text, '"', sizeof text - 1);
    td_log(TD_LOG_ERROR, "%s", text);
    return 0;
}

/* About 2,000 bytes, and still whole lines: the end of the line, and in JSON the end of the object. */
static void long_lines_are_cut(void **state)
{
    struct ending ending = in_child(NULL, endless_line);
    char *line = ending.text, *end;
    int lines = 0;

    assert_ended_well(&ending);
    for (; (end = strchr(line, '\n')); line = end + 1, lines++) {
        assert_in_range(end - line, 1500, 2100);
        if (lines > 0)
            assert_memory_equal(end - 2, "\"}", 2);
    }
    assert_int_equal(*line, '\0');
    assert_int_equal(lines, 3);
}

static int json_lines(void **state)
{
    td_log_set_format(TD_LOG_JSON);
    td_log(TD_LOG_WARNING, "a \"quoted\" \\ back\nnew \x01 caf\xC3\xA9");
    return 0;
}

static void json_is_escaped(void **state)
{
    struct ending ending = in_child(NULL, json_lines);
    char *at = strchr(ending.text, ',');

    assert_ended_well(&ending);
    assert_non_null(at);
    assert_memory_equal(ending.text, "{\"at\":", 6);
    assert_string_equal(at, ",\"level\":\"warning\","
                            "\"message\":\"a \\\"quoted\\\" \\\\ back\\u000anew \\u0001 caf\xC3\xA9\"}\n");
}

static int keep_errno(void **state)
{
    close(STDERR_FILENO);
    errno = ENOENT;
    td_log(TD_LOG_ERROR, "nobody hears this");
    return errno != ENOENT;
}

static void errno_is_left_alone(void **state)
{
    struct ending ending = in_child(NULL, keep_errno);

    assert_ended_well(&ending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_an_event), cmocka_unit_test(text_cannot_forge_a_line),
        cmocka_unit_test(long_lines_are_cut), cmocka_unit_test(json_is_escaped), cmocka_unit_test(errno_is_left_alone),
    };

    return cmocka_run_group_tests_name("base log", tests, NULL, NULL);
}
