/* SPDX-License-Identifier: MIT */
/*
 * Law 10: a run on the simulation is its seed. The network is as bad as asked, and never worse than a network may be.
 */
#include "run/harness.h"

#include "net/stream.h"

static int on_sim(uint64_t seed, td_fn fn, void *arg)
{
    void *sim = (void *)(uintptr_t)TD_BACKEND_SIM;

    return run_with(&sim, (td_opts){.seed = seed}, fn, arg);
}

static int sleep_for_a_year(void *arg)
{
    td_time began = td_now();

    expect_int(td_sleep(td_sec(31536000)), 0);
    expect(td_now() - began >= td_sec(31536000));
    return 0;
}

static void a_year_of_sleep_passes_at_once(void **state)
{
    assert_int_equal(on_sim(1, sleep_for_a_year, NULL), 0);
}

struct order {
    char text[16];
    size_t count;
};

struct letter {
    struct order *order;
    char name;
};

static int write_letter(void *arg)
{
    struct letter *letter = arg;

    letter->order->text[letter->order->count++] = letter->name;
    return 0;
}

static int write_letters(void *arg)
{
    struct letter letters[8];
    td_scope scope;

    td_scope_open(&scope);
    for (size_t i = 0; i < COUNT(letters); i++) {
        letters[i] = (struct letter){arg, (char)('a' + i)};
        expect_int(td_spawn(&scope, write_letter, &letters[i]), 0);
    }
    expect_int(td_scope_join(&scope), 0);
    return 0;
}

static void the_seed_decides_the_order_of_ready_tasks(void **state)
{
    struct order first = {0}, again = {0}, other = {0};

    assert_int_equal(on_sim(1, write_letters, &first), 0);
    assert_int_equal(on_sim(1, write_letters, &again), 0);
    assert_int_equal(on_sim(2, write_letters, &other), 0);
    assert_int_equal(strlen(first.text), 8);
    assert_string_equal(first.text, again.text);
    assert_string_not_equal(first.text, other.text);
}

/* A connection on the simulated network, and both of its ends. */
struct line {
    td_listener *listener;
    td_stream *out, *in;
};

static int accept_in(void *arg)
{
    struct line *line = arg;

    expect_int(td_accept(line->listener, &line->in), 0);
    return 0;
}

static void line_open(struct line *line)
{
    td_scope scope;

    expect_int(td_sim_host("10.0.0.2"), 0);
    expect_int(td_listen(&line->listener, "10.0.0.1:80", NULL), 0);
    td_scope_open(&scope);
    expect_int(td_spawn(&scope, accept_in, line), 0);
    expect_int(td_connect(&line->out, "10.0.0.1:80"), 0);
    expect_int(td_scope_join(&scope), 0);
}

static void line_close(struct line *line)
{
    td_sim_stats stats;

    td_stream_close(line->out);
    td_stream_close(line->in);
    td_listener_close(line->listener);
    expect_int(td_sim_statistics(&stats), 0);
    expect_int(stats.sockets, 0);
}

static int mend_later(void *arg)
{
    expect_int(td_sleep(td_sec(60)), 0);
    expect_int(td_sim_partition("10.0.0.1", "10.0.0.2", false), 0);
    return 0;
}

static int talk_over_a_cut(void *arg)
{
    struct line line;
    td_time cut_at;
    td_stream *refused;
    td_scope scope;
    char byte = 0;

    line_open(&line);
    expect_int(td_sim_partition("10.0.0.1", "10.0.0.2", true), 0);
    cut_at = td_now();
    td_scope_open(&scope);
    expect_int(td_spawn(&scope, mend_later, NULL), 0);
    expect_int(td_stream_write(line.out, "x", 1), 1);
    expect_int(td_stream_read(line.in, &byte, 1), 1);
    expect_int(byte, 'x');
    expect(td_now() - cut_at >= td_sec(60));
    expect_int(td_scope_join(&scope), 0);

    expect_int(td_sim_partition(NULL, "10.0.0.1:80", true), 0);
    cut_at = td_now();
    expect_int(td_connect(&refused, "10.0.0.1:80"), -ETIMEDOUT);
    expect(td_now() - cut_at >= td_sec(100));
    expect_int(td_sim_partition(NULL, "10.0.0.1:80", false), 0);
    expect_int(td_sim_partition(NULL, "10.0.0.1:80", false), -ENOENT);
    line_close(&line);
    return 0;
}

