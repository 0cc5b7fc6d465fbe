/* SPDX-License-Identifier: MIT */
/* Starting programs: what they get, and what is said when they cannot be started. */
#include "child/shell.h"

/* Runs the script, which must end with this status, and gives what it wrote. */
static td_child_output output_of(const char *script, int status)
{
    td_child_output output;

    if (expect_int(td_child_run(&(td_child_opts){.argv = SHELL(script)}, NULL, 0, &output, 100000), 0))
        expect(output.exit.status == status && output.exit.signal == 0);
    return output;
}

static int be_refused(void *arg)
{
    const char *const none[] = {NULL}, *const missing[] = {"no-such-program", NULL}, *const folder[] = {"/tmp", NULL};
    td_child *child;

    expect_int(td_child_spawn(&child, &(td_child_opts){.argv = none}), -EINVAL);
    expect_int(td_child_spawn(&child, &(td_child_opts){.argv = missing, .in = {TD_CHILD_STDOUT, 0}}), -EINVAL);
    expect_int(td_child_spawn(&child, &(td_child_opts){.argv = missing, .in = {TD_CHILD_FD, 9999}}), -EINVAL);
    expect_int(td_child_spawn(&child, &(td_child_opts){.argv = missing, .out = {TD_CHILD_PIPE, 0}}), -ENOENT);
    expect_int(td_child_spawn(&child, &(td_child_opts){.argv = folder}), -EACCES);
    expect_int(td_child_spawn(&child, &(td_child_opts){.argv = SHELL("true"), .cwd = "/no/such"}), -ENOENT);
    expect(child == NULL);
    return 0;
}

static void what_cannot_be_started_is_an_answer(void **state)
{
    assert_int_equal(run(state, be_refused, NULL), 0);
}

static int body_refused(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, be_refused, NULL);
}

static void the_log_names_the_program(void **state)
{
    struct ending ending = in_child(state, body_refused);

    assert_ended_well(&ending);
    assert_says(&ending, "cannot start no-such-program: No such file or directory");
    assert_says(&ending, "cannot start /bin/sh in /no/such: ");
}

