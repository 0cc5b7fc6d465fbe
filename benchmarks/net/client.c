/* SPDX-License-Identifier: MIT */
/*
 * The client of every contestant: closed loop, one thread, epoll. client MODE PORT CONNECTIONS SECONDS [PATH]
 *
 * MODE tcp: 64 bytes and their echo. http: GET PATH. ws: text of 64 bytes and its echo; ws4k: 4 KiB binary. idle: connects all
 * as WebSockets, has one echo of each, prints "ready", and stays until standard input ends. rooms-N: the connections are
 * members of PATH, the first of them a speaker too, with N messages in flight; counts deliveries.
 *
 * Prints "warm" when all are connected and the load begins, then "messages", "p50_us", "p99_us" and "failed" for what was
 * sent after the first second.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUCKETS 1000000  /* of a microsecond */
#define BIG 4096
#define READ_BYTES (256 * 1024)

enum mode { TCP, HTTP, WS, WS4K, IDLE, ROOMS };

struct connection {
    int fd;
    size_t left;       /* bytes of the answer still to come; in a room: bytes not counted yet */
    double sent;
};

struct client {
    enum mode mode;
    size_t count, in_flight, request_size, answer_size;
    char request[BIG + 512];
    struct connection *connections;
    uint32_t *histogram;
    uint64_t messages, failed;
    double warm, end;
    int set;
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

static void say(struct client *client, struct connection *connection)
{
    size_t done = 0;

    connection->sent = now_us();
    connection->left = client->answer_size;
    while (done < client->request_size) {
        ssize_t n = send(connection->fd, client->request + done, client->request_size - done, MSG_NOSIGNAL);

        if (n < 0)
            die("send");
        done += (size_t)n;
    }
}

static int connected(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
        die("connect");
    return fd;
}

static void shake_hands(int fd, const char *path)
{
    char text[2048];
    size_t used = 0;
    int size = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path);

    if (send(fd, text, (size_t)size, 0) != size)
        die("send");
    do {  /* byte by byte: what comes behind it belongs to the protocol */
        if (used == sizeof text - 1 || recv(fd, text + used, 1, 0) != 1)
            die("handshake");
        text[++used] = '\0';
    } while (used < 4 || strcmp(text + used - 4, "\r\n\r\n") != 0);
    if (!strstr(text, " 101 "))
        die(text);
}

/* Masked once: every message of this client is the same. */
static size_t frame(char *out, char opcode, size_t size)
{
    size_t head = 0;

    out[head++] = (char)(0x80 | opcode);
    if (size < 126) {
        out[head++] = (char)(0x80 | size);
    } else {
        out[head++] = (char)(0x80 | 126);
        out[head++] = (char)(size >> 8);
        out[head++] = (char)(size & 0xff);
    }
    memcpy(out + head, "\x11\x22\x33\x44", 4);
    head += 4;
    for (size_t i = 0; i < size; i++)
        out[head + i] = (char)('x' ^ "\x11\x22\x33\x44"[i % 4]);
    return head + size;
}

static void record(struct client *client, struct connection *connection)
{
    double us = now_us() - connection->sent;

    if (connection->sent < client->warm)
        return;
    client->messages++;
    client->histogram[us < BUCKETS - 1 ? (size_t)us : BUCKETS - 1]++;
}

/* The whole answer of an HTTP server is in one piece here: small ones are. */
static void http_answer(struct client *client, struct connection *connection, const char *bytes, size_t size)
{
    if (size < 12 || memcmp(bytes, "HTTP/1.1 200", 12) != 0)
        client->failed++;
    record(client, connection);
    say(client, connection);
}

static void came(struct client *client, struct connection *connection)
{
    static char bytes[READ_BYTES];
    ssize_t n = recv(connection->fd, bytes, sizeof bytes, 0);

    if (n <= 0)
        die("recv");
    if (client->mode == ROOMS) {
        connection->left += (size_t)n;
        return;
    }
    if (client->mode == HTTP) {
        http_answer(client, connection, bytes, (size_t)n);
        return;
    }
    connection->left -= (size_t)n < connection->left ? (size_t)n : connection->left;
    if (connection->left > 0)
        return;
    record(client, connection);
    say(client, connection);
}

static void percentiles(const struct client *client)
{
    uint64_t seen = 0, p50 = 0, p99 = 0;

    for (size_t i = 0; i < BUCKETS; i++) {
        seen += client->histogram[i];
        if (!p50 && seen * 2 >= client->messages)
            p50 = i;
        if (!p99 && seen * 100 >= client->messages * 99)
            p99 = i;
    }
    printf("messages %llu\np50_us %llu\np99_us %llu\nfailed %llu\n", (unsigned long long)client->messages,
           (unsigned long long)p50, (unsigned long long)p99, (unsigned long long)client->failed);
}