static void a_cut_holds_bytes_back_and_lets_none_get_lost(void **state)
{
    assert_int_equal(on_sim(3, talk_over_a_cut, NULL), 0);
}

static int read_after_a_reset(void *arg)
{
    struct line line;
    char bytes[4];

    line_open(&line);
    expect_int(td_sim_faults(&(td_sim_fault_opts){.reset = 1}), 0);
    expect_int(td_stream_read(line.in, bytes, sizeof bytes), -ECONNRESET);
    expect_int(td_stream_read(line.in, bytes, sizeof bytes), -ECONNRESET);
    expect_int(td_stream_write(line.out, "x", 1), -ECONNRESET);
    expect_int(td_stream_write(line.out, "x", 1), -EPIPE);
    line_close(&line);
    return 0;
}

static void a_reset_is_told_to_each_side(void **state)
{
    assert_int_equal(on_sim(4, read_after_a_reset, NULL), 0);
}

static int connect_to_nobody(void *arg)
{
    td_stream *stream;

    expect_int(td_connect(&stream, "10.0.0.9:1"), -ECONNREFUSED);
    return 0;
}

static void nobody_listens_is_a_refusal(void **state)
{
    assert_int_equal(on_sim(5, connect_to_nobody, NULL), 0);
}

static int wait_on_each_other(void *arg)
{
    struct line line;
    char byte;

    line_open(&line);
    expect_int(td_stream_read(line.in, &byte, 1), -ECANCELED);
    td_stream_close(line.out);
    td_stream_close(line.in);
    td_listener_close(line.listener);
    return 0;
}

/* On a real network somebody might still write; here it is known that nobody will. */
static void a_network_where_all_wait_is_a_deadlock(void **state)
{
    assert_int_equal(on_sim(6, wait_on_each_other, NULL), -EDEADLK);
}

/* One failure an attempt, everywhere in turn, until there is no further call to fail. */
static int one_failure(void *arg)
{
    unsigned long long nth = *(unsigned long long *)arg;
    td_listener *listener;
    td_sim_stats stats;
    td_stream *stream;
    int rc;

    expect_int(td_sim_fail(TD_SIM_ANY, nth, -ENOBUFS), 0);
    rc = td_listen(&listener, "10.0.0.1:80", NULL);
    if (rc == 0) {
        rc = td_connect(&stream, "10.0.0.1:80");
        if (rc == 0) {
            rc = (int)td_stream_write(stream, "x", 1);
            td_stream_close(stream);
        }
        td_listener_close(listener);
    }
    expect_int(td_sim_statistics(&stats), 0);
    expect_int(stats.sockets, 0);
    expect_int(rc, stats.failed ? -ENOBUFS : 1);
    return stats.failed > 0;
}

static void each_call_fails_in_turn_and_is_answered(void **state)
{
    unsigned long long nth = 1;

    while (on_sim(7, one_failure, &nth) > 0)
        nth++;
    assert_int_equal(nth, 6);  /* socket, listen, socket, connect, send; then none is left */
}

static int post_in_vain(void *arg)
{
    struct line line;
    struct block *block = block_new(1);
    char byte;

    if (!expect(block != NULL))
        return 0;
    block->bytes[0] = 'x';
    line_open(&line);
    expect_int(td_sim_fail(TD_SIM_SEND, 1, -ENOBUFS), 0);
    expect_int(stream_post(line.out, block, SIZE_MAX), 0);
    expect_int(td_stream_read(line.out, &byte, 1), 0);
    expect_int(stream_post(line.out, block, SIZE_MAX), -ENOBUFS);
    block_release(block);
    line_close(&line);
    return 0;
}

/* Found by the scenario chat, seed 15: the peer waited for ever for what had been posted and was not sent. */
static void what_was_posted_and_cannot_be_sent_ends_the_connection(void **state)
{
    assert_int_equal(on_sim(10, post_in_vain, NULL), 0);
}

