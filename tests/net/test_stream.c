/* SPDX-License-Identifier: MIT */
/* Streams: every byte arrives, in its order, until the end is said or the connection breaks. */
#include <sys/socket.h>

#include "net/pair.h"
#include "net/stream.h"

#define MEBIBYTE (1024u * 1024)
#define PIECE_MAX 70000u

struct flow {
    td_stream *stream;
    size_t size, done;
    size_t place;  /* of the first byte */
    uint64_t seed;
    ssize_t rc;
};

static int write_all(void *arg)
{
    struct flow *flow = arg;
    unsigned char *bytes = malloc(PIECE_MAX);
    struct random random = {flow->seed};

    if (!bytes)
        return -ENOMEM;
    while (flow->done < flow->size) {
        size_t n = 1 + random_below(&random, PIECE_MAX);

        n = n < flow->size - flow->done ? n : flow->size - flow->done;
        fill(bytes, n, flow->place + flow->done);
        flow->rc = td_stream_write(flow->stream, bytes, n);
        if (!expect_int(flow->rc, (ssize_t)n))
            break;
        flow->done += n;
    }
    free(bytes);
    return 0;
}

static int read_to_end(void *arg)
{
    struct flow *flow = arg;
    unsigned char *bytes = malloc(PIECE_MAX);
    struct random random = {flow->seed};

    if (!bytes)
        return -ENOMEM;
    while ((flow->rc = td_stream_read(flow->stream, bytes, 1 + random_below(&random, PIECE_MAX))) > 0) {
        if (!expect(intact(bytes, (size_t)flow->rc, flow->place + flow->done)))
            break;
        flow->done += (size_t)flow->rc;
        if (flow->done == flow->size)
            break;
    }
    free(bytes);
    return 0;
}

static int both_ways(void *arg)
{
    struct pair pair;
    struct flow flows[4];
    td_scope scope;

    if (!pair_open(&pair))
        return -EIO;
    flows[0] = (struct flow){pair.near, MEBIBYTE, 0, 0, 1};
    flows[1] = (struct flow){pair.far, MEBIBYTE, 0, 0, 2};
    flows[2] = (struct flow){pair.far, MEBIBYTE, 0, 5000000, 3};
    flows[3] = (struct flow){pair.near, MEBIBYTE, 0, 5000000, 4};
    td_scope_open(&scope);
    for (int i = 0; i < 4; i++)  /* each end reads and writes at the same time */
        td_spawn(&scope, i % 2 ? read_to_end : write_all, &flows[i]);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < 4; i++)
        expect_int((long long)flows[i].done, MEBIBYTE);
    pair_close(&pair);
    return 0;
}

static void a_mebibyte_each_way_at_once(void **state)
{
    assert_int_equal(run(state, both_ways, NULL), 0);
}

static int half_close(void *arg)
{
    struct pair pair;
    char byte = 0;

    if (!pair_open(&pair))
        return -EIO;
    expect_int(td_stream_write(pair.near, "ab", 2), 2);
    expect_int(td_stream_end(pair.near), 0);
    expect_int(td_stream_read(pair.far, &byte, 1), 1);
    expect_int(td_stream_read(pair.far, &byte, 1), 1);
    for (int i = 0; i < 3; i++)
        expect_int(td_stream_read(pair.far, &byte, 1), 0);  /* and again */
    expect_int(td_stream_write(pair.far, "c", 1), 1);       /* the other way is open */
    expect_int(td_stream_read(pair.near, &byte, 1), 1);
    expect_int(byte, 'c');
    expect_int(td_stream_write(pair.near, "d", 1), -EPIPE);
    pair_close(&pair);
    return 0;
}

static void an_end_closes_one_way_only(void **state)
{
    assert_int_equal(run(state, half_close, NULL), 0);
}

static int read_later(void *arg)
{
    struct flow *flow = arg;
    char bytes[10];

    flow->rc = td_stream_read(flow->stream, bytes, sizeof bytes);
    return 0;
}

static int end_while_reading(void *arg)
{
    struct pair pair;
    struct flow flow;
    td_scope scope;

    if (!pair_open(&pair))
        return -EIO;
    flow = (struct flow){pair.far, .rc = -1};
    td_scope_open(&scope);
    td_spawn(&scope, read_later, &flow);
    settle();
    td_stream_close(pair.near);
    pair.near = NULL;
    expect_int(td_scope_join(&scope), 0);
    expect_int(flow.rc, 0);
    pair_close(&pair);
    return 0;
}

static void a_reader_sees_the_end_it_waits_for(void **state)
{
    assert_int_equal(run(state, end_while_reading, NULL), 0);
}

