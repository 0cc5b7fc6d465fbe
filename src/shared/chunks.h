/* SPDX-License-Identifier: MIT */
/*
 * The chunks of 64 KiB that the arena's two files are cut into: which are taken, and which are backed by pages.
 *
 * Pages are reserved before a chunk is taken, so that a machine that is short of memory is an answer then, and no signal
 * later. All chunks are numbered through both files. There are twice as many in each as may be backed at a time (the
 * arena's limit): addresses cost nothing, and in a wide range there is nearly always a gap that is long enough.
 *
 * Nothing here locks.
 */
#ifndef TANDEM_SHARED_CHUNKS_H
#define TANDEM_SHARED_CHUNKS_H

#include "shared/region.h"
#include "shared/room.h"

#define CHUNK_NONE SIZE_MAX
#define ARENA_KEEP ((size_t)64 * 1024 * 1024)  /* bytes of pages that may lie idle, or a quarter of the limit if that is less */

struct chunks {
    struct arena_region regions[ARENA_REGIONS];
    struct room room;
    char *base;                  /* of the whole range */
    size_t size;
    uint64_t *taken, *backed;    /* a bit for each chunk */
    size_t per_region;
    size_t hint[ARENA_REGIONS];  /* no free chunk of the region lies below it */
    size_t top[ARENA_REGIONS];   /* its chunks at and above it were never taken */
    size_t limit;                /* chunks that may be backed */
    size_t keep;                 /* bytes of pages that may lie idle */
    size_t taken_count, backed_count;
    unsigned long long grown;    /* times pages were reserved */
    int refusal;                 /* why the last take got nothing: -EDQUOT (the limit), -EFBIG (no gap), or the kernel's */
};

/* `limit` bytes may be backed; 0: half of what the machine or the container has. Returns 0 or a negative errno. */
int chunks_open(struct chunks *chunks, size_t limit);
void chunks_close(struct chunks *chunks);

/* Takes `count` chunks in a row from a region. Returns the first one's number, or CHUNK_NONE. */
size_t chunks_take(struct chunks *chunks, int region, size_t count);
void chunks_give(struct chunks *chunks, size_t first, size_t count);

/* Gives back the pages of all chunks that are not taken. */
void chunks_trim(struct chunks *chunks);

#endif