/* One speaker, N messages in flight; a message has come around when the last member has all its bytes. */
static void talk(struct client *client)
{
    struct epoll_event events[1024];
    size_t size = frame(client->request, 1, 64), missing, bytes;
    bool counted;

    while (now_us() < client->end) {
        double began = now_us();

        for (size_t i = 0; i < client->in_flight; i++)
            if (send(client->connections[0].fd, client->request, size, MSG_NOSIGNAL) < 0)
                die("send");
        bytes = client->in_flight * (2 + 64);
        missing = client->count;
        while (missing > 0) {
            int n = epoll_wait(client->set, events, 1024, 5000);

            if (n <= 0)
                die("a message did not come around");
            for (int i = 0; i < n; i++) {
                struct connection *one = events[i].data.ptr;
                bool had = one->left >= bytes;

                came(client, one);
                missing -= !had && one->left >= bytes;
            }
        }
        for (size_t i = 0; i < client->count; i++)
            client->connections[i].left -= bytes;
        counted = began >= client->warm;
        client->messages += counted ? client->count * client->in_flight : 0;
        if (counted)
            client->histogram[(size_t)(now_us() - began) < BUCKETS - 1 ? (size_t)(now_us() - began) : BUCKETS - 1] +=
                (uint32_t)(client->count * client->in_flight);
    }
}

static void answer_all(struct client *client)
{
    struct epoll_event events[256];

    for (size_t i = 0; i < client->count; i++)
        say(client, &client->connections[i]);
    while (now_us() < client->end) {
        int n = epoll_wait(client->set, events, 256, 100);

        for (int i = 0; i < n; i++)
            came(client, events[i].data.ptr);
    }
}

static void idle(struct client *client)
{
    char bytes[256];

    for (size_t i = 0; i < client->count; i++) {
        say(client, &client->connections[i]);
        while (client->connections[i].left > 0) {
            ssize_t n = recv(client->connections[i].fd, bytes, sizeof bytes, 0);

            if (n <= 0)
                die("recv");
            client->connections[i].left -= (size_t)n;
        }
    }
    printf("ready\n");
    fflush(stdout);
    while (read(STDIN_FILENO, bytes, sizeof bytes) > 0)
        ;
}

static void prepare(struct client *client, const char *mode, const char *path)
{
    static const struct { const char *name; enum mode mode; } modes[] = {
        {"tcp", TCP}, {"http", HTTP}, {"ws", WS}, {"ws4k", WS4K}, {"idle", IDLE}, {"rooms", ROOMS}};
    size_t size;

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strncmp(mode, modes[i].name, strlen(modes[i].name)) == 0 && strcmp(mode, "ws4k") != 0)
            client->mode = modes[i].mode;
    if (strcmp(mode, "ws4k") == 0)
        client->mode = WS4K;
    client->in_flight = client->mode == ROOMS ? strtoul(strchr(mode, '-') + 1, NULL, 10) : 1;
    size = client->mode == WS4K ? BIG : 64;
    if (client->mode == TCP) {
        memset(client->request, 'x', size);
        client->request_size = client->answer_size = size;
    } else if (client->mode == HTTP) {
        client->request_size = (size_t)snprintf(client->request, sizeof client->request,
                                                "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    } else {
        client->request_size = frame(client->request, client->mode == WS4K ? 2 : 1, size);
        client->answer_size = size + (size < 126 ? 2 : 4);
    }
}

int main(int argc, char **argv)
{
    struct rlimit files = {20000, 20000};
    struct client client = {.set = epoll_create1(0)};
    const char *path = argc > 5 ? argv[5] : "/";

    if (argc < 5 || client.set < 0)
        return 2;
    setrlimit(RLIMIT_NOFILE, &files);
    client.count = strtoul(argv[3], NULL, 10);
    client.connections = calloc(client.count, sizeof *client.connections);
    client.histogram = calloc(BUCKETS, sizeof *client.histogram);
    if (!client.connections || !client.histogram)
        return 1;
    prepare(&client, argv[1], path);
    for (size_t i = 0; i < client.count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &client.connections[i]};

        client.connections[i].fd = connected((int)strtol(argv[2], NULL, 10));
        if (client.mode >= WS)
            shake_hands(client.connections[i].fd, path);
        if (epoll_ctl(client.set, EPOLL_CTL_ADD, client.connections[i].fd, &event) < 0)
            die("epoll_ctl");
    }
    if (client.mode == IDLE) {
        idle(&client);
        return 0;
    }
    client.warm = now_us() + 1e6;
    client.end = client.warm + strtod(argv[4], NULL) * 1e6;
    printf("warm\n");
    fflush(stdout);
    if (client.mode == ROOMS)
        talk(&client);
    else
        answer_all(&client);
    percentiles(&client);
    return 0;
}
