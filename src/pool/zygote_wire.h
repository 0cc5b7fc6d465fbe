/* SPDX-License-Identifier: MIT */
/*
 * Messages between the program and its zygote: a few bytes, and descriptors, over a SOCK_SEQPACKET pair.
 */
#ifndef TANDEM_POOL_ZYGOTE_WIRE_H
#define TANDEM_POOL_ZYGOTE_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WIRE_FDS 2  /* a request: the worker's page, and what it is told of or tells: an eventfd, or a command's socket */

struct wire_request {
    uint32_t command_bytes;  /* of its argument vector, behind the page (pool/command.h); 0: no command */
};

struct wire_answer {
    int rc;       /* 0, or a negative errno */
    pid_t pid;    /* with it comes the pidfd */
};

/* Returns 0 or a negative errno. flags: 0, or MSG_DONTWAIT. */
int wire_send(int socket, const void *data, size_t size, const int *fds, int fd_count, int flags);

/*
 * Receives one message and up to fd_count descriptors; those that did not come are -1. Returns the bytes received;
 * -EPIPE at the end; another negative errno.
 */
ssize_t wire_receive(int socket, void *data, size_t size, int *fds, int fd_count);

#endif