static int wait_for_a_pipe(void *arg)
{
    int pair[2];

    expect_int(pipe2(pair, O_CLOEXEC), 0);
    expect_int(write(pair[1], "x", 1), 1);
    expect_int(td_wait_readable(pair[0]), 0);
    close(pair[0]);
    close(pair[1]);
    return 0;
}

static void a_real_descriptor_can_be_waited_for(void **state)
{
    assert_int_equal(on_sim(8, wait_for_a_pipe, NULL), 0);
}

static int ask_in_vain(void *arg)
{
    td_sim_stats stats;

    expect_int(td_sim_faults(&(td_sim_fault_opts){0}), -ENOSYS);
    expect_int(td_sim_partition("10.0.0.1", "10.0.0.2", true), -ENOSYS);
    expect_int(td_sim_host("10.0.0.1"), -ENOSYS);
    expect_int(td_sim_fail(TD_SIM_SEND, 1, -EIO), -ENOSYS);
    expect_int(td_sim_statistics(&stats), -ENOSYS);
    expect_int(td_sim_trace("/dev/null"), -ENOSYS);
    return 0;
}

static void other_backends_have_no_faults_to_give(void **state)
{
    assert_int_equal(run(state, ask_in_vain, NULL), 0);
}

static int ask_wrongly(void *arg)
{
    expect_int(td_sim_faults(&(td_sim_fault_opts){.reset = 1.5}), -EINVAL);
    expect_int(td_sim_faults(&(td_sim_fault_opts){.delay_min = td_sec(1), .delay_max = td_ms(1)}), -EINVAL);
    expect_int(td_sim_partition("here", NULL, true), -EINVAL);
    expect_int(td_sim_partition("10.0.0.1:0", NULL, true), -EINVAL);
    expect_int(td_sim_host("somewhere"), -EINVAL);
    expect_int(td_sim_fail(TD_SIM_CALLS, 1, -EIO), -EINVAL);
    expect_int(td_sim_fail(TD_SIM_SEND, 1, EIO), -EINVAL);
    for (int i = 0; i < 33; i++) {
        char host[32];

        snprintf(host, sizeof host, "10.0.1.%d", i + 1);
        expect_int(td_sim_partition(host, NULL, true), i < 32 ? 0 : -ENOSPC);
    }
    return 0;
}

static void what_is_out_of_range_is_refused(void **state)
{
    assert_int_equal(on_sim(9, ask_wrongly, NULL), 0);
}

/* What the program `sim` says of one seed: its verdict, and the hash of its trace. */
static void run_elsewhere(const char *program, const char *scenario, char *text, size_t size)
{
    int pair[2], status;
    pid_t pid;

    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(pair[1], STDOUT_FILENO);
        execl(program, program, scenario, "--seed", "3", (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    read_all(pair[0], text, size);
    close(pair[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Each program has its own addresses (ASLR) and its own hour: neither may reach a trace. */
static void a_seed_is_the_same_run_in_another_process(void **state)
{
    static const char *const scenarios[] = {"echo", "cancel", "program", "http", "chat", "walk", "pool", "sync"};
    char first[500], again[500];

    if (!*state)
        skip();
    for (size_t i = 0; i < COUNT(scenarios); i++) {
        run_elsewhere(*state, scenarios[i], first, sizeof first);
        run_elsewhere(*state, scenarios[i], again, sizeof again);
        assert_non_null(strstr(first, "trace"));
        assert_string_equal(first, again);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_year_of_sleep_passes_at_once),
        cmocka_unit_test(the_seed_decides_the_order_of_ready_tasks),
        cmocka_unit_test(a_cut_holds_bytes_back_and_lets_none_get_lost),
        cmocka_unit_test(a_reset_is_told_to_each_side),
        cmocka_unit_test(nobody_listens_is_a_refusal),
        cmocka_unit_test(a_network_where_all_wait_is_a_deadlock),
        cmocka_unit_test(each_call_fails_in_turn_and_is_answered),
        cmocka_unit_test(what_was_posted_and_cannot_be_sent_ends_the_connection),
        cmocka_unit_test(a_real_descriptor_can_be_waited_for),
        cmocka_unit_test(what_is_out_of_range_is_refused),
        cmocka_unit_test_prestate(a_seed_is_the_same_run_in_another_process, argc > 1 ? argv[1] : NULL),
        ON_BOTH(other_backends_have_no_faults_to_give),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
