/* SPDX-License-Identifier: MIT */
/* The least TCP echo on epoll: level-triggered, one buffer. Prints its port. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../listen.h"

int main(void)
{
    static char bytes[16384];
    struct epoll_event events[512], event = {.events = EPOLLIN};
    int listener = listen_somewhere(SOCK_NONBLOCK), set = epoll_create1(0);

    event.data.fd = listener;
    if (epoll_ctl(set, EPOLL_CTL_ADD, listener, &event) < 0)
        return 1;
    for (;;) {
        int n = epoll_wait(set, events, 512, -1);

        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            ssize_t got;

            if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    event.data.fd = fd;
                    no_delay(fd);
                    if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0)
                        return 1;
                }
                continue;
            }
            got = recv(fd, bytes, sizeof bytes, 0);
            if (got <= 0)
                close(fd);
            else if (send(fd, bytes, (size_t)got, MSG_NOSIGNAL) < 0)
                return 1;
        }
    }
}
