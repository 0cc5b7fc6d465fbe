/* SPDX-License-Identifier: MIT */
/*
 * Two ends of one connection over loopback, and bytes that are known by their place.
 */
#ifndef TANDEM_TESTS_NET_PAIR_H
#define TANDEM_TESTS_NET_PAIR_H

#include "run/harness.h"

struct pair {
    td_listener *listener;
    td_stream *near, *far;
};

UNUSED static bool pair_open(struct pair *pair)
{
    memset(pair, 0, sizeof *pair);
    return expect_int(td_listen(&pair->listener, "127.0.0.1:0", NULL), 0) &&
           expect_int(td_connect(&pair->near, td_listener_address(pair->listener)), 0) &&
           expect_int(td_accept(pair->listener, &pair->far), 0);
}

UNUSED static void pair_close(struct pair *pair)
{
    if (pair->near)
        td_stream_close(pair->near);
    if (pair->far)
        td_stream_close(pair->far);
    td_listener_close(pair->listener);
}

/* The byte at a place of the stream: no shift or gap goes unnoticed. */
UNUSED static unsigned char byte_at(size_t place)
{
    uint64_t z = (place + 1) * 0x9E3779B97F4A7C15u;

    return (unsigned char)(z >> 56);
}

UNUSED static void fill(unsigned char *bytes, size_t size, size_t place)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(place + i);
}

UNUSED static bool intact(const unsigned char *bytes, size_t size, size_t place)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte_at(place + i))
            return false;
    return true;
}

#endif
