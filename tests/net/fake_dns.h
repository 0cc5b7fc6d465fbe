/* SPDX-License-Identifier: MIT */
/*
 * A name server of a thread, on a port of 127.0.0.1, UDP and TCP. What it answers is in the name that it is asked for.
 */
#ifndef TANDEM_TESTS_NET_FAKE_DNS_H
#define TANDEM_TESTS_NET_FAKE_DNS_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "run/harness.h"

#define PACKET_MAX 2048
#define TYPE_A 1
#define TYPE_CNAME 5
#define TYPE_AAAA 28
#define RCODE_SERVFAIL 2
#define RCODE_NXDOMAIN 3
#define RCODE_REFUSED 5

struct fake_dns {
    int udp, tcp, stranger, stop[2];
    pthread_t thread;
    char server[40];             /* for td_lookup_opts */
    atomic_int asked, silent;    /* questions; those that got no answer */
};

/* One question, and the answer as far as it is written. */
struct packet {
    unsigned char bytes[PACKET_MAX];
    size_t size, question_end;
    char name[256];
    unsigned type;
};

static void put(struct packet *packet, const void *bytes, size_t size)
{
    assert_true(packet->size + size <= sizeof packet->bytes);
    memcpy(packet->bytes + packet->size, bytes, size);
    packet->size += size;
}

static void put16(struct packet *packet, unsigned value)
{
    put(packet, (unsigned char[]){(unsigned char)(value >> 8), (unsigned char)value}, 2);
}

/* A record for the name of the question, RFC 1035, 4.1.3. */
static void add(struct packet *packet, unsigned type, const void *data, size_t size)
{
    put(packet, "\xc0\x0c", 2);
    put16(packet, type);
    put16(packet, 1);
    put(packet, "\0\0\0\x3c", 4);
    put16(packet, (unsigned)size);
    put(packet, data, size);
    packet->bytes[7]++;
}

static void add_address(struct packet *packet, const char *text)
{
    unsigned char address[16];
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;

    assert_int_equal(inet_pton(family, text, address), 1);
    if (packet->type == (family == AF_INET ? TYPE_A : TYPE_AAAA))
        add(packet, packet->type, address, family == AF_INET ? 4 : 16);
}

/* Reads the question and makes an answer without records of it. */
static bool understand(struct packet *packet, size_t size)
{
    size_t at = 12, length = 0;

    while (at < size && packet->bytes[at] && length + packet->bytes[at] + 1 < sizeof packet->name) {
        memcpy(packet->name + length, packet->bytes + at + 1, packet->bytes[at]);
        length += packet->bytes[at];
        packet->name[length++] = '.';
        at += packet->bytes[at] + 1u;
    }
    if (length == 0 || at + 5 > size)
        return false;
    packet->name[length - 1] = '\0';
    packet->type = (unsigned)packet->bytes[at + 1] << 8 | packet->bytes[at + 2];
    packet->size = packet->question_end = at + 5;
    packet->bytes[2] = 0x81;
    packet->bytes[3] = 0x80;
    memset(packet->bytes + 6, 0, 6);
    return true;
}

static void answer_for(struct packet *packet, bool over_tcp)
{
    const char *name = packet->name;
    char text[40];

    if (strcmp(name, "one.test") == 0)
        add_address(packet, "10.0.0.1");
    else if (strcmp(name, "six.test") == 0)
        add_address(packet, "2001:db8::6");
    else if (strcmp(name, "both.test") == 0 || strcmp(name, "mixed.test") == 0 || strcmp(name, "halfsilent.test") == 0) {
        add_address(packet, "127.0.0.1");
        add_address(packet, "::1");
    } else if (strcmp(name, "many.test") == 0) {
        for (int i = 1; i <= 40; i++) {
            snprintf(text, sizeof text, "10.0.0.%d", i);
            add_address(packet, text);
        }
    } else if (strcmp(name, "alias.test") == 0) {
        add(packet, TYPE_CNAME, "\x03one\x04test", 10);  /* with the zero at its end */
        put(packet, "\x03one\x04test", 10);
        put16(packet, TYPE_A);
        put16(packet, 1);
        put(packet, "\0\0\0\x3c\0\x04\x0a\0\0\x09", 10);
        packet->bytes[7]++;
    } else if (strcmp(name, "long.test") == 0 && !over_tcp)
        packet->bytes[2] |= 0x02;  /* truncated: ask again by TCP */
    else if (strcmp(name, "long.test") == 0)
        add_address(packet, "10.0.0.7");
    else if (strcmp(name, "failing.test") == 0)
        packet->bytes[3] |= RCODE_SERVFAIL;
    else if (strcmp(name, "refused.test") == 0)
        packet->bytes[3] |= RCODE_REFUSED;
    else if (strcmp(name, "broken.test") == 0)
        packet->bytes[7] = 5;  /* five answers, of which there is none */
    else if (strcmp(name, "black.test") == 0)
        for (int i = 2; i <= 4; i++) {
            snprintf(text, sizeof text, "127.0.0.%d", i);
            add_address(packet, text);
        }
    else if (strcmp(name, "empty.test") != 0 && strncmp(name, "lie", 3) != 0)
        packet->bytes[3] |= RCODE_NXDOMAIN;
}

