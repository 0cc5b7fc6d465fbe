/* SPDX-License-Identifier: MIT */
/*
 * What a listener does when there is no descriptor for a connection.
 *
 * The connection would stay in the kernel's queue, and the listener ready, so a loop that goes on accepting spins, and one
 * that waits leaves its clients without an answer. So each listener holds a descriptor in reserve: it gives that up, accepts
 * with the place, says a few words, closes, and takes the reserve again.
 */
#ifndef TANDEM_NET_RESERVE_H
#define TANDEM_NET_RESERVE_H

#include <stddef.h>

#include "loop/loop.h"

struct reserve {
    int fd;                /* -1: it is lost, or there is none */
    bool simulated;        /* the network needs no descriptors */
    unsigned in_a_row;     /* turned away without a pause */
    td_time logged_at;
    const void *farewell;  /* what those hear that are turned away; may be NULL */
    size_t farewell_size;
    unsigned long long turned_away;
};

/* Takes a descriptor. Without one it goes on, and who comes waits until there is one. */
void reserve_open(struct reserve *reserve, struct loop *loop);
void reserve_close(struct reserve *reserve);

/*
 * Somebody is there, and accepting failed for want of a descriptor, -EMFILE or -ENFILE: turns the connection away, or waits for
 * a moment. For tasks; a checkpoint in the second case. `listener` does not block. Returns 0, or -ECANCELED.
 */
int reserve_use(struct reserve *reserve, int listener, const char *address, int why);

#endif
