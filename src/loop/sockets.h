/* SPDX-License-Identifier: MIT */
/*
 * Stream sockets, as floor 4 makes and ends them: all that is no operation (loop/io.h). On the real backends each of
 * these is a system call; the simulation has sockets of its own. None waits, each returns 0 or a negative errno.
 */
#ifndef TANDEM_LOOP_SOCKETS_H
#define TANDEM_LOOP_SOCKETS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "loop/loop.h"

struct socket_table {
    /* Makes a socket as the backend wants its descriptors, for listening or connecting. Returns the descriptor. */
    int (*open)(struct loop *loop, int family);
    int (*listen)(struct loop *loop, int fd, const struct sockaddr_storage *address, socklen_t size, int backlog,
                  bool share_port);
    /* The address it listens on. */
    int (*name)(struct loop *loop, int fd, struct sockaddr_storage *address, socklen_t *size);
    /* For a socket that will carry a stream: no delay of small writes, and vanished peers noticed. May be refused. */
    void (*tune)(struct loop *loop, int fd);
    /* Sends what the socket takes at once. Returns the count, or -EAGAIN. */
    int (*send_now)(struct loop *loop, int fd, const struct msghdr *message);
    int (*shutdown)(struct loop *loop, int fd, int how);
    void (*close)(struct loop *loop, int fd);
};

extern const struct socket_table sockets_of_kernel;

#endif
