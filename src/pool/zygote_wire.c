/* SPDX-License-Identifier: MIT */
#include "pool/zygote_wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(WIRE_FDS * sizeof(int))];
};

int wire_send(int socket, const void *data, size_t size, const int *fds, int fd_count, int flags)
{
    static const char nothing;
    union control control = {0};
    struct iovec iov = {size ? (void *)data : (void *)&nothing, size ? size : 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd_count > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE((size_t)fd_count * sizeof(int));
        control.header = (struct cmsghdr){CMSG_LEN((size_t)fd_count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), fds, (size_t)fd_count * sizeof(int));
    }
    while (sendmsg(socket, &message, MSG_NOSIGNAL | flags) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

ssize_t wire_receive(int socket, void *data, size_t size, int *fds, int fd_count)
{
    char spare;
    union control control = {0};
    struct iovec iov = {size ? data : &spare, size ? size : 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header;
    ssize_t n;

    for (int i = 0; i < fd_count; i++)
        fds[i] = -1;
    do
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        size_t bytes = header->cmsg_len - CMSG_LEN(0);

        memcpy(fds, CMSG_DATA(header), bytes < (size_t)fd_count * sizeof(int) ? bytes : (size_t)fd_count * sizeof(int));
    }
    return n == 0 ? -EPIPE : n;
}
