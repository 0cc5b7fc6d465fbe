/* SPDX-License-Identifier: MIT */
#include "tandem/datagram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loop/sim.h"
#include "net/address.h"
#include "net/unix.h"
#include "sync/cases.h"

#define FULL_RETRY_NS 1000000  /* a Unix receiver's full queue: no descriptor of ours tells when there is room */

struct td_datagram {
    struct loop *loop;
    struct io_file file;
    struct unix_file unix_file;
    char address[TD_ADDRESS_MAX];
};

struct ends {
    struct sockaddr_storage bind, connect;
    socklen_t bind_size, connect_size;
    int family;
};

static int parse(const td_datagram_opts *opts, struct ends *ends)
{
    int rc = 0;

    ends->family = AF_UNSPEC;
    if (opts->bind)
        rc = address_parse(opts->bind, &ends->bind, &ends->bind_size);
    if (rc == 0 && opts->connect)
        rc = address_parse(opts->connect, &ends->connect, &ends->connect_size);
    if (rc < 0)
        return rc;
    if (!opts->bind && !opts->connect)
        return -EINVAL;
    if (opts->bind && opts->connect && ends->bind.ss_family != ends->connect.ss_family)
        return -EINVAL;
    ends->family = opts->bind ? ends->bind.ss_family : ends->connect.ss_family;
    return 0;
}

static int bind_socket(td_datagram *socket, int fd, const struct ends *ends, const td_datagram_opts *opts)
{
    struct socket_how how = {.share_port = opts->share_port != 0, .v6_only = opts->v6_only != 0};

    if (address_is_path(&ends->bind))
        return unix_bind(fd, (const struct sockaddr_un *)&ends->bind, ends->bind_size, opts->mode, 0, &socket->unix_file);
    if (ends->family != AF_UNIX && !how.share_port) {
        /* SO_REUSEADDR, which is right for listeners, would let two sockets have one UDP port, and only one its datagrams. */
        int on = 1;

        if (how.v6_only && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
            return -errno;
        return bind(fd, (const struct sockaddr *)&ends->bind, ends->bind_size) < 0 ? -errno : 0;
    }
    return socket->loop->table->sockets->bind(socket->loop, fd, &ends->bind, ends->bind_size, how);
}

static int set_up(td_datagram *socket, int fd, const struct ends *ends, const td_datagram_opts *opts)
{
    int on = 1, rc = 0;

    if (opts->broadcast && setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on) < 0)
        return -errno;
    if (opts->bind)
        rc = bind_socket(socket, fd, ends, opts);
    if (rc == 0 && opts->connect && connect(fd, (const struct sockaddr *)&ends->connect, ends->connect_size) < 0)
        rc = -errno;
    return rc;
}

static void learn_address(td_datagram *socket, int fd)
{
    struct sockaddr_storage real = {0};
    socklen_t size = sizeof real;

    if (getsockname(fd, (struct sockaddr *)&real, &size) == 0)
        address_format(&real, size, socket->address);
}

static int open_socket(td_datagram *socket, const struct ends *ends, const td_datagram_opts *opts)
{
    const struct socket_table *sockets = socket->loop->table->sockets;
    int fd = sockets->open(socket->loop, ends->family, SOCK_DGRAM | socket->loop->table->file_flags), rc;

    if (fd < 0)
        return fd;
    rc = set_up(socket, fd, ends, opts);
    if (rc < 0) {
        unix_remove(&socket->unix_file);
        sockets->close(socket->loop, fd);
        return rc;
    }
    learn_address(socket, fd);
    io_file_init(&socket->file, fd);
    return 0;
}

int td_datagram_open(td_datagram **out, const td_datagram_opts *opts)
{
    struct td_task *self = task_self(__func__);
    struct ends ends;
    td_datagram *socket;
    int rc = self->sched->forked ? -EOWNERDEAD : loop_is_simulated(loop_of(self)) ? -EOPNOTSUPP : parse(opts, &ends);

    if (rc < 0)
        return rc;
    socket = calloc(1, sizeof *socket);
    if (!socket)
        return -ENOMEM;
    socket->loop = loop_of(self);
    rc = open_socket(socket, &ends, opts);
    if (rc < 0)
        free(socket);
    else
        *out = socket;
    return rc;
}

void td_datagram_close(td_datagram *socket)
{
    if (!socket->loop->sched.forked)
        unix_remove(&socket->unix_file);
    loop_forget(socket->loop, &socket->file);
    socket->loop->table->sockets->close(socket->loop, socket->file.fd);
    free(socket);
}

const char *td_datagram_address(const td_datagram *socket)
{
    return socket->address;
}

ssize_t td_datagram_receive(td_datagram *socket, void *data, size_t size, td_address *from)
{
    struct td_task *self = task_self(__func__);
    struct sockaddr_storage sender = {0};
    struct iovec iov = {data, size};
    struct msghdr message;
    int rc;

    do {
        struct io_op op = {.kind = IO_RECEIVE_MESSAGE, .file = &socket->file, .into = &message};

        message = (struct msghdr){.msg_name = &sender, .msg_namelen = sizeof sender, .msg_iov = &iov, .msg_iovlen = 1};
        rc = loop_io(self, &op, "a datagram");
    } while (rc == -EINTR || rc == -EAGAIN);
    if (rc >= 0 && from)
        address_format(&sender, message.msg_namelen, from->text);
    return rc;
}

static int send_waiting(td_datagram *socket, struct td_task *self, const struct msghdr *message)
{
    int rc;

    do {
        struct io_op op = {.kind = IO_SEND, .file = &socket->file, .message = message};

        rc = loop_io(self, &op, "room for a datagram");
    } while (rc == -EINTR || rc == -EAGAIN);
    return rc;
}

static int send_trying(td_datagram *socket, const struct msghdr *message)
{
    for (int rc = td_sleep(0);; rc = td_sleep(FULL_RETRY_NS)) {
        if (rc == 0)
            rc = socket->loop->table->sockets->send_now(socket->loop, socket->file.fd, message);
        if (rc != -EAGAIN && rc != -EINTR)
            return rc;
    }
}

ssize_t td_datagram_send(td_datagram *socket, const void *data, size_t size, const char *to)
{
    struct td_task *self = task_self(__func__);
    struct sockaddr_storage address;
    socklen_t address_size = 0;
    struct iovec iov = {(void *)(uintptr_t)data, size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    int rc = to ? address_parse(to, &address, &address_size) : 0;

    if (rc < 0)
        return rc;
    if (to) {
        message.msg_name = &address;
        message.msg_namelen = address_size;
    }
    if (self->sched->forked)
        return -EOWNERDEAD;
    rc = to && address.ss_family == AF_UNIX ? send_trying(socket, &message) : send_waiting(socket, self, &message);
    return rc == -ENOTCONN ? -EDESTADDRREQ : rc;
}

td_case td_on_datagram(td_datagram *socket)
{
    return (td_case){.kind = &case_readable, .on = &socket->file};
}
