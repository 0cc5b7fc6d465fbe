/* SPDX-License-Identifier: MIT */
/*
 * A neighbour: a plain child process that is sent bytes through a pipe or a socket and sends them back, with blocking calls and
 * large reads and writes, so that it costs no more than those must.
 */
#ifndef TANDEM_LAB_NEIGHBOUR_H
#define TANDEM_LAB_NEIGHBOUR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NEIGHBOUR_BYTES_MAX ((size_t)64 << 20)

struct neighbour {
    pid_t pid;
    int to, from;   /* -1: there is none */
};

/* Goes before the bytes, in one piece with them. */
struct neighbour_order {
    uint64_t size;
    uint64_t sum;  /* answer with their sum, instead of the bytes */
};

/* Both fork, so they belong before a loop runs. Return 0 or a negative errno. */
int neighbour_by_pipe(struct neighbour *neighbour);
int neighbour_by_socket(struct neighbour *neighbour);

/* Closes the ways and waits for its end. A later neighbour has copies of an earlier one's ends: part in the reverse order. */
void neighbour_part(struct neighbour *neighbour);

/*
 * Sends the bytes that follow *order in memory, and waits until they are back in their place, the first and the last
 * increased by one; or with `sum` for the sum alone, in *answer. Returns 0, or -EPIPE when the neighbour is gone.
 */
int neighbour_exchange(const struct neighbour *neighbour, struct neighbour_order *order, size_t size, bool sum, uint64_t *answer);

/* What is done with bytes, wherever they are: to sum them in words of eight, or to touch their ends. */
uint64_t bytes_sum(const unsigned char *bytes, size_t size);
void bytes_touch(unsigned char *bytes, size_t size);

#endif
