/* SPDX-License-Identifier: MIT */
/*
 * Blocks of output: immutable, counted, of one loop. One block can be in a thousand queues.
 */
#ifndef TANDEM_NET_BLOCK_H
#define TANDEM_NET_BLOCK_H

#include <stddef.h>

struct block {
    size_t refs;
    size_t size;
    unsigned char bytes[];
};

struct block *block_new(size_t size);  /* one reference; NULL when memory is short */
void block_release(struct block *block);  /* NULL is no block, and fine */

#endif
