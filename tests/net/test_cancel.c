/* SPDX-License-Identifier: MIT */
/* Law 3 on sockets: data or cancellation, never a lost byte, and a partial write reports its count. */
#include "net/pair.h"
#include "net/stream.h"

#define TOTAL (512u * 1024)
#define CONNECTIONS 100

struct transfer {
    struct pair pair;
    struct random *random;
    size_t written, read;
    int cancelled;
};

/* A scope that ends at a random moment in the next 100 microseconds, or at once. */
static void open_fickle_scope(td_scope *scope, struct random *random)
{
    td_scope_open(scope);
    td_scope_deadline(scope, td_after(td_us((int64_t)random_below(random, 100))));
}

static int write_in_bursts(void *arg)
{
    struct transfer *transfer = arg;
    unsigned char bytes[3000];

    while (transfer->written < TOTAL) {
        size_t n = 1 + random_below(transfer->random, sizeof bytes);

        n = n < TOTAL - transfer->written ? n : TOTAL - transfer->written;
        fill(bytes, n, transfer->written);
        if (!expect_int(td_stream_write(transfer->pair.near, bytes, n), (ssize_t)n))
            break;
        transfer->written += n;
        td_sleep(td_us((int64_t)random_below(transfer->random, 60)));
    }
    return td_stream_end(transfer->pair.near);
}

static int read_fickly(void *arg)
{
    struct transfer *transfer = arg;
    unsigned char bytes[5000];
    ssize_t n = 1;

    while (n != 0) {
        td_scope scope;

        memset(bytes, 0, sizeof bytes);
        open_fickle_scope(&scope, transfer->random);
        n = td_stream_read(transfer->pair.far, bytes, 1 + random_below(transfer->random, sizeof bytes));
        td_scope_join(&scope);
        transfer->cancelled += n == -ECANCELED;
        if (!expect(n >= 0 || n == -ECANCELED))
            break;
        if (n > 0 && !expect(intact(bytes, (size_t)n, transfer->read)))
            break;
        transfer->read += n > 0 ? (size_t)n : 0;
        td_yield();
    }
    return 0;
}

static int read_on(void *arg)
{
    struct transfer *transfer = arg;
    td_scope scope;

    if (!pair_open(&transfer->pair))
        return -EIO;
    td_scope_open(&scope);
    td_spawn(&scope, write_in_bursts, transfer);
    td_spawn(&scope, read_fickly, transfer);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)transfer->read, TOTAL);
    expect(transfer->cancelled > 0);
    pair_close(&transfer->pair);
    return 0;
}

static void a_cancelled_read_loses_no_byte(void **state)
{
    struct random random = random_seeded();

    assert_int_equal(run(state, read_on, &(struct transfer){.random = &random}), 0);
}

/* The kernel must not write into a buffer whose reader has gone. */
static int look_at_dead_buffer(void *arg)
{
    struct pair pair;
    char buffer[64];

    if (!pair_open(&pair))
        return -EIO;
    for (int i = 0; i < 200; i++) {
        td_scope scope;

        memset(buffer, '-', sizeof buffer);
        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_us(i % 10 * 5)));
        expect_int(td_stream_read(pair.far, buffer, sizeof buffer), -ECANCELED);
        td_scope_join(&scope);
        expect_int(td_stream_write(pair.near, "late", 4), 4);
        td_sleep(td_us(20));
        if (!expect_int(buffer[0], '-'))
            break;
        expect_int(td_stream_read(pair.far, buffer, sizeof buffer), 4);
    }
    pair_close(&pair);
    return 0;
}

static void nothing_lands_in_a_buffer_after_its_read(void **state)
{
    assert_int_equal(run(state, look_at_dead_buffer, NULL), 0);
}

static int write_fickly(void *arg)
{
    struct transfer *transfer = arg;
    unsigned char *bytes = malloc(TOTAL);

    if (!bytes)
        return -ENOMEM;
    fill(bytes, TOTAL, 0);
    while (transfer->written < TOTAL) {
        size_t left = TOTAL - transfer->written;
        td_scope scope;
        ssize_t n;

        open_fickle_scope(&scope, transfer->random);
        n = td_stream_write(transfer->pair.near, bytes + transfer->written, left);
        td_scope_join(&scope);
        transfer->cancelled += n < (ssize_t)left;
        if (!expect((n > 0 && n <= (ssize_t)left) || n == -ECANCELED))
            break;
        transfer->written += n > 0 ? (size_t)n : 0;
        td_yield();
    }
    free(bytes);
    return td_stream_end(transfer->pair.near);
}

