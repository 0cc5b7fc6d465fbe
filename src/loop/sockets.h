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

struct socket_how {
    bool share_port;  /* SO_REUSEPORT */
    bool v6_only;     /* IPV6_V6ONLY */
};

struct socket_table {
    /*
     * Makes a socket of this type: SOCK_STREAM with the backend's file_flags for connecting, with SOCK_NONBLOCK for
     * listening. Returns the descriptor.
     */
    int (*open)(struct loop *loop, int family, int type);
    int (*bind)(struct loop *loop, int fd, const struct sockaddr_storage *address, socklen_t size, struct socket_how how);
    int (*listen)(struct loop *loop, int fd, int backlog);
    /* The address it is bound to. */
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
