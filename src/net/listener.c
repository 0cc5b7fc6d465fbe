/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "net/stream.h"
#include "sync/cases.h"

#define BACKLOG_DEFAULT 4096

struct td_listener {
    struct loop *loop;
    struct io_file file;
    char address[TD_ADDRESS_MAX];
};

int td_listen(td_listener **out, const char *text, const td_listen_opts *opts)
{
    struct td_task *self = task_self(__func__);
    struct sockaddr_storage address;
    socklen_t size;
    const struct socket_table *sockets = loop_of(self)->table->sockets;
    td_listener *listener;
    int rc = self->sched->forked ? -EOWNERDEAD : address_parse(text, &address, &size), fd;

    if (rc < 0)
        return rc;
    listener = calloc(1, sizeof *listener);
    if (!listener)
        return -ENOMEM;
    listener->loop = loop_of(self);
    fd = sockets->open(listener->loop, address.ss_family);
    if (fd < 0) {
        free(listener);
        return fd;
    }
    rc = sockets->listen(listener->loop, fd, &address, size, opts && opts->backlog > 0 ? opts->backlog : BACKLOG_DEFAULT,
                         opts && opts->share_port);
    if (rc < 0) {
        sockets->close(listener->loop, fd);
        free(listener);
        return rc;
    }
    size = sizeof address;
    if (sockets->name(listener->loop, fd, &address, &size) == 0)
        address_format(&address, listener->address);
    io_file_init(&listener->file, fd);
    *out = listener;
    return 0;
}

void td_listener_close(td_listener *listener)
{
    loop_forget(listener->loop, &listener->file);
    listener->loop->table->sockets->close(listener->loop, listener->file.fd);
    free(listener);
}

const char *td_listener_address(const td_listener *listener)
{
    return listener->address;
}

/* Errors of a connection that was already broken, which accept(2) passes on; and interrupted waits. */
static bool pass_over(int rc)
{
    return rc == -ECONNABORTED || rc == -EINTR || rc == -EPROTO || rc == -ENETDOWN || rc == -EHOSTUNREACH ||
           rc == -ENETUNREACH || rc == -EAGAIN;
}

int td_accept(td_listener *listener, td_stream **stream)
{
    struct td_task *self = task_self(__func__);
    int rc;

    do {
        struct io_op op = {.kind = IO_ACCEPT, .file = &listener->file};

        rc = loop_io(self, &op, "a connection");
    } while (rc < 0 && pass_over(rc));
    return rc < 0 ? rc : stream_adopt(listener->loop, rc, stream);
}

td_case td_on_connection(td_listener *listener)
{
    return (td_case){.kind = &case_readable, .on = &listener->file};
}

int td_connect(td_stream **stream, const char *text)
{
    td_stream *made;
    struct td_task *self = task_self(__func__);
    struct sockaddr_storage address;
    struct io_op op = {.kind = IO_CONNECT};
    socklen_t size;
    int rc = address_parse(text, &address, &size), fd;

    if (rc < 0)
        return rc;
    fd = loop_of(self)->table->sockets->open(loop_of(self), address.ss_family);
    if (fd < 0)
        return fd;
    rc = stream_adopt(loop_of(self), fd, &made);
    if (rc < 0)
        return rc;
    op.file = stream_socket(made);
    op.address.at = (struct sockaddr *)&address;
    op.address.size = size;
    rc = loop_io(self, &op, "a connection to be made");
    if (rc < 0)
        td_stream_close(made);
    else
        *stream = made;
    return rc;
}