static int read_slowly(void *arg)
{
    struct transfer *transfer = arg;
    unsigned char bytes[6000];
    ssize_t n;

    while ((n = td_stream_read(transfer->pair.far, bytes, sizeof bytes)) > 0) {
        if (!expect(intact(bytes, (size_t)n, transfer->read)))
            break;
        transfer->read += (size_t)n;
        td_sleep(td_us((int64_t)random_below(transfer->random, 100)));
    }
    return 0;
}

static int write_on(void *arg)
{
    struct transfer *transfer = arg;
    int small = 8192;
    td_scope scope;

    if (!pair_open(&transfer->pair))
        return -EIO;
    expect_int(setsockopt(stream_socket(transfer->pair.near)->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    td_scope_open(&scope);
    td_spawn(&scope, write_fickly, transfer);
    td_spawn(&scope, read_slowly, transfer);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)transfer->read, TOTAL);
    expect(transfer->cancelled > 0);
    pair_close(&transfer->pair);
    return 0;
}

static void a_cancelled_write_reports_what_left(void **state)
{
    struct random random = random_seeded();

    assert_int_equal(run(state, write_on, &(struct transfer){.random = &random}), 0);
}

struct door {
    td_listener *listener;
    struct random *random;
    int accepted, cancelled;
};

static int accept_fickly(void *arg)
{
    struct door *door = arg;

    while (door->accepted < CONNECTIONS) {
        td_stream *stream;
        td_scope scope;
        int rc;

        open_fickle_scope(&scope, door->random);
        rc = td_accept(door->listener, &stream);
        td_scope_join(&scope);
        if (rc == 0) {
            expect_int(td_stream_write(stream, "!", 1), 1);
            td_stream_close(stream);
            door->accepted++;
        }
        door->cancelled += rc == -ECANCELED;
        expect(rc == 0 || rc == -ECANCELED);
        td_yield();
    }
    return 0;
}

static int be_welcomed(void *arg)
{
    struct door *door = arg;
    td_stream *stream;
    char byte = 0;

    td_sleep(td_us((int64_t)random_below(door->random, 20000)));
    expect_int(td_connect(&stream, td_listener_address(door->listener)), 0);
    expect_int(td_stream_read(stream, &byte, 1), 1);
    expect_int(byte, '!');
    td_stream_close(stream);
    return 0;
}

static int welcome(void *arg)
{
    struct door *door = arg;
    td_scope scope;

    expect_int(td_listen(&door->listener, "127.0.0.1:0", NULL), 0);
    td_scope_open(&scope);
    for (int i = 0; i < CONNECTIONS; i++)
        td_spawn(&scope, be_welcomed, door);
    td_spawn(&scope, accept_fickly, door);
    expect_int(td_scope_join(&scope), 0);
    expect_int(door->accepted, CONNECTIONS);
    expect(door->cancelled > 0);
    td_listener_close(door->listener);
    return 0;
}

static void a_cancelled_accept_loses_no_connection(void **state)
{
    struct random random = random_seeded();

    assert_int_equal(run(state, welcome, &(struct door){.random = &random}), 0);
}

/* Where no answer comes: the backlog is full, so the kernel drops what else wants in. */
static int connect_in_vain(void *arg)
{
    td_listener *listener;
    td_stream *streams[8], *late;
    int count = 0, rc = 0, descriptors = descriptors_count();

    expect_int(td_listen(&listener, "127.0.0.1:0", &(td_listen_opts){.backlog = 1}), 0);
    while (count < 8 && rc == 0) {
        td_scope scope;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_ms(100)));
        rc = td_connect(&late, td_listener_address(listener));
        td_scope_join(&scope);
        if (rc == 0)
            streams[count++] = late;
    }
    expect_int(rc, -ECANCELED);
    while (count > 0)
        td_stream_close(streams[--count]);
    td_listener_close(listener);
    expect_int(descriptors_count(), descriptors);
    return 0;
}

static void a_cancelled_connect_leaves_no_descriptor(void **state)
{
    assert_int_equal(run(state, connect_in_vain, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_cancelled_read_loses_no_byte), ON_BOTH(nothing_lands_in_a_buffer_after_its_read),
        ON_BOTH(a_cancelled_write_reports_what_left), ON_BOTH(a_cancelled_accept_loses_no_connection),
        ON_BOTH(a_cancelled_connect_leaves_no_descriptor),
    };

    return cmocka_run_group_tests_name("net cancel", tests, NULL, NULL);
}
