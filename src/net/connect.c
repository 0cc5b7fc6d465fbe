/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "net/address.h"
#include "net/stream.h"

#define BACKLOG_RETRY_NS 2000000  /* a Unix socket's full backlog is waited for, as TCP does; epoll cannot */

int td_connect(td_stream **stream, const char *text)
{
    struct td_task *self = task_self(__func__);
    struct loop *loop = loop_of(self);
    struct sockaddr_storage address;
    struct io_file file;
    struct io_op op = {.kind = IO_CONNECT, .file = &file};
    socklen_t size;
    int rc = address_parse(text, &address, &size), fd;

    if (rc < 0)
        return rc;
    fd = loop->table->sockets->open(loop, address.ss_family, SOCK_STREAM | loop->table->file_flags);
    if (fd < 0)
        return fd;
    io_file_init(&file, fd);
    op.address.at = (struct sockaddr *)&address;
    op.address.size = size;
    while ((rc = loop_io(self, &op, "a connection to be made")) == -EBUSY && (rc = td_sleep(BACKLOG_RETRY_NS)) == 0)
        ;
    loop_forget(loop, &file);
    if (rc < 0)
        loop->table->sockets->close(loop, fd);
    return rc < 0 ? rc : stream_adopt(loop, fd, stream);
}
