/* SPDX-License-Identifier: MIT */
/* A listener on a free port of loopback, which is printed as ":PORT". */
#ifndef BENCHMARKS_NET_LISTEN_H
#define BENCHMARKS_NET_LISTEN_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

static int listen_somewhere(int flags)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct rlimit files = {20000, 20000};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | flags, 0);

    setrlimit(RLIMIT_NOFILE, &files);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) < 0) {
        perror("listen");
        exit(1);
    }
    printf(":%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

__attribute__((unused)) static void no_delay(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

#endif
