/* SPDX-License-Identifier: MIT */
/*
 * The lab's frame, with experiments of our own: which run, how often, and what the exit status is. What an experiment prints goes
 * to a file that the test reads.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "experiment.h"

#define ARGS(...) ((char *[]){"lab", __VA_ARGS__, NULL})

/* An experiment has no argument: what it would see is in the environment of this test alone. */
static long runs(int add)
{
    const char *text = getenv("LAB_RUNS");
    char next[24];
    long count = (text ? strtol(text, NULL, 10) : 0) + add;

    snprintf(next, sizeof next, "%ld", count);
    setenv("LAB_RUNS", next, 1);
    return count;
}

static int claim(struct findings *findings, enum claim_kind kind, enum claim_relation relation, double predicted, double measured)
{
    runs(1);
    findings_line(findings, "a line of figures");
    findings_claim(findings, (struct claim){kind, "what was claimed", "times", relation, predicted, measured});
    return 0;
}

static int right(struct findings *findings)
{
    return claim(findings, COUNTED, EXACTLY, 1, 1);
}

static int miscounted(struct findings *findings)
{
    return claim(findings, COUNTED, EXACTLY, 1, 2);
}

static int slow(struct findings *findings)
{
    return claim(findings, TIMED, AT_MOST, 1, 1.5);
}

static int slow_once(struct findings *findings)
{
    return claim(findings, TIMED, AT_LEAST, 2, (double)runs(0) + 1);
}

static int slow_and_miscounted(struct findings *findings)
{
    slow(findings);
    return miscounted(findings);
}

static int impossible(struct findings *findings)
{
    runs(1);
    return -ENOSYS;
}

static int stopped(struct findings *findings)
{
    runs(1);
    return -ECANCELED;
}

static int silent(struct findings *findings)
{
    runs(1);
    return 0;
}

#define EXPERIMENT(text, function) &(const struct experiment){.name = text, .summary = "of a test", \
    .theory = "In theory.", .because = "Because.", .run = function}

static const struct experiment *const all[] = {
    EXPERIMENT("right", right), EXPERIMENT("miscounted", miscounted), EXPERIMENT("slow", slow),
    EXPERIMENT("slow-once", slow_once), EXPERIMENT("slow-and-miscounted", slow_and_miscounted),
    EXPERIMENT("impossible", impossible), EXPERIMENT("silent", silent), EXPERIMENT("stopped", stopped), NULL,
};

struct seen {
    int status;
    long runs;
    char text[8192];
};

/* Runs the lab with its output in a file, which is read. */
static struct seen lab(char **argv)
{
    struct seen seen = {0};
    FILE *file = tmpfile();
    int out = dup(STDOUT_FILENO), argc = 0;

    assert_non_null(file);
    while (argv[argc])
        argc++;
    unsetenv("LAB_RUNS");
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    seen.status = lab_main(all, argc, argv);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    close(out);
    seen.runs = runs(0);
    rewind(file);
    (void)!fread(seen.text, 1, sizeof seen.text - 1, file);
    fclose(file);
    return seen;
}

static void what_holds_is_success(void **state)
{
    struct seen seen = lab(ARGS("right"));

    assert_int_equal(seen.status, 0);
    assert_int_equal(seen.runs, 1);
    assert_non_null(strstr(seen.text, "held"));
    assert_null(strstr(seen.text, "FAILED"));
}

static void what_fails_is_failure(void **state)
{
    struct seen seen = lab(ARGS("right", "miscounted", "right"));

    assert_int_equal(seen.status, 1);
    assert_int_equal(seen.runs, 3);  /* the others run all the same */
    assert_non_null(strstr(seen.text, "FAILED"));
    assert_non_null(strstr(seen.text, "2 of 3"));
}

static void what_is_counted_gets_no_second_chance(void **state)
{
    assert_int_equal(lab(ARGS("miscounted")).runs, 1);
    assert_int_equal(lab(ARGS("slow-and-miscounted")).runs, 2);  /* both of its claims, once */
}

static void what_is_timed_gets_one_and_it_is_said(void **state)
{
    struct seen once = lab(ARGS("slow-once")), always = lab(ARGS("slow"));

    assert_int_equal(once.status, 0);
    assert_int_equal(once.runs, 2);
    assert_non_null(strstr(once.text, "Again"));
    assert_int_equal(always.status, 1);
    assert_int_equal(always.runs, 2);
}

static void what_shows_nothing_is_no_success(void **state)
{
    assert_int_equal(lab(ARGS("silent")).status, 1);
    assert_int_equal(lab(ARGS("impossible")).status, 1);
}

static void whoever_stops_one_stops_all(void **state)
{
    struct seen seen = lab(ARGS("stopped", "right"));

    assert_int_equal(seen.status, 1);
    assert_int_equal(seen.runs, 1);
}

static void a_wrong_name_runs_nothing(void **state)
{
    struct seen seen = lab(ARGS("right", "wrong"));

    assert_int_equal(seen.status, 2);
    assert_int_equal(seen.runs, 0);
    assert_int_equal(lab(ARGS("--wrong")).status, 2);
}

static void no_name_is_all_of_them(void **state)
{
    assert_int_equal(lab((char *[]){"lab", NULL}).runs, 10);  /* one is repeated, one has two claims */
}

static void no_number_holds_nothing(void **state)
{
    for (int relation = EXACTLY; relation <= AT_MOST; relation++)
        assert_false(claim_holds(&(struct claim){.relation = (enum claim_relation)relation, .measured = NAN}));
}

static void numbers_read_well(void **state)
{
    static const struct { double value; const char *text; } cases[] = {
        {0, "0"}, {4, "4"}, {999, "999"}, {1000, "1,000"}, {1000000, "1,000,000"}, {-1234567, "-1,234,567"}, {99.51, "100"},
        {12.34, "12.3"}, {9.951, "10.0"}, {1.25, "1.25"}, {0.042, "0.042"}, {1e9, "1,000,000,000"},
    };
    char text[32];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(number(text, sizeof text, cases[i].value), cases[i].text);
}

static void quantiles_are_of_the_sorted(void **state)
{
    double values[] = {5, 1, 4, 2, 3};

    assert_true(quantile(values, 5, 0) == 1);
    assert_true(quantile(values, 5, 0.25) == 2);
    assert_true(quantile(values, 5, 0.5) == 3);
    assert_true(quantile(values, 5, 1) == 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_holds_is_success), cmocka_unit_test(what_fails_is_failure),
        cmocka_unit_test(what_is_counted_gets_no_second_chance), cmocka_unit_test(what_is_timed_gets_one_and_it_is_said),
        cmocka_unit_test(what_shows_nothing_is_no_success), cmocka_unit_test(a_wrong_name_runs_nothing),
        cmocka_unit_test(whoever_stops_one_stops_all),
        cmocka_unit_test(no_name_is_all_of_them), cmocka_unit_test(no_number_holds_nothing),
        cmocka_unit_test(numbers_read_well), cmocka_unit_test(quantiles_are_of_the_sorted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
