/* SPDX-License-Identifier: MIT */
#include "net/block.h"

#include <stdint.h>
#include <stdlib.h>

struct block *block_new(size_t size)
{
    struct block *block = size <= SIZE_MAX / 2 ? malloc(sizeof *block + size) : NULL;

    if (!block)
        return NULL;
    block->refs = 1;
    block->size = size;
    return block;
}

void block_release(struct block *block)
{
    if (block && --block->refs == 0)
        free(block);
}
