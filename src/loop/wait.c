/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/loop.h"
#include "tandem/io.h"

static int wait_for(struct td_task *self, int fd)
{
    struct io_file file;
    struct io_op op = {.kind = IO_POLL, .file = &file, .events = POLLIN};
    int rc;

    io_file_init(&file, fd);
    rc = loop_io(self, &op, "a descriptor to be readable");
    loop_forget(loop_of(self), &file);
    return rc;
}

int td_wait_readable(int fd)
{
    struct td_task *self = task_self(__func__);
    struct stat status;
    int rc, copy;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
        return -EPERM;
    rc = wait_for(self, fd);
    if (rc != -EEXIST)
        return rc;
    /* Another task waits for the same descriptor, and epoll takes each only once. */
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return -errno;
    rc = wait_for(self, copy);
    close(copy);
    return rc;
}
