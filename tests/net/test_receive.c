/* SPDX-License-Identifier: MIT */
/*
 * Receiving that goes on: what comes is kept for whoever reads, up to a credit; the loop's buffers come back; the same with
 * one operation after the other.
 */
#include "net/pair.h"
#include "net/stream.h"

#define CROWD 800              /* their credit is more than all the buffers of a loop */
#define SOME (31 * 1024)     /* a little below the credit */
#define MUCH (8 * 1024 * 1024)

static int run_either(void **state, td_fn fn)
{
    int rc = run_with(state, (td_opts){0}, fn, NULL);

    return rc < 0 ? rc : run_with(state, (td_opts){.receive_one_shot = true}, fn, NULL);
}

struct writer {
    td_stream *stream;
    size_t size, written;
};

static int write_it(void *arg)
{
    struct writer *writer = arg;
    unsigned char bytes[16 * 1024];

    while (writer->written < writer->size) {
        size_t part = writer->size - writer->written < sizeof bytes ? writer->size - writer->written : sizeof bytes;
        ssize_t n;

        fill(bytes, part, writer->written);
        n = td_stream_write(writer->stream, bytes, part);
        if (n <= 0)
            return (int)n;
        writer->written += (size_t)n;
    }
    return 0;
}

static void expect_bytes(td_stream *stream, size_t size)
{
    unsigned char bytes[7777];
    size_t got = 0;

    while (got < size) {
        ssize_t n = td_stream_read(stream, bytes, size - got < sizeof bytes ? size - got : sizeof bytes);

        if (!expect(n > 0) || !expect(intact(bytes, (size_t)n, got)))
            return;
        got += (size_t)n;
    }
}

static int hold_back(void *arg)
{
    struct writer writer = {.size = MUCH};
    struct pair pair;
    td_scope scope;

    if (!pair_open(&pair))
        return -EIO;
    writer.stream = pair.far;
    td_scope_open(&scope);
    td_spawn(&scope, write_it, &writer);
    expect_int(stream_wait_input(pair.near), 1);
    eventually(!pair.near->reading);
    expect(pair.near->input_bytes >= STREAM_INPUT_MAX);
    for (int i = 0; i < 20; i++)
        td_sleep(td_ms(1));   /* what it would go on to take, if it did */
    expect(pair.near->input_bytes < STREAM_INPUT_MAX + 1024 * 1024);
    expect(writer.written < MUCH);
    expect_bytes(pair.near, MUCH);
    expect_int(td_scope_join(&scope), 0);
    expect_int(pair.near->input_bytes, 0);
    pair_close(&pair);
    return 0;
}

/* What nobody reads stays with its sender, and every byte comes when somebody does. */
static void a_stream_takes_no_more_than_its_credit(void **state)
{
    assert_int_equal(run_either(state, hold_back), 0);
}

static int hold_all(void *arg)
{
    static struct pair pairs[CROWD];
    unsigned char bytes[SOME];
    struct pair late;

    fill(bytes, sizeof bytes, 0);
    for (int i = 0; i < CROWD; i++) {
        if (!pair_open(&pairs[i]))
            return -EIO;
        expect_int(td_stream_write(pairs[i].far, bytes, sizeof bytes), sizeof bytes);
        expect_int(stream_wait_input(pairs[i].near), 1);
    }
    for (int i = 0; i < CROWD; i++)
        eventually(pairs[i].near->input_bytes == sizeof bytes);
    expect(pair_open(&late));
    expect_int(td_stream_write(late.far, bytes, sizeof bytes), sizeof bytes);
    expect_bytes(late.near, sizeof bytes);
    for (int i = 0; i < CROWD; i++) {
        if (i % 2)
            expect_bytes(pairs[i].near, sizeof bytes);
        pair_close(&pairs[i]);
    }
    expect_int(td_stream_write(late.far, bytes, sizeof bytes), sizeof bytes);
    expect_bytes(late.near, sizeof bytes);
    pair_close(&late);
    return 0;
}

/* Connections whose handlers do not read keep the buffers of the loop from nobody else. */
static void unread_input_of_many_stops_nobody(void **state)
{
    assert_int_equal(run_either(state, hold_all), 0);
}

struct listening {
    td_stream *stream;
    size_t got;
    unsigned calls;
    bool ended, intact;
};

