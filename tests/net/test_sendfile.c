/* SPDX-License-Identifier: MIT */
/* Files and several pieces at once over a stream; and what a half-closed one still does. */
#include <sys/uio.h>

#include "net/pair.h"

#define FILE_BYTES (3 * 1024 * 1024 + 77)

static int make_file(size_t size)
{
    char name[] = "/tmp/tandem-sendfile-XXXXXX";
    unsigned char bytes[4096];
    int fd = mkostemp(name, O_CLOEXEC);

    assert_true(fd >= 0);
    unlink(name);
    for (size_t at = 0; at < size; at += sizeof bytes) {
        size_t n = size - at < sizeof bytes ? size - at : sizeof bytes;

        fill(bytes, n, at);
        assert_int_equal(write(fd, bytes, n), n);
    }
    return fd;
}

struct reader {
    td_stream *stream;
    size_t place, got;
    bool intact;
};

static int read_all_bytes(void *arg)
{
    struct reader *reader = arg;
    unsigned char bytes[10000];
    ssize_t n;

    reader->intact = true;
    while ((n = td_stream_read(reader->stream, bytes, sizeof bytes)) > 0) {
        reader->intact &= intact(bytes, (size_t)n, reader->place + reader->got);
        reader->got += (size_t)n;
    }
    return (int)n;
}

static void send_and_compare(const char *address, int fd, int64_t offset, size_t size, size_t wanted)
{
    struct pair pair = {0};
    struct reader reader = {.place = (size_t)offset};
    td_scope scope;

    expect_int(td_listen(&pair.listener, address, NULL), 0);
    expect_int(td_connect(&pair.near, td_listener_address(pair.listener)), 0);
    expect_int(td_accept(pair.listener, &pair.far), 0);
    reader.stream = pair.far;
    td_scope_open(&scope);
    td_spawn(&scope, read_all_bytes, &reader);
    expect_int(td_stream_send_file(pair.near, fd, offset, size), (long long)wanted);
    expect_int(td_stream_end(pair.near), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)reader.got, (long long)wanted);
    expect(reader.intact);
    pair_close(&pair);
}

static int send_body(void *arg)
{
    int fd = *(int *)arg;

    send_and_compare("127.0.0.1:0", fd, 0, FILE_BYTES, FILE_BYTES);
    send_and_compare("127.0.0.1:0", fd, 4097, 300000, 300000);
    send_and_compare("127.0.0.1:0", fd, FILE_BYTES - 10, 1000, 10);  /* the file ends before */
    send_and_compare("127.0.0.1:0", fd, FILE_BYTES + 10, 1000, 0);
    send_and_compare("127.0.0.1:0", fd, 5, 0, 0);
    send_and_compare("unix:@tandem sendfile", fd, 0, FILE_BYTES, FILE_BYTES);
    return 0;
}

static void a_file_arrives_as_it_is(void **state)
{
    int fd = make_file(FILE_BYTES), rc = run(state, send_body, &fd);

    close(fd);
    assert_int_equal(rc, 0);
}

