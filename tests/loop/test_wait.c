/* SPDX-License-Identifier: MIT */
/* Waiting for any descriptor. */
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "run/harness.h"

#define MANY 200
#ifdef __SANITIZE_THREAD__
#define TOO_MANY 1100
#else
#define TOO_MANY 3000  /* operations for one submission queue */
#endif

struct reader {
    int fd;
    int rc;
    bool done;
};

static int wait_once(void *arg)
{
    struct reader *reader = arg;

    reader->rc = td_wait_readable(reader->fd);
    reader->done = true;
    return 0;
}

static int wait_for_byte(void *arg)
{
    struct reader reader = {.done = false};
    int ends[2];
    td_scope scope;

    expect_int(pipe2(ends, O_CLOEXEC), 0);
    reader.fd = ends[0];
    td_scope_open(&scope);
    td_spawn(&scope, wait_once, &reader);
    expect_int(td_sleep(td_ms(5)), 0);  /* turns of the loop, with nothing to read */
    expect(!reader.done);
    expect_int(write(ends[1], "x", 1), 1);
    expect_int(td_scope_join(&scope), 0);
    expect_int(reader.rc, 0);
    expect_int(td_wait_readable(ends[0]), 0);  /* a level: the byte is still there */
    close(ends[1]);
    close(ends[0]);
    return 0;
}

static void a_wait_ends_with_the_first_byte(void **state)
{
    assert_int_equal(run(state, wait_for_byte, NULL), 0);
}

static int wait_for_end(void *arg)
{
    int ends[2], pair[2];

    expect_int(pipe2(ends, O_CLOEXEC), 0);
    close(ends[1]);
    expect_int(td_wait_readable(ends[0]), 0);
    close(ends[0]);
    expect_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    close(pair[1]);
    expect_int(td_wait_readable(pair[0]), 0);
    close(pair[0]);
    return 0;
}

static void an_end_is_readable(void **state)
{
    assert_int_equal(run(state, wait_for_end, NULL), 0);
}

static int wait_many_times(void *arg)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t count = 1;

    for (int i = 0; i < MANY; i++) {
        struct reader reader = {.fd = fd};
        td_scope scope;

        td_scope_open(&scope);
        td_spawn(&scope, wait_once, &reader);
        settle();
        expect_int(write(fd, &count, sizeof count), sizeof count);
        expect_int(td_scope_join(&scope), 0);
        expect_int(reader.rc, 0);
        expect_int(read(fd, &count, sizeof count), sizeof count);
    }
    close(fd);
    return 0;
}

static void a_descriptor_can_be_waited_for_again(void **state)
{
    assert_int_equal(run(state, wait_many_times, NULL), 0);
}

static int wait_for_many(void *arg)
{
    struct reader readers[MANY];
    uint64_t one = 1;
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < MANY; i++) {
        readers[i] = (struct reader){.fd = eventfd(0, EFD_CLOEXEC)};
        td_spawn(&scope, wait_once, &readers[i]);
    }
    settle();
    for (int i = 0; i < MANY; i += 2)
        expect_int(write(readers[i].fd, &one, sizeof one), sizeof one);
    for (int i = 0; i < MANY; i += 2)
        eventually(readers[i].done);
    for (int i = 1; i < MANY; i += 2)
        expect(!readers[i].done);
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < MANY; i++) {
        expect_int(readers[i].rc, i % 2 == 0 ? 0 : -ECANCELED);
        close(readers[i].fd);
    }
    return 0;
}

static void only_the_ready_ones_wake(void **state)
{
    assert_int_equal(run(state, wait_for_many, NULL), 0);
}

static int wait_for_too_many(void *arg)
{
    struct reader *readers = calloc(TOO_MANY, sizeof *readers);
    uint64_t one = 1;
    td_scope scope;

    if (!expect(readers != NULL))
        return -ENOMEM;
    td_scope_open(&scope);
    for (int i = 0; i < TOO_MANY; i++) {
        readers[i].fd = eventfd(0, EFD_CLOEXEC);
        expect(readers[i].fd >= 0);
        td_spawn(&scope, wait_once, &readers[i]);
    }
    settle();
    for (int i = 0; i < TOO_MANY; i += 10)
        expect_int(write(readers[i].fd, &one, sizeof one), sizeof one);
    for (int i = 0; i < TOO_MANY; i += 10)
        eventually(readers[i].done);
    td_scope_cancel(&scope);  /* as many cancels at once */
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < TOO_MANY; i++) {
        expect_int(readers[i].rc, i % 10 == 0 ? 0 : -ECANCELED);
        close(readers[i].fd);
    }
    free(readers);
    return 0;
}

static void more_waits_at_once_than_a_ring_holds(void **state)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < TOO_MANY + 100)
        skip();
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(run(state, wait_for_too_many, NULL), 0);
}

static int wait_twice(void *arg)
{
    struct reader readers[2];
    uint64_t one = 1;
    td_scope scope;
    int fd = eventfd(0, EFD_CLOEXEC);

    td_scope_open(&scope);
    for (int i = 0; i < 2; i++) {
        readers[i] = (struct reader){.fd = fd};
        td_spawn(&scope, wait_once, &readers[i]);
    }
    settle();
    expect_int(write(fd, &one, sizeof one), sizeof one);
    expect_int(td_scope_join(&scope), 0);
    expect_int(readers[0].rc, 0);
    expect_int(readers[1].rc, 0);
    close(fd);
    return 0;
}

static void two_tasks_may_wait_for_one_descriptor(void **state)
{
    assert_int_equal(run(state, wait_twice, NULL), 0);
}

static int wait_for_nothing(void *arg)
{
    int closed = dup(0);

    close(closed);
    expect_int(td_wait_readable(closed), -EBADF);
    return td_wait_readable(-1);
}

static void a_closed_descriptor_is_refused(void **state)
{
    assert_int_equal(run(state, wait_for_nothing, NULL), -EBADF);
}

static int wait_for_file(void *arg)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), rc = td_wait_readable(fd);

    close(fd);
    return rc;
}

static void a_plain_file_cannot_be_waited_for(void **state)
{
    assert_int_equal(run(state, wait_for_file, NULL), -EPERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_wait_ends_with_the_first_byte), ON_BOTH(an_end_is_readable),
        ON_BOTH(a_descriptor_can_be_waited_for_again), ON_BOTH(only_the_ready_ones_wake),
        ON_BOTH(more_waits_at_once_than_a_ring_holds), ON_BOTH(two_tasks_may_wait_for_one_descriptor),
        ON_BOTH(a_closed_descriptor_is_refused),
        ON_BOTH(a_plain_file_cannot_be_waited_for),
    };

    return cmocka_run_group_tests_name("loop wait", tests, NULL, NULL);
}