static void came(td_stream *stream)
{
    struct listening *it = stream->owner;
    size_t size;
    unsigned char *bytes;

    it->calls++;
    while ((bytes = stream_peek(stream, &size))) {
        it->intact &= intact(bytes, size, it->got);
        it->got += size;
        stream_consume(stream, size);
    }
    it->ended = stream->input_end <= 0;
}

static int listen_in(void *arg)
{
    struct listening it = {.intact = true};
    struct writer writer = {.size = MUCH};
    struct pair pair;

    if (!pair_open(&pair))
        return -EIO;
    writer.stream = pair.far;
    stream_on_input(pair.near, came, &it);
    expect_int(it.calls, 0);
    expect_int(write_it(&writer), 0);
    eventually(it.got == MUCH);
    expect(it.intact && !it.ended);
    expect_int(td_stream_end(pair.far), 0);
    eventually(it.ended);
    stream_on_input(pair.near, NULL, NULL);
    stream_on_input(pair.near, came, &it);   /* told again, since it is over */
    expect(it.ended);
    pair_close(&pair);
    return 0;
}

static void a_callback_hears_of_all_that_comes_and_of_its_end(void **state)
{
    assert_int_equal(run_either(state, listen_in), 0);
}

static int close_at_any_time(void *arg)
{
    struct writer writer = {.size = MUCH};
    struct random random = random_seeded();

    for (int i = 0; i < 60; i++) {
        struct pair pair;
        td_scope scope;

        if (!pair_open(&pair))
            return -EIO;
        writer.stream = pair.far;
        writer.written = 0;
        td_scope_open(&scope);
        td_spawn(&scope, write_it, &writer);
        expect_int(stream_wait_input(pair.near), 1);
        for (size_t n = random_below(&random, 20); n > 0; n--) {
            size_t size;

            if (stream_peek(pair.near, &size))
                stream_consume(pair.near, size);
            td_yield();
        }
        td_stream_close(pair.near);
        pair.near = NULL;
        td_scope_cancel(&scope);
        (void)td_scope_join(&scope);
        pair_close(&pair);
    }
    return 0;
}

/* With a receive under way, or being stopped, or begun again. */
static void a_stream_may_be_closed_while_bytes_come(void **state)
{
    assert_int_equal(run_either(state, close_at_any_time), 0);
}

static int put_back(void *arg)
{
    struct pair pair;
    char bytes[8];

    if (!pair_open(&pair))
        return -EIO;
    expect_int(td_stream_write(pair.far, "cd", 2), 2);
    expect_int(stream_wait_input(pair.near), 1);
    expect_int(stream_unread(pair.near, "ab", 2), 0);
    expect_int(td_stream_read(pair.near, bytes, 3), 3);
    expect_int(memcmp(bytes, "abc", 3), 0);
    expect_int(td_stream_read(pair.near, bytes, 3), 1);
    pair_close(&pair);
    return 0;
}

static void bytes_can_be_put_back(void **state)
{
    assert_int_equal(run_either(state, put_back), 0);
}

static int drip(void *arg)
{
    struct pair pair;
    unsigned pieces = 0;

    if (!pair_open(&pair))
        return -EIO;
    expect_int(td_stream_write(pair.far, "0", 1), 1);
    expect_int(stream_wait_input(pair.near), 1);
    for (unsigned i = 1; i < 400; i++) {
        expect_int(td_stream_write(pair.far, "x", 1), 1);
        eventually(pair.near->input_bytes == i + 1);
    }
    for (const struct input *at = pair.near->input; at; at = at->next)
        pieces++;
    expect_int(pieces, 1);
    pair_close(&pair);
    return 0;
}

/* The credit counts bytes; each of them is not to cost a buffer. */
static void bytes_that_drip_lie_together(void **state)
{
    assert_int_equal(run_either(state, drip), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_stream_takes_no_more_than_its_credit),
        ON_BOTH(unread_input_of_many_stops_nobody),
        ON_BOTH(a_callback_hears_of_all_that_comes_and_of_its_end),
        ON_BOTH(a_stream_may_be_closed_while_bytes_come),
        ON_BOTH(bytes_can_be_put_back),
        ON_BOTH(bytes_that_drip_lie_together),
    };

    return cmocka_run_group_tests_name("net receive", tests, NULL, NULL);
}