static int cold_body(void *arg)
{
    int fd = *(int *)arg;
    td_blocking_stats stats;
    bool is_cold;
    char byte;

    expect_int(fsync(fd), 0);
    expect_int(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    is_cold = preadv2(fd, &(struct iovec){&byte, 1}, 1, FILE_BYTES / 2, RWF_NOWAIT) < 0;
    send_and_compare("127.0.0.1:0", fd, 0, FILE_BYTES, FILE_BYTES);
    td_blocking_statistics(&stats);
    expect(stats.calls > 0 || !is_cold);
    return 0;
}

/* Law 5: what is not in memory is read by a thread, and not by the loop. (A file system may have no disk.) */
static void a_cold_file_is_read_by_a_thread(void **state)
{
    int fd = make_file(FILE_BYTES), rc = run(state, cold_body, &fd);

    close(fd);
    assert_int_equal(rc, 0);
}

static int simulated_body(void *arg)
{
    send_and_compare("127.0.0.1:0", *(int *)arg, 100, 100000, 100000);
    return 0;
}

static void a_simulated_socket_takes_one_too(void **state)
{
    int fd = make_file(FILE_BYTES), rc = run(state, simulated_body, &fd);

    close(fd);
    assert_int_equal(rc, 0);
}

static int count_turns(void *arg)
{
    while (td_yield() == 0)
        ++*(int *)arg;
    return 0;
}

struct transfer {
    td_stream *stream;
    int fd;
    ssize_t sent;
};

static int send_whole(void *arg)
{
    struct transfer *transfer = arg;

    transfer->sent = td_stream_send_file(transfer->stream, transfer->fd, 0, FILE_BYTES * 10);
    return 0;
}

static int stuck_body(void *arg)
{
    struct transfer transfer = {.fd = *(int *)arg};
    struct pair pair;
    td_scope scope;
    int turns = 0;

    if (!pair_open(&pair))
        return -EIO;
    transfer.stream = pair.near;
    td_scope_open(&scope);
    td_spawn(&scope, send_whole, &transfer);
    td_spawn(&scope, count_turns, &turns);
    eventually(turns > 100);  /* nobody reads, and the loop goes on */
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    expect(transfer.sent > 0 && transfer.sent < FILE_BYTES * 10);  /* what has left is told */
    pair_close(&pair);
    return 0;
}

/* A peer that does not read holds its sender, and nobody else. */
static void a_peer_that_does_not_read_holds_the_task_alone(void **state)
{
    int fd = make_file(FILE_BYTES), rc;

    assert_int_equal(ftruncate(fd, FILE_BYTES * 10), 0);
    rc = run(state, stuck_body, &fd);
    close(fd);
    assert_int_equal(rc, 0);
}

static int refusals_body(void *arg)
{
    struct pair pair;
    int pipe_ends[2], fd = *(int *)arg;

    if (!pair_open(&pair))
        return -EIO;
    expect_int(td_stream_send_file(pair.near, fd, -1, 10), -EINVAL);
    expect_int(td_stream_send_file(pair.near, fd, 10, SIZE_MAX), -EINVAL);
    expect_int(td_stream_send_file(pair.near, -1, 0, 10), -EBADF);
    expect_int(pipe2(pipe_ends, O_CLOEXEC), 0);
    expect_int(td_stream_send_file(pair.near, pipe_ends[0], 0, 10), -ESPIPE);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    pair_close(&pair);
    return 0;
}

static void refusals_are_values(void **state)
{
    int fd = make_file(100), rc = run(state, refusals_body, &fd);

    close(fd);
    assert_int_equal(rc, 0);
}

#define PIECES 200

static int writev_body(void *arg)
{
    static unsigned char bytes[PIECES * (PIECES + 1) * 4];
    struct iovec iov[PIECES];
    struct reader reader = {0};
    struct pair pair;
    td_scope scope;
    size_t at = 0;

    if (!pair_open(&pair))
        return -EIO;
    fill(bytes, sizeof bytes, 0);
    for (size_t i = 0; i < PIECES; at += iov[i++].iov_len)
        iov[i] = (struct iovec){bytes + at, i * 7};  /* the first is empty */
    reader.stream = pair.far;
    td_scope_open(&scope);
    td_spawn(&scope, read_all_bytes, &reader);
    expect_int(td_stream_writev(pair.near, iov, PIECES), (long long)at);
    expect_int(td_stream_writev(pair.near, iov, 0), 0);
    expect_int(td_stream_end(pair.near), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)reader.got, (long long)at);
    expect(reader.intact);
    pair_close(&pair);
    return 0;
}

static void pieces_arrive_in_order(void **state)
{
    assert_int_equal(run(state, writev_body, NULL), 0);
}

static void half_close(const char *address)
{
    struct pair pair = {0};
    char text[10] = "";

    expect_int(td_listen(&pair.listener, address, NULL), 0);
    expect_int(td_connect(&pair.near, td_listener_address(pair.listener)), 0);
    expect_int(td_accept(pair.listener, &pair.far), 0);
    expect_int(td_stream_write(pair.near, "question", 8), 8);
    expect_int(td_stream_end(pair.near), 0);
    expect_int(td_stream_write(pair.near, "x", 1), -EPIPE);
    expect_int(td_stream_read(pair.far, text, sizeof text), 8);
    expect_int(td_stream_read(pair.far, text, sizeof text), 0);
    expect_int(td_stream_write(pair.far, "answer", 6), 6);  /* the other way is open */
    expect_int(td_stream_read(pair.near, text, sizeof text), 6);
    expect_int(td_stream_end(pair.far), 0);
    expect_int(td_stream_read(pair.near, text, sizeof text), 0);
    expect_int(td_stream_read(pair.near, text, sizeof text), 0);  /* an end stays one */
    pair_close(&pair);
}

static int half_close_body(void *arg)
{
    half_close("127.0.0.1:0");
    half_close("unix:@tandem half");
    return 0;
}

static void an_end_closes_one_way(void **state)
{
    assert_int_equal(run(state, half_close_body, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_file_arrives_as_it_is), ON_BOTH(a_cold_file_is_read_by_a_thread),
        ON(TD_BACKEND_SIM, "sim: ", a_simulated_socket_takes_one_too),
        ON_BOTH(a_peer_that_does_not_read_holds_the_task_alone), ON_BOTH(refusals_are_values),
        ON_BOTH(pieces_arrive_in_order), ON_BOTH(an_end_closes_one_way),
    };

    return cmocka_run_group_tests_name("net sendfile", tests, NULL, NULL);
}
