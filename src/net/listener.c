/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "loop/sim.h"
#include "net/address.h"
#include "net/reserve.h"
#include "net/stream.h"
#include "net/unix.h"
#include "sync/cases.h"

#define BACKLOG_DEFAULT 4096
#define ACCEPTS_IN_A_ROW 16  /* before others have their turn: a connection costs more than most of what tasks do */

struct td_listener {
    struct loop *loop;
    struct io_file file;
    struct reserve reserve;
    struct unix_file unix_file;
    unsigned in_a_row;
    unsigned long long accepted;
    char address[TD_ADDRESS_MAX];
};

static int place(td_listener *listener, int fd, const struct sockaddr_storage *address, socklen_t size,
                 const td_listen_opts *opts)
{
    const struct socket_table *sockets = listener->loop->table->sockets;
    struct socket_how how = {.share_port = opts->share_port != 0, .v6_only = opts->v6_only != 0};
    int backlog = opts->backlog > 0 ? opts->backlog : BACKLOG_DEFAULT, rc;

    if (address_is_path(address) && !loop_is_simulated(listener->loop))
        return unix_bind(fd, (const struct sockaddr_un *)address, size, opts->mode, backlog, &listener->unix_file);
    rc = sockets->bind(listener->loop, fd, address, size, how);
    return rc < 0 ? rc : sockets->listen(listener->loop, fd, backlog);
}

static int open_socket(td_listener *listener, const struct sockaddr_storage *address, socklen_t size, const td_listen_opts *opts)
{
    const struct socket_table *sockets = listener->loop->table->sockets;
    struct sockaddr_storage real;
    int fd = sockets->open(listener->loop, address->ss_family, SOCK_STREAM | SOCK_NONBLOCK), rc;

    if (fd < 0)
        return fd;
    rc = place(listener, fd, address, size, opts);
    if (rc < 0) {
        sockets->close(listener->loop, fd);
        return rc;
    }
    memcpy(&real, address, sizeof real);
    (void)sockets->name(listener->loop, fd, &real, &size);
    address_format(&real, size, listener->address);
    io_file_init(&listener->file, fd);
    return 0;
}

int td_listen(td_listener **out, const char *text, const td_listen_opts *opts)
{
    struct td_task *self = task_self(__func__);
    struct sockaddr_storage address;
    socklen_t size;
    td_listener *listener;
    int rc = self->sched->forked ? -EOWNERDEAD : address_parse(text, &address, &size);

    if (rc < 0)
        return rc;
    listener = calloc(1, sizeof *listener);
    if (!listener)
        return -ENOMEM;
    listener->loop = loop_of(self);
    rc = open_socket(listener, &address, size, opts ? opts : &(td_listen_opts){0});
    if (rc < 0) {
        free(listener);
        return rc;
    }
    reserve_open(&listener->reserve, listener->loop);
    if (opts) {
        listener->reserve.farewell = opts->farewell;
        listener->reserve.farewell_size = opts->farewell_size;
    }
    *out = listener;
    return 0;
}

void td_listener_close(td_listener *listener)
{
    if (!listener->loop->sched.forked)
        unix_remove(&listener->unix_file);
    reserve_close(&listener->reserve);
    loop_forget(listener->loop, &listener->file);
    listener->loop->table->sockets->close(listener->loop, listener->file.fd);
    free(listener);
}

const char *td_listener_address(const td_listener *listener)
{
    return listener->address;
}

void td_listener_statistics(const td_listener *listener, td_listener_stats *stats)
{
    *stats = (td_listener_stats){.accepted = listener->accepted, .turned_away = listener->reserve.turned_away};
}

/* Errors of a connection that was already broken, which accept(2) passes on; and interrupted waits. */
static bool pass_over(int rc)
{
    return rc == -ECONNABORTED || rc == -EINTR || rc == -EPROTO || rc == -ENETDOWN || rc == -EHOSTUNREACH ||
           rc == -ENETUNREACH || rc == -EAGAIN;
}

/*
 * The kernel says that there is no descriptor whether or not somebody comes, and by the time somebody does there may be one.
 * So that answer counts when somebody is there.
 */
static int accept_one(td_listener *listener, struct td_task *self)
{
    bool somebody = false;

    for (;;) {
        struct io_op op = {.kind = IO_ACCEPT, .file = &listener->file}, poll = {.kind = IO_POLL, .file = &listener->file,
                                                                              .events = POLLIN};
        int rc = loop_io(self, &op, "a connection");

        if (rc == -EMFILE || rc == -ENFILE) {
            rc = somebody ? reserve_use(&listener->reserve, listener->file.fd, listener->address, rc)
                          : loop_io(self, &poll, "a connection");
            if (rc < 0 && !pass_over(rc))
                return rc;
            somebody = !somebody && rc == 0;
        } else if (rc >= 0 || !pass_over(rc)) {
            return rc;
        }
    }
}

int td_accept(td_listener *listener, td_stream **stream)
{
    struct td_task *self = task_self(__func__);
    int rc = ++listener->in_a_row >= ACCEPTS_IN_A_ROW ? td_yield() : 0, fd;

    if (rc < 0)
        return rc;
    listener->in_a_row %= ACCEPTS_IN_A_ROW;
    fd = accept_one(listener, self);
    if (fd < 0)
        return fd;
    listener->accepted++;
    listener->reserve.in_a_row = 0;
    return stream_adopt(listener->loop, fd, stream);
}

td_case td_on_connection(td_listener *listener)
{
    return (td_case){.kind = &case_readable, .on = &listener->file};
}