/* No signal is blocked, none ignored, and there is no descriptor but the standard ones (and the folder being read). */
static int look_around(void *arg)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    int leak = open("/dev/null", O_RDONLY);
    unsigned long long blocked = 1, ignored = 1;
    td_child_output output;

    sigaction(SIGPIPE, &ignore, &before);
    output = output_of("ls /proc/self/fd | wc -l; grep -E '^Sig(Blk|Ign)' /proc/self/status", 0);
    expect_int(sscanf(output.out, "4 SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
    expect_int((long long)blocked, 0);
    expect_int((long long)(ignored & 0x7fffffff), 0);  /* the C library ignores 32 and 33, which are its own */
    expect_text(output.err, "");
    td_child_output_free(&output);
    sigaction(SIGPIPE, &before, NULL);
    close(leak);
    return 0;
}

static void a_child_starts_clean(void **state)
{
    assert_int_equal(run(state, look_around, NULL), 0);
}

static int set_up(void *arg)
{
    const char *const env[] = {"GREETING=hello", NULL};
    td_child_output output;

    expect_int(td_child_run(&(td_child_opts){.argv = SHELL("echo $GREETING $HOME; pwd"), .env = env, .cwd = "/usr"},
                            NULL, 0, &output, 1000), 0);
    expect_text(output.out, "hello\n/usr\n");
    td_child_output_free(&output);
    return 0;
}

static void environment_and_folder_are_as_asked(void **state)
{
    assert_int_equal(run(state, set_up, NULL), 0);
}

static int wire_up(void *arg)
{
    td_child_opts opts = {.argv = SHELL("echo out; echo err >&2"), .in = {TD_CHILD_NULL, 0}, .err = {TD_CHILD_STDOUT, 0}};
    td_child_output output;
    td_child *child;
    char text[32] = "";
    int ends[2];

    expect_int(td_child_run(&opts, NULL, 0, &output, 1000), 0);
    expect_text(output.out, "out\nerr\n");
    expect(output.err == NULL);
    td_child_output_free(&output);
    expect_int(pipe2(ends, O_CLOEXEC), 0);
    opts.out = (td_child_stdio){TD_CHILD_FD, ends[1]};
    expect_int(td_child_spawn(&child, &opts), 0);
    expect(!td_child_stdin(child) && !td_child_stdout(child) && !td_child_stderr(child));
    expect_int(td_child_wait(child, NULL), 0);
    td_child_close(child);
    expect_int(read(ends[0], text, sizeof text), 8);
    expect_text(text, "out\nerr\n");
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static void standard_descriptors_go_where_they_should(void **state)
{
    assert_int_equal(run(state, wire_up, NULL), 0);
}

/* Input, output and error change places: each dup2 would cover the next one's source. */
static int cross(void *arg)
{
    td_child_opts opts = {.argv = SHELL("echo out; echo err >&2; cat >&2"), .in = {TD_CHILD_FD, 1}, .out = {TD_CHILD_FD, 2},
                          .err = {TD_CHILD_FD, 0}};
    td_child_exit exit;
    td_child *child;

    expect_int(td_child_spawn(&child, &opts), 0);
    expect_int(td_child_wait(child, &exit), 0);
    expect_int(exit.status, 0);
    td_child_close(child);
    return 0;
}

static int body_cross(void **state)
{
    int in[2], out[2], err[2], rc;
    char text[32] = "";

    if (pipe(in) < 0 || pipe(out) < 0 || pipe(err) < 0 || write(in[1], "fed\n", 4) != 4)
        return 1;
    close(in[1]);
    dup2(in[0], 1);   /* the child's input is our 1, its output our 2, its error our 0 */
    dup2(out[1], 2);
    dup2(err[1], 0);
    rc = td_run_with(&(td_opts){.backend = backend_of(state)}, cross, NULL);
    if (read(out[0], text, sizeof text) != 4 || strncmp(text, "out\n", 4) != 0)
        return 2;
    if (read(err[0], text, sizeof text) != 8 || strncmp(text, "err\nfed\n", 8) != 0)
        return 3;
    return rc;
}

static void standard_descriptors_may_change_places(void **state)
{
    struct ending ending = in_child(state, body_cross);

    assert_ended_well(&ending);
}

/* A program that has closed its own standard descriptors can still talk to a child. */
static int talk_without_own(void *arg)
{
    td_child_output output;

    expect_int(td_child_run(&(td_child_opts){.argv = SHELL("cat; echo err >&2")}, "in\n", 3, &output, 1000), 0);
    expect(output.out && strcmp(output.out, "in\n") == 0 && strcmp(output.err, "err\n") == 0);
    td_child_output_free(&output);
    return 0;
}

static int body_closed(void **state)
{
    close(0);
    close(1);
    return td_run_with(&(td_opts){.backend = backend_of(state)}, talk_without_own, NULL);
}

static void closed_standard_descriptors_do_no_harm(void **state)
{
    struct ending ending = in_child(state, body_closed);

    assert_ended_well(&ending);
}

/* Law 3: wherever the cancellation comes, there is a child that can be closed, or none. */
static int start_fickly(void *arg)
{
    struct random random = random_seeded();
    int descriptors = descriptors_count(), started = 0, cancelled = 0;

    for (int i = 0; i < 60; i++) {
        td_child_opts opts = {.argv = SHELL("exec cat"), .in = {TD_CHILD_PIPE, 0}, .out = {TD_CHILD_PIPE, 0}, .grace_ns = -1};
        td_child *child;
        td_scope scope;
        int rc;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_us((int64_t)random_below(&random, i < 5 ? 1 : 1500))));
        rc = td_child_spawn(&child, &opts);
        if (rc == 0) {
            expect_int(td_child_wait(child, NULL), -ECANCELED);
            td_child_close(child);
        }
        td_scope_join(&scope);
        expect(rc == 0 || rc == -ECANCELED);
        started += rc == 0;
        cancelled += rc == -ECANCELED;
    }
    print_message("%d started, %d cancelled\n", started, cancelled);
    expect_int(descriptors_count(), descriptors);
    return 0;
}

static void a_cancelled_start_leaves_nothing(void **state)
{
    assert_int_equal(run(state, start_fickly, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(what_cannot_be_started_is_an_answer), ON_BOTH(the_log_names_the_program), ON_BOTH(a_child_starts_clean),
        ON_BOTH(environment_and_folder_are_as_asked), ON_BOTH(standard_descriptors_go_where_they_should),
        ON_BOTH(standard_descriptors_may_change_places), ON_BOTH(closed_standard_descriptors_do_no_harm),
        ON_BOTH(a_cancelled_start_leaves_nothing),
    };

    setenv("PATH", "/usr/bin:/bin", 1);  /* a folder in it that may not be entered would make -ENOENT -EACCES */
    return cmocka_run_group_tests_name("child spawn", tests, NULL, NULL);
}
