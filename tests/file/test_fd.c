/* SPDX-License-Identifier: MIT */
/* Pipes, terminals and other descriptors; wake-ups. */
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "file/folder.h"

#define BULK (1 << 20)

static void fill(unsigned char *bytes, size_t size, size_t from)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((from + i) * 31 % 251);
}

struct flow {
    td_fd *reader, *writer;
    struct random random;
    size_t wrote, read;
    int cancelled;
};

static int write_bulk(void *arg)
{
    struct flow *flow = arg;
    unsigned char *bytes = malloc(BULK);

    if (!bytes)
        return -ENOMEM;
    fill(bytes, BULK, 0);
    while (flow->cancelled == 0 && td_sleep(td_us(50)) == 0)
        ;  /* the reader waits in vain at least once */
    while (flow->wrote < BULK) {
        td_scope scope;
        ssize_t n;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_us((int64_t)random_below(&flow->random, 200))));
        n = td_fd_write(flow->writer, bytes + flow->wrote, BULK - flow->wrote);
        td_scope_join(&scope);
        if (!expect(n > 0 || n == -ECANCELED))
            break;
        flow->wrote += n > 0 ? (size_t)n : 0;
        flow->cancelled += n == -ECANCELED;
        td_sleep(td_us((int64_t)random_below(&flow->random, 100)));
    }
    free(bytes);
    td_fd_close(flow->writer);
    return 0;
}

static int read_bulk(void *arg)
{
    struct flow *flow = arg;
    unsigned char bytes[5000], wanted[5000];
    ssize_t n = 1;

    while (n != 0) {
        td_scope scope;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(td_us((int64_t)random_below(&flow->random, 60))));
        n = td_fd_read(flow->reader, bytes, sizeof bytes);
        td_scope_join(&scope);
        if (!expect(n >= 0 || n == -ECANCELED))
            break;
        flow->cancelled += n == -ECANCELED;
        fill(wanted, sizeof wanted, flow->read);
        if (n > 0 && !expect(memcmp(bytes, wanted, (size_t)n) == 0))
            break;
        flow->read += n > 0 ? (size_t)n : 0;
    }
    td_fd_close(flow->reader);
    return 0;
}

static void let_flow(struct flow *flow)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, write_bulk, flow);
    td_spawn(&scope, read_bulk, flow);
    expect_int(td_scope_join(&scope), 0);
    expect_int((long long)flow->read, BULK);
    expect(flow->cancelled > 0);
}

static int pipe_through(void *arg)
{
    struct flow flow = {.random = random_seeded()};

    expect_int(td_pipe(&flow.reader, &flow.writer), 0);
    let_flow(&flow);
    return 0;
}

static void a_pipe_loses_no_byte(void **state)
{
    assert_int_equal(run(state, pipe_through, NULL), 0);
}

/* A named pipe, as others made it: blocking. Nor are its flags changed. */
static int adopt_named_pipe(void *arg)
{
    const char *path = folder_path(arg, "pipe");
    struct flow flow = {.random = random_seeded()};
    int reader, writer;

    expect_int(mkfifo(path, 0600), 0);
    reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    writer = open(path, O_WRONLY | O_CLOEXEC);
    expect_int(fcntl(reader, F_SETFL, 0), 0);
    expect_int(td_fd_adopt(&flow.reader, reader), 0);
    expect_int(td_fd_adopt(&flow.writer, writer), 0);
    expect_int(fcntl(reader, F_GETFL) & O_NONBLOCK, 0);
    expect_int(fcntl(writer, F_GETFL) & O_NONBLOCK, 0);
    let_flow(&flow);
    return 0;
}

static void a_shared_pipe_keeps_its_flags(void **state)
{
    assert_int_equal(run_in_folder(state, adopt_named_pipe), 0);
}

static int adopt_socket(void *arg)
{
    struct flow flow = {.random = random_seeded()};
    int pair[2];

    expect_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    expect_int(td_fd_adopt(&flow.reader, pair[0]), 0);
    expect_int(td_fd_adopt(&flow.writer, pair[1]), 0);
    let_flow(&flow);
    return 0;
}

static void a_blocking_socket_is_adopted(void **state)
{
    assert_int_equal(run(state, adopt_socket, NULL), 0);
}

/* An eventfd cannot be opened again, so with epoll a thread reads it. */
static int adopt_eventfd(void *arg)
{
    int descriptor = eventfd(0, EFD_CLOEXEC);
    uint64_t count = 3;
    td_scope scope;
    td_fd *fd;

    expect_int(td_fd_adopt(&fd, descriptor), 0);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(2)));
    expect_int(td_fd_read(fd, &count, sizeof count), -ECANCELED);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    count = 3;
    expect_int(td_fd_write(fd, &count, sizeof count), sizeof count);
    count = 0;
    expect_int(td_fd_read(fd, &count, sizeof count), sizeof count);
    expect_int((long long)count, 3);
    expect_int(td_fd_release(fd), descriptor);
    expect_int(close(descriptor), 0);
    return 0;
}

static void what_cannot_be_opened_again_is_read_all_the_same(void **state)
{
    assert_int_equal(run(state, adopt_eventfd, NULL), 0);
}

static int adopt_terminal(void *arg)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
    char text[32] = "", name[64];
    td_fd *near, *far;
    td_scope scope;

    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 || ptsname_r(master, name, sizeof name) != 0)
        return 0;  /* no terminals here */
    slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    expect(slave >= 0);
    expect_int(td_fd_adopt(&near, master), 0);
    expect_int(td_fd_adopt(&far, slave), 0);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(2)));
    expect_int(td_fd_read(far, text, sizeof text), -ECANCELED);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    expect_int(td_fd_write(near, "typed\n", 6), 6);
    expect_int(td_fd_read(far, text, sizeof text), 6);
    expect_text(text, "typed\n");
    expect_int(td_fd_write(far, "shown", 5), 5);
    memset(text, 0, sizeof text);
    expect_int(td_fd_read(near, text, 7), 7);  /* the echo, with a carriage return */
    expect_text(text, "typed\r\n");
    expect_int(fcntl(slave, F_GETFL) & O_NONBLOCK, 0);
    td_fd_close(near);
    td_fd_close(far);
    return 0;
}

