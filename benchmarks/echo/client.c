/* SPDX-License-Identifier: MIT */
/*
 * A closed-loop WebSocket client, as small as can be: client HOST-PORT CONNECTIONS SECONDS. Every connection sends
 * 64 bytes of text and waits for the echo before it sends again. Prints messages, seconds, and round trips at p50
 * and p99 in microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAYLOAD 64
#define FRAME (2 + 4 + PAYLOAD)  /* masked, to the server */
#define ECHO (2 + PAYLOAD)
#define BUCKETS 100000           /* of a microsecond */

struct connection {
    int fd;
    size_t got;
    double sent;
};

static double now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void say(struct connection *connection)
{
    static unsigned char frame[FRAME] = {0x81, 0x80 | PAYLOAD};

    connection->sent = now_us();
    connection->got = 0;
    if (send(connection->fd, frame, FRAME, MSG_NOSIGNAL) != FRAME)
        die("send");
}

static void shake_hands(struct connection *connection, int port)
{
    static const char request[] = "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char answer[1024];
    size_t used = 0;

    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&at, sizeof at) < 0)
        die("connect");
    if (send(connection->fd, request, sizeof request - 1, 0) < 0)
        die("send");
    do {
        ssize_t n = recv(connection->fd, answer + used, sizeof answer - 1 - used, 0);

        if (n <= 0)
            die("handshake");
        used += (size_t)n;
        answer[used] = '\0';
    } while (!strstr(answer, "\r\n\r\n"));
    if (!strstr(answer, " 101 "))
        die(answer);
}

int main(int argc, char **argv)
{
    static uint32_t histogram[BUCKETS];
    int port = argc > 3 ? (int)strtol(argv[1], NULL, 10) : 0;
    size_t count = argc > 3 ? strtoul(argv[2], NULL, 10) : 0;
    double seconds = argc > 3 ? strtod(argv[3], NULL) : 0, began, warm, end;
    struct connection *connections;
    struct epoll_event events[256];
    uint64_t messages = 0, seen = 0, p50 = 0, p99 = 0;
    int set = epoll_create1(0);

    connections = calloc(count ? count : 1, sizeof *connections);
    if (!connections || set < 0 || !port)
        return 2;
    for (size_t i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};

        shake_hands(&connections[i], port);
        if (epoll_ctl(set, EPOLL_CTL_ADD, connections[i].fd, &event) < 0)
            die("epoll_ctl");
    }
    began = now_us();
    warm = began + 1e6;
    end = warm + seconds * 1e6;
    for (size_t i = 0; i < count; i++)
        say(&connections[i]);
    printf("warm\n");
    fflush(stdout);
    while (now_us() < end) {
        int n = epoll_wait(set, events, 256, 100);

        for (int i = 0; i < n; i++) {
            struct connection *connection = events[i].data.ptr;
            char echo[ECHO];
            ssize_t got = recv(connection->fd, echo, ECHO - connection->got, 0);
            double us;

            if (got <= 0)
                die("recv");
            connection->got += (size_t)got;
            if (connection->got < ECHO)
                continue;
            us = now_us() - connection->sent;
            if (connection->sent >= warm) {
                messages++;
                histogram[us < BUCKETS - 1 ? (size_t)us : BUCKETS - 1]++;
            }
            say(connection);
        }
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (!p50 && seen * 2 >= messages)
            p50 = i;
        if (!p99 && seen * 100 >= messages * 99)
            p99 = i;
    }
    printf("messages %llu\nseconds %.3f\np50_us %llu\np99_us %llu\n", (unsigned long long)messages, seconds,
           (unsigned long long)p50, (unsigned long long)p99);
    return 0;
}
