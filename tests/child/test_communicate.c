/* SPDX-License-Identifier: MIT */
/* Talking to children: both directions at once, within a limit, and cancellable at any point. */
#include "child/shell.h"

#define BULK (3 << 20)  /* much more than pipes hold */

static int talk(void *arg)
{
    char *input = malloc(BULK);
    td_child_output output;

    if (!input)
        return -ENOMEM;
    for (size_t i = 0; i < BULK; i++)
        input[i] = (char)(i * 31 % 251);
    /* It writes to both while it reads: whoever did one after the other would stand still. */
    expect_int(td_child_run(&(td_child_opts){.argv = SHELL("tee /dev/stderr")}, input, BULK, &output, BULK), 0);
    expect_int((long long)output.out_size, BULK);
    expect_int((long long)output.err_size, BULK);
    expect(output.out && memcmp(output.out, input, BULK) == 0 && output.err && memcmp(output.err, input, BULK) == 0);
    expect(output.out && output.out[BULK] == '\0');
    td_child_output_free(&output);
    td_child_output_free(&output);
    free(input);
    return 0;
}

static void both_directions_flow_at_once(void **state)
{
    assert_int_equal(run(state, talk, NULL), 0);
}

static int flood(void *arg)
{
    td_child_output output;

    expect_int(td_child_run(&(td_child_opts){.argv = SHELL("yes")}, NULL, 0, &output, 100000), -EMSGSIZE);
    expect(!output.out && !output.err && output.out_size == 0);
    expect_int(td_child_run(&(td_child_opts){.argv = SHELL("yes >&2")}, NULL, 0, &output, 1), -EMSGSIZE);
    expect_int(td_child_run(&(td_child_opts){.argv = SHELL("printf 12345")}, NULL, 0, &output, 4), -EMSGSIZE);
    expect_int(td_child_run(&(td_child_opts){.argv = SHELL("printf 12345")}, NULL, 0, &output, 5), 0);
    expect_text(output.out, "12345");
    td_child_output_free(&output);
    expect_int(td_child_run(&(td_child_opts){.argv = SHELL("true")}, NULL, 0, &output, 0), -EINVAL);
    return 0;
}

static void a_flood_meets_the_limit(void **state)
{
    assert_int_equal(run(state, flood, NULL), 0);
}

/* Law 8: no SIGPIPE, and no failure either: `head` has read enough. */
static int feed_in_vain(void *arg)
{
    static char input[BULK];
    td_child_output output;

    memset(input, 'm', sizeof input);
    expect_int(td_child_run(&(td_child_opts){.argv = SHELL("head -c 3")}, input, sizeof input, &output, 1000), 0);
    expect_text(output.out, "mmm");
    expect_int(output.exit.status, 0);
    td_child_output_free(&output);
    expect_int(td_child_run(&(td_child_opts){.argv = SHELL("kill -9 $$")}, input, sizeof input, &output, 1000), 0);
    expect_int(output.exit.signal, SIGKILL);
    td_child_output_free(&output);
    return 0;
}

static void who_does_not_read_on_is_no_failure(void **state)
{
    assert_int_equal(run(state, feed_in_vain, NULL), 0);
}

static int be_late(void *arg)
{
    struct random random = random_seeded();
    static char input[BULK];
    int descriptors = descriptors_count(), done = 0;

    for (int i = 0; i < 40; i++) {
        td_child_opts opts = {.argv = SHELL("cat; echo end"), .grace_ns = i % 2 ? -1 : td_ms(500)};
        td_child_output output;
        td_scope scope;
        int rc;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_us((int64_t)random_below(&random, 8000))));
        rc = td_child_run(&opts, input, sizeof input, &output, sizeof input + 100);
        td_scope_join(&scope);
        expect(rc == 0 || rc == -ECANCELED);
        expect(rc == 0 || !output.out);
        expect(rc != 0 || output.out_size == sizeof input + 4);
        done += rc == 0;
        td_child_output_free(&output);
    }
    print_message("%d of 40 were done in time\n", done);
    expect_int(descriptors_count(), descriptors);
    return 0;
}

/* The harness counts children and descriptors at the end of each run. */
static void a_cancelled_talk_leaves_no_child_behind(void **state)
{
    assert_int_equal(run(state, be_late, NULL), 0);
}

static int talk_by_hand(void *arg)
{
    td_child_opts opts = {.argv = SHELL("while read line; do echo \"<$line>\"; done"), .in = {TD_CHILD_PIPE, 0},
                          .out = {TD_CHILD_PIPE, 0}};
    td_child_exit exit;
    td_child *child;
    char text[64];

    expect_int(td_child_spawn(&child, &opts), 0);
    for (int i = 0; i < 20; i++) {
        expect_int(td_fd_write(td_child_stdin(child), "hello\n", 6), 6);
        memset(text, 0, sizeof text);
        expect_int(td_fd_read(td_child_stdout(child), text, sizeof text), 8);
        expect_text(text, "<hello>\n");
    }
    td_child_end_input(child);
    expect_int(td_fd_read(td_child_stdout(child), text, sizeof text), 0);
    expect_int(td_child_wait(child, &exit), 0);
    expect_int(exit.status, 0);
    td_child_close(child);
    return 0;
}

static void a_dialogue_goes_to_and_fro(void **state)
{
    assert_int_equal(run(state, talk_by_hand, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(both_directions_flow_at_once), ON_BOTH(a_flood_meets_the_limit), ON_BOTH(who_does_not_read_on_is_no_failure),
        ON_BOTH(a_cancelled_talk_leaves_no_child_behind), ON_BOTH(a_dialogue_goes_to_and_fro),
    };

    return cmocka_run_group_tests_name("child communicate", tests, NULL, NULL);
}