/* A wrong answer first, which nobody may believe. */
static void lie(struct fake_dns *dns, const struct packet *packet, const struct sockaddr_in *from)
{
    struct packet wrong = *packet;
    int fd = dns->udp;

    add_address(&wrong, "6.6.6.6");
    if (strcmp(packet->name, "lie-id.test") == 0)
        wrong.bytes[0] ^= 0x55;
    else if (strcmp(packet->name, "lie-port.test") == 0)
        fd = dns->stranger;
    else if (strcmp(packet->name, "lie-name.test") == 0)
        wrong.bytes[13] ^= 1;
    else if (strcmp(packet->name, "lie-noise.test") == 0)
        memset(wrong.bytes + 2, 0xff, wrong.size - 2);
    (void)sendto(fd, wrong.bytes, wrong.size, 0, (const struct sockaddr *)from, sizeof *from);
}

static void by_udp(struct fake_dns *dns)
{
    struct packet packet = {.size = 0};
    struct sockaddr_in from;
    socklen_t from_size = sizeof from;
    ssize_t n = recvfrom(dns->udp, packet.bytes, sizeof packet.bytes, 0, (struct sockaddr *)&from, &from_size);

    if (n < 12 || !understand(&packet, (size_t)n))
        return;
    atomic_fetch_add(&dns->asked, 1);
    if (strcmp(packet.name, "silent.test") == 0 ||
        (strcmp(packet.name, "halfsilent.test") == 0 && packet.type == TYPE_AAAA)) {
        atomic_fetch_add(&dns->silent, 1);
        return;
    }
    if (strncmp(packet.name, "lie", 3) == 0) {
        lie(dns, &packet, &from);
        add_address(&packet, "10.0.0.1");
    }
    answer_for(&packet, false);
    (void)sendto(dns->udp, packet.bytes, packet.size, 0, (struct sockaddr *)&from, sizeof from);
}

static void by_tcp(struct fake_dns *dns)
{
    struct packet packet = {.size = 0};
    unsigned char length[2];
    int fd = accept4(dns->tcp, NULL, NULL, SOCK_CLOEXEC);

    while (fd >= 0 && recv(fd, length, 2, MSG_WAITALL) == 2) {
        size_t size = (size_t)length[0] << 8 | length[1];

        memset(&packet, 0, sizeof packet);
        if (size > sizeof packet.bytes || recv(fd, packet.bytes, size, MSG_WAITALL) != (ssize_t)size ||
            !understand(&packet, size))
            break;
        answer_for(&packet, true);
        length[0] = (unsigned char)(packet.size >> 8);
        length[1] = (unsigned char)packet.size;
        if (send(fd, length, 2, MSG_NOSIGNAL | MSG_MORE) != 2 || send(fd, packet.bytes, packet.size, MSG_NOSIGNAL) < 0)
            break;
    }
    if (fd >= 0)
        close(fd);
}

static void *serve_names(void *arg)
{
    struct fake_dns *dns = arg;
    struct pollfd polls[] = {{dns->udp, POLLIN, 0}, {dns->tcp, POLLIN, 0}, {dns->stop[0], POLLIN, 0}};

    while (poll(polls, 3, -1) > 0 && !polls[2].revents) {
        if (polls[0].revents)
            by_udp(dns);
        if (polls[1].revents)
            by_tcp(dns);
    }
    return NULL;
}

static int socket_at(int type, struct sockaddr_in *at)
{
    socklen_t size = sizeof *at;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    if (fd >= 0 && (bind(fd, (struct sockaddr *)at, size) < 0 || getsockname(fd, (struct sockaddr *)at, &size) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void fake_dns_open(struct fake_dns *dns)
{
    struct sockaddr_in anywhere = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    memset(dns, 0, sizeof *dns);
    dns->tcp = -1;
    for (int tries = 0; dns->tcp < 0 && tries < 100; tries++) {  /* the port must be free for both */
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

        dns->udp = socket_at(SOCK_DGRAM, &at);
        dns->tcp = socket_at(SOCK_STREAM, &at);
        snprintf(dns->server, sizeof dns->server, "127.0.0.1:%d", ntohs(at.sin_port));
        if (dns->tcp < 0)
            close(dns->udp);
    }
    dns->stranger = socket_at(SOCK_DGRAM, &anywhere);
    assert_true(dns->tcp >= 0 && dns->stranger >= 0 && listen(dns->tcp, 10) == 0);
    assert_int_equal(pipe2(dns->stop, O_CLOEXEC), 0);
    assert_int_equal(pthread_create(&dns->thread, NULL, serve_names, dns), 0);
}

static void fake_dns_close(struct fake_dns *dns)
{
    close(dns->stop[1]);
    pthread_join(dns->thread, NULL);
    close(dns->stop[0]);
    close(dns->udp);
    close(dns->tcp);
    close(dns->stranger);
}

#endif
