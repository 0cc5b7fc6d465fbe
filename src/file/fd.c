/* SPDX-License-Identifier: MIT */
#include "file/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/fail.h"
#include "file/file.h"

enum way {
    WAY_PLAIN,   /* reads and writes that the backend can wait for */
    WAY_SOCKET,  /* the same, with flags in each call */
    WAY_POLLED,  /* wait until it is ready, then let a thread read: somebody else may have been faster */
    WAY_THREAD,  /* always ready: a regular file */
};

struct td_fd {
    struct loop *loop;
    struct io_file file;
    int descriptor;  /* as it came; file.fd may be another way to the same thing */
    enum way way;
    bool reading, writing;
};

int fd_wrap(struct loop *loop, int descriptor, td_fd **out)
{
    td_fd *fd = calloc(1, sizeof *fd);

    *out = NULL;
    if (!fd) {
        close(descriptor);
        return -ENOMEM;
    }
    fd->loop = loop;
    fd->descriptor = descriptor;
    io_file_init(&fd->file, descriptor);
    *out = fd;
    return 0;
}

/*
 * A file description of our own for a pipe or a terminal, where O_NONBLOCK disturbs nobody. Not for other devices, since
 * opening one may do something, and not for a pseudo-terminal's master, where it would make another.
 */
static int open_again(int descriptor, int flags, mode_t mode)
{
    char path[40];
    struct termios terminal;
    int number;

    if (!S_ISFIFO(mode) && (tcgetattr(descriptor, &terminal) < 0 || ioctl(descriptor, TIOCGPTN, &number) == 0))
        return -ENOTTY;
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return open(path, (flags & (O_ACCMODE | O_APPEND)) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

/* Without O_NONBLOCK on a descriptor that is not ours alone; the header says how. */
static enum way choose_way(td_fd *fd, int flags, mode_t mode)
{
    int again;

    if (S_ISSOCK(mode))
        return WAY_SOCKET;
    if (fd->loop->table->file_flags == 0 || (flags & O_NONBLOCK))
        return WAY_PLAIN;
    if (S_ISREG(mode) || S_ISBLK(mode))
        return WAY_THREAD;
    again = open_again(fd->descriptor, flags, mode);
    if (again < 0)
        return WAY_POLLED;
    fd->file.fd = again;
    return WAY_PLAIN;
}

int td_fd_adopt(td_fd **out, int descriptor)
{
    struct td_task *self = task_self(__func__);
    int flags = fcntl(descriptor, F_GETFL);
    struct stat status;
    td_fd *fd;

    *out = NULL;
    if (flags < 0 || fstat(descriptor, &status) < 0)
        return -errno;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    fd = calloc(1, sizeof *fd);
    if (!fd)
        return -ENOMEM;
    fd->loop = loop_of(self);
    fd->descriptor = descriptor;
    io_file_init(&fd->file, descriptor);
    fd->way = choose_way(fd, flags, status.st_mode);
    *out = fd;
    return 0;
}

int td_pipe(td_fd **reader, td_fd **writer)
{
    struct loop *loop = loop_of(task_self(__func__));
    int ends[2], rc;

    *reader = *writer = NULL;
    if (pipe2(ends, O_CLOEXEC | loop->table->file_flags) < 0)
        return -errno;
    rc = fd_wrap(loop, ends[0], reader);
    if (rc < 0) {
        close(ends[1]);
        return rc;
    }
    rc = fd_wrap(loop, ends[1], writer);
    if (rc < 0) {
        td_fd_close(*reader);
        *reader = NULL;
    }
    return rc;
}

static struct td_task *user_of(td_fd *fd, const char *function)
{
    struct td_task *self = task_self(function);

    if (loop_of(self) != fd->loop)
        fail("%s: the descriptor belongs to another loop; a task and what it reads live on one loop", function);
    return self;
}

static int wait_ready(td_fd *fd, struct td_task *self, short events, const char *what)
{
    struct io_op op = {.kind = IO_POLL, .file = &fd->file, .events = events};

    return loop_io(self, &op, what);
}

/* One transfer by a thread, which polling has made sure not to hold for long. At most what a pipe with any room takes. */
static int transfer_in_thread(td_fd *fd, struct td_task *self, bool out, void *data, size_t size, const char *what)
{
    struct io_call call = {.fd = fd->file.fd, .data = data, .size = size, .offset = -1};
    int rc = 0;

    if (fd->way == WAY_POLLED) {
        rc = wait_ready(fd, self, out ? POLLOUT : POLLIN, what);
        call.size = size < PIPE_BUF ? size : PIPE_BUF;
    }
    return rc < 0 ? rc : file_call(self, out ? IO_WRITE_AT : IO_READ_AT, &call, what);
}

static int transfer_on_socket(td_fd *fd, struct td_task *self, bool out, void *data, size_t size, const char *what)
{
    struct iovec iov = {data, size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    struct io_op op = {.kind = IO_RECEIVE, .file = &fd->file, .buffer = {data, size}};

    if (out)
        op = (struct io_op){.kind = IO_SEND, .file = &fd->file, .message = &message};
    return loop_io(self, &op, what);
}

/* One transfer. Returns a count or an error; never -EAGAIN. */
static int transfer(td_fd *fd, struct td_task *self, bool out, void *data, size_t size)
{
    const char *what = out ? "room in a pipe or the like" : "bytes from a pipe or the like";
    int rc, again;

    size = size < FILE_BYTES_MAX ? size : FILE_BYTES_MAX;
    do {
        struct io_op op = {.kind = out ? IO_WRITE : IO_READ, .file = &fd->file, .buffer = {data, size}};

        if (fd->way == WAY_PLAIN)
            rc = loop_io(self, &op, what);
        else if (fd->way == WAY_SOCKET)
            rc = transfer_on_socket(fd, self, out, data, size, what);
        else
            rc = transfer_in_thread(fd, self, out, data, size, what);
        if (rc == -EAGAIN)  /* io_uring, where somebody has set O_NONBLOCK */
            rc = (again = wait_ready(fd, self, out ? POLLOUT : POLLIN, what)) < 0 ? again : -EINTR;
    } while (rc == -EINTR);
    return rc;
}

static void take_turn(bool *taken, const char *function)
{
    if (*taken)
        fail("%s: another task does the same with this descriptor; let one task do it, or a channel order them", function);
    *taken = true;
}

ssize_t td_fd_read(td_fd *fd, void *data, size_t size)
{
    struct td_task *self = user_of(fd, __func__);
    int rc;

    take_turn(&fd->reading, __func__);
    rc = transfer(fd, self, false, data, size);
    fd->reading = false;
    return rc;
}

ssize_t td_fd_write(td_fd *fd, const void *data, size_t size)
{
    struct td_task *self = user_of(fd, __func__);
    size_t sent = 0;
    int rc = task_checkpoint(self);

    take_turn(&fd->writing, __func__);
    while (rc >= 0 && sent < size) {
        rc = transfer(fd, self, true, (char *)(uintptr_t)data + sent, size - sent);
        sent += rc > 0 ? (size_t)rc : 0;
    }
    fd->writing = false;
    return sent > 0 || rc >= 0 ? (ssize_t)sent : rc;
}

int td_fd_descriptor(const td_fd *fd)
{
    return fd->descriptor;
}

int td_fd_release(td_fd *fd)
{
    int descriptor = fd->descriptor;

    user_of(fd, __func__);
    if (fd->reading || fd->writing)
        fail("td_fd_close or td_fd_release: a task is using this descriptor; join it first");
    loop_forget(fd->loop, &fd->file);
    if (fd->file.fd != descriptor)
        close(fd->file.fd);
    free(fd);
    return descriptor;
}

void td_fd_close(td_fd *fd)
{
    close(td_fd_release(fd));
}
