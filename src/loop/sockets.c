/* SPDX-License-Identifier: MIT */
#include "loop/sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

static int kernel_open(struct loop *loop, int family, int type)
{
    int fd = socket(family, type | SOCK_CLOEXEC, 0);

    return fd < 0 ? -errno : fd;
}

static int kernel_bind(struct loop *loop, int fd, const struct sockaddr_storage *address, socklen_t size, struct socket_how how)
{
    int on = 1;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return -errno;
    if (how.share_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0)
        return -errno;
    if (how.v6_only && address->ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
        return -errno;
    return bind(fd, (const struct sockaddr *)address, size) < 0 ? -errno : 0;
}

static int kernel_listen(struct loop *loop, int fd, int backlog)
{
    return listen(fd, backlog) < 0 ? -errno : 0;
}

static int kernel_name(struct loop *loop, int fd, struct sockaddr_storage *address, socklen_t *size)
{
    return getsockname(fd, (struct sockaddr *)address, size) < 0 ? -errno : 0;
}

static void kernel_tune(struct loop *loop, int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

static int kernel_send_now(struct loop *loop, int fd, const struct msghdr *message)
{
    ssize_t n = sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);

    return n < 0 ? -errno : (int)n;
}

static int kernel_shutdown(struct loop *loop, int fd, int how)
{
    return shutdown(fd, how) < 0 ? -errno : 0;
}

static void kernel_close(struct loop *loop, int fd)
{
    close(fd);
}

const struct socket_table sockets_of_kernel = {
    .open = kernel_open,
    .bind = kernel_bind,
    .listen = kernel_listen,
    .name = kernel_name,
    .tune = kernel_tune,
    .send_now = kernel_send_now,
    .shutdown = kernel_shutdown,
    .close = kernel_close,
};