static void a_terminal_is_read_and_written(void **state)
{
    assert_int_equal(run(state, adopt_terminal, NULL), 0);
}

/* Standard input may be a file, a pipe that somebody made non-blocking, or nothing at all. */
static int adopt_others(void *arg)
{
    const char *path = folder_path(arg, "file");
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), ends[2];
    char text[16] = "";
    td_scope scope;
    td_fd *fd;

    expect_int(td_fd_adopt(&fd, descriptor), 0);
    expect_int(td_fd_write(fd, "abc", 3), 3);
    expect_int(lseek(descriptor, 1, SEEK_SET), 1);
    expect_int(td_fd_read(fd, text, sizeof text), 2);
    expect_text(text, "bc");
    expect_int(td_fd_read(fd, text, sizeof text), 0);
    td_fd_close(fd);
    expect_int(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    expect_int(td_fd_adopt(&fd, ends[0]), 0);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(2)));
    expect_int(td_fd_read(fd, text, sizeof text), -ECANCELED);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    expect_int(write(ends[1], "x", 1), 1);
    expect_int(td_fd_read(fd, text, sizeof text), 1);
    close(ends[1]);
    expect_int(td_fd_read(fd, text, sizeof text), 0);
    expect_int(td_fd_write(fd, "x", 1), -EBADF);
    td_fd_close(fd);
    expect_int(td_fd_adopt(&fd, 9999), -EBADF);
    return 0;
}

static void files_and_non_blocking_pipes_are_adopted(void **state)
{
    assert_int_equal(run_in_folder(state, adopt_others), 0);
}

static int write_to_nobody(void *arg)
{
    td_fd *reader, *writer;

    expect_int(td_pipe(&reader, &writer), 0);
    td_fd_close(reader);
    expect_int(td_fd_write(writer, "x", 1), -EPIPE);
    td_fd_close(writer);
    return 0;
}

static int run_writer(void **state)
{
    signal(SIGPIPE, SIG_DFL);
    return td_run_with(&(td_opts){.backend = backend_of(state), .stall_after = TD_FOREVER}, write_to_nobody, NULL);
}

static void nobody_to_read_is_an_answer_and_no_signal(void **state)
{
    struct ending ending = in_child(state, run_writer);

    assert_ended_well(&ending);
}

struct full {
    int fd;
    bool done;
};

static int wait_for_room(void *arg)
{
    struct full *full = arg;

    expect_int(td_wait_writable(full->fd), 0);
    full->done = true;
    return 0;
}

static int wait_for_writable(void *arg)
{
    static char bytes[65536];
    struct full full = {.done = false};
    int ends[2];
    td_scope scope;

    expect_int(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    expect_int(td_wait_writable(ends[1]), 0);
    while (write(ends[1], bytes, sizeof bytes) > 0)
        ;
    full.fd = ends[1];
    td_scope_open(&scope);
    td_spawn(&scope, wait_for_room, &full);
    expect_int(td_sleep(td_ms(2)), 0);
    expect(!full.done);
    expect(read(ends[0], bytes, sizeof bytes) > 0);
    expect_int(td_scope_join(&scope), 0);
    expect(full.done);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static void a_wait_for_room_ends_with_room(void **state)
{
    assert_int_equal(run(state, wait_for_writable, NULL), 0);
}

static void *trigger_thrice(void *arg)
{
    for (int i = 0; i < 3; i++)
        td_wakeup_trigger(arg);
    return NULL;
}

/* tidy: allow, because a signal's handler has no argument */
static td_wakeup *for_handler;

static void trigger_in_handler(int signal)
{
    td_wakeup_trigger(for_handler);
}

static int be_woken(void *arg)
{
    struct sigaction action = {.sa_handler = trigger_in_handler}, before;
    td_wakeup *wakeup;
    td_scope scope;
    pthread_t thread;

    expect_int(td_wakeup_open(&wakeup), 0);
    expect_int(pthread_create(&thread, NULL, trigger_thrice, wakeup), 0);
    expect_int(td_wakeup_wait(wakeup), 0);
    pthread_join(thread, NULL);
    for_handler = wakeup;
    sigaction(SIGUSR1, &action, &before);
    raise(SIGUSR1);
    raise(SIGUSR1);
    expect_int(td_wakeup_wait(wakeup), 0);
    sigaction(SIGUSR1, &before, NULL);
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(2)));
    expect_int(td_wakeup_wait(wakeup), -ECANCELED);  /* many triggers were one */
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    td_wakeup_close(wakeup);
    return 0;
}

static void threads_and_handlers_wake_a_task(void **state)
{
    assert_int_equal(run(state, be_woken, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_pipe_loses_no_byte), ON_BOTH(a_shared_pipe_keeps_its_flags), ON_BOTH(a_blocking_socket_is_adopted),
        ON_BOTH(what_cannot_be_opened_again_is_read_all_the_same), ON_BOTH(a_terminal_is_read_and_written),
        ON_BOTH(files_and_non_blocking_pipes_are_adopted), ON_BOTH(nobody_to_read_is_an_answer_and_no_signal),
        ON_BOTH(a_wait_for_room_ends_with_room), ON_BOTH(threads_and_handlers_wake_a_task),
    };

    return cmocka_run_group_tests_name("file fd", tests, NULL, NULL);
}
