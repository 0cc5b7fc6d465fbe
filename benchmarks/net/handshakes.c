/* SPDX-License-Identifier: MIT */
/* TLS handshakes one after the other: handshakes PORT SECONDS full|resumed. Prints "warm", then how many, and p50 and p99. */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TIMES_MAX 1000000

static double now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int connected(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

/* One connection with one request, so that the server's tickets have come. Returns its session. */
static SSL_SESSION *shake_hands(SSL_CTX *context, int port, SSL_SESSION *session)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    SSL *ssl = SSL_new(context);
    char answer[4096];
    int fd = connected(port);

    SSL_set_fd(ssl, fd);
    if (session)
        SSL_set_session(ssl, session);
    if (SSL_connect(ssl) != 1 || SSL_write(ssl, request, sizeof request - 1) <= 0 || SSL_read(ssl, answer, sizeof answer) <= 0 ||
        memcmp(answer, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "a handshake failed\n");
        exit(1);
    }
    session = SSL_get1_session(ssl);
    SSL_free(ssl);
    close(fd);
    return session;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    static double times[TIMES_MAX];
    double end;
    int port = argc > 3 ? (int)strtol(argv[1], NULL, 10) : 0, resumed = argc > 3 && strcmp(argv[3], "resumed") == 0;
    SSL_SESSION *session;
    size_t count = 0;

    if (!port || !context)
        return 2;
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    session = shake_hands(context, port, NULL);
    printf("warm\n");
    fflush(stdout);
    end = now_us() + strtod(argv[2], NULL) * 1e6;
    while (now_us() < end && count < TIMES_MAX) {
        double began = now_us();
        SSL_SESSION *next = shake_hands(context, port, resumed ? session : NULL);

        SSL_SESSION_free(session);
        session = next;
        times[count++] = now_us() - began;
    }
    qsort(times, count, sizeof *times, by_size);
    printf("messages %zu\np50_us %.0f\np99_us %.0f\nfailed 0\n", count, times[count / 2], times[count * 99 / 100]);
    return 0;
}
