/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>

#include "loop/loop.h"
#include "tandem/io.h"

int td_wait_readable(int fd)
{
    struct td_task *self = task_self(__func__);
    struct io_file file;
    struct io_op op = {.kind = IO_POLL, .file = &file, .events = POLLIN};
    int rc;

    io_file_init(&file, fd);
    rc = loop_io(self, &op, "a descriptor to be readable");
    loop_forget(loop_of(self), &file);
    return rc;
}
