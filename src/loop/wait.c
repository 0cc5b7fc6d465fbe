/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/loop.h"
#include "tandem/io.h"

static int wait_for(struct td_task *self, int fd, short events)
{
    struct io_file file;
    struct io_op op = {.kind = IO_POLL, .file = &file, .events = events};
    int rc;

    io_file_init(&file, fd);
    rc = loop_io(self, &op, events == POLLIN ? "a descriptor to be readable" : "a descriptor to be writable");
    loop_forget(loop_of(self), &file);
    return rc;
}

static int wait_on(struct td_task *self, int fd, short events)
{
    struct stat status;
    int rc, copy;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
        return -EPERM;
    rc = wait_for(self, fd, events);
    if (rc != -EEXIST)
        return rc;
    /* Another task waits for the same descriptor, and epoll takes each only once. */
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return -errno;
    rc = wait_for(self, copy, events);
    close(copy);
    return rc;
}

int td_wait_readable(int fd)
{
    return wait_on(task_self(__func__), fd, POLLIN);
}

int td_wait_writable(int fd)
{
    return wait_on(task_self(__func__), fd, POLLOUT);
}
