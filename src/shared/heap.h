/* SPDX-License-Identifier: MIT */
/*
 * Blocks in chunks: where they lie, and what is known of each.
 *
 * A chunk (shared/chunks.h) holds objects of one size class, or belongs to a run of chunks that is one large block. All
 * that is known about blocks is in private memory: a worker that scribbles over the arena can spoil data, never the
 * allocator. Nothing here locks.
 */
#ifndef TANDEM_SHARED_HEAP_H
#define TANDEM_SHARED_HEAP_H

#include "base/list.h"
#include "shared/chunks.h"

#define HEAP_CLASSES 37           /* 64 bytes to 32 KiB, four steps a doubling */
#define HEAP_FREE UINT32_MAX      /* in `held` of an object */

/* What `held` means is the arena's business, but for HEAP_FREE. */
struct heap_block {
    uint32_t held;
    uint32_t pins;                /* of a free object: the next free one in its chunk */
};

struct heap_chunk {
    struct td_list link;          /* small: in its class's list while it has room */
    struct heap_block *blocks;    /* small: of each object */
    struct heap_block whole;      /* large: at its first chunk */
    uint32_t first, run;          /* large: the number of its first chunk, and how many there are, in each of them */
    uint16_t object;              /* small: bytes of one; 0: large, or free */
    uint16_t used, free_first;    /* small: living objects; a free one */
    uint8_t class, region;        /* small */
};

struct heap {
    struct chunks pages;
    struct heap_chunk *chunks;
    struct td_list partial[ARENA_REGIONS][HEAP_CLASSES];
};

/* A living block, by its offset from the start of the range. */
struct place {
    struct heap_chunk *chunk;
    struct heap_block *block;
    size_t offset, size;
};

/* As chunks_open. */
int heap_open(struct heap *heap, size_t limit);
void heap_close(struct heap *heap);

/* Takes a block of at least `size` bytes, not 0; the caller sets its `held`. False: full, and pages.refusal says why. */
bool heap_take(struct heap *heap, int region, size_t size, struct place *place);

/* The living block that covers an offset in the range. False: none does. */
bool heap_find(const struct heap *heap, size_t offset, struct place *place);

void heap_give(struct heap *heap, const struct place *place);

/* Bytes of the size class that holds `size`; 0 when it needs whole chunks. */
size_t heap_class_size(size_t size);

#endif