static int write_to_the_gone(void *arg)
{
    struct pair pair;
    char bytes[1000] = {0};
    ssize_t n = 0;

    if (!pair_open(&pair))
        return -EIO;
    expect_int(td_stream_write(pair.far, "unread", 6), 6);
    td_stream_close(pair.near);  /* with bytes unread: the peer's kernel answers with a reset */
    pair.near = NULL;
    for (int i = 0; i < 1000 && n >= 0; i++) {
        n = td_stream_write(pair.far, bytes, sizeof bytes);
        td_yield();
    }
    expect(n == -EPIPE || n == -ECONNRESET);
    expect(td_stream_write(pair.far, bytes, 1) == -EPIPE);
    pair_close(&pair);
    return 0;
}

/* And no signal. */
static void writing_to_a_closed_peer_is_an_error(void **state)
{
    assert_int_equal(run(state, write_to_the_gone, NULL), 0);
}

static int reset(void *arg)
{
    struct pair pair;
    struct linger hard = {1, 0};
    char byte;

    if (!pair_open(&pair))
        return -EIO;
    expect_int(setsockopt(stream_socket(pair.near)->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    td_stream_close(pair.near);
    pair.near = NULL;
    expect_int(td_stream_read(pair.far, &byte, 1), -ECONNRESET);
    pair_close(&pair);
    return 0;
}

static void a_reset_is_an_error_of_the_reader(void **state)
{
    assert_int_equal(run(state, reset, NULL), 0);
}

static int cork(void *arg)
{
    struct pair pair;
    char bytes[100];
    size_t at = 0;

    if (!pair_open(&pair))
        return -EIO;
    expect_int(td_stream_write(pair.near, NULL, 0), 0);
    for (int i = 0; i < 50; i++)
        expect_int(td_stream_write(pair.near, &"0123456789"[i % 10], 1), 1);
    while (at < 50) {
        ssize_t n = td_stream_read(pair.far, bytes + at, sizeof bytes - at);

        if (!expect(n > 0))
            break;
        at += (size_t)n;
    }
    expect(memcmp(bytes, "01234567890123456789012345678901234567890123456789", 50) == 0);
    pair_close(&pair);
    return 0;
}

static void small_writes_keep_their_order(void **state)
{
    assert_int_equal(run(state, cork, NULL), 0);
}

static int slow_reader(void *arg)
{
    struct pair pair;
    struct flow writer, reader;
    td_scope scope;

    if (!pair_open(&pair))
        return -EIO;
    writer = (struct flow){pair.near, 8 * MEBIBYTE, 0, 0, 5};
    reader = (struct flow){pair.far, 8 * MEBIBYTE, 0, 0, 6};
    td_scope_open(&scope);
    td_spawn(&scope, write_all, &writer);
    settle();
    td_sleep(td_ms(5));
    expect(writer.done < writer.size);  /* law 4: the kernel's buffers are full, and the writer waits */
    td_spawn(&scope, read_to_end, &reader);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)reader.done, 8 * MEBIBYTE);
    pair_close(&pair);
    return 0;
}

static void a_writer_waits_for_a_slow_reader(void **state)
{
    assert_int_equal(run(state, slow_reader, NULL), 0);
}

static int write_much(void *arg)
{
    static char bytes[16 * MEBIBYTE];

    return (int)td_stream_write(arg, bytes, sizeof bytes);
}

static int write_twice(void *arg)
{
    struct pair pair;
    td_scope scope;

    if (!pair_open(&pair))
        return -EIO;
    td_scope_open(&scope);
    td_spawn(&scope, write_much, pair.near);
    td_spawn(&scope, write_much, pair.near);
    return td_scope_join(&scope);
}

static int run_write_twice(void **state)
{
    return td_run_with(&(td_opts){.backend = backend_of(state)}, write_twice, NULL);
}

/* Their bytes would mix. */
static void two_writers_at_a_time_are_a_mistake(void **state)
{
    assert_aborts_saying(state, run_write_twice, "another task is writing to this stream");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_mebibyte_each_way_at_once), ON_BOTH(an_end_closes_one_way_only),
        ON_BOTH(a_reader_sees_the_end_it_waits_for), ON_BOTH(writing_to_a_closed_peer_is_an_error),
        ON_BOTH(a_reset_is_an_error_of_the_reader), ON_BOTH(small_writes_keep_their_order),
        ON_BOTH(a_writer_waits_for_a_slow_reader), ON_BOTH(two_writers_at_a_time_are_a_mistake),
    };

    return cmocka_run_group_tests_name("net stream", tests, NULL, NULL);
}
