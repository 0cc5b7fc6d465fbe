/* SPDX-License-Identifier: MIT */
/*
 * The shared arena: one sealed memory file, mapped once before the first fork.
 *
 * The file is cut into chunks of 64 KiB. A chunk holds objects of one size class, or belongs to a run of chunks
 * that is one large block. All this is known to the owner alone, in private memory: a worker that scribbles over
 * the arena can spoil data, never the allocator. Pages are reserved with fallocate before a chunk is first used. A
 * freed large block's pages are given back once more than ARENA_KEEP bytes would lie idle.
 *
 * All loops of a td_run and the threads of their pools share it, under one mutex. Without contention that costs 110 of the
 * 390 instructions that a block of 256 bytes takes to be allocated and freed (callgrind).
 */
#ifndef TANDEM_SHARED_ARENA_H
#define TANDEM_SHARED_ARENA_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "tandem/shared.h"

#define ARENA_CHUNK (64u * 1024)
#define ARENA_CLASSES 37          /* 64 bytes to 32 KiB, four steps a doubling */
#define ARENA_ALIGN 64
#define ARENA_KEEP ((size_t)64 * 1024 * 1024)

struct arena_chunk {
    struct td_list link;          /* small: in its class's list while it has room */
    uint32_t run;                 /* large: chunks of the block, at its first chunk; 0 elsewhere */
    uint16_t used;                /* small: objects alive */
    uint8_t class;                /* small: size class + 1; 0: free or large */
    bool taken, reserved;
    uint64_t *bitmap;             /* small: one bit an object, set when alive */
};

struct arena {
    pthread_mutex_t mutex;        /* several loops allocate, and the threads of pools */
    int fd;
    char *base;
    size_t size;
    struct arena_chunk *chunks;
    size_t chunk_count;
    size_t chunk_top;             /* chunks at and above it were never used */
    size_t free_hint;             /* no free chunk lies below it */
    struct td_list partial[ARENA_CLASSES];
    td_shared_stats stats;
    bool refusal_logged;
    unsigned forks;               /* of the process that owns it: a child may neither lock nor hand out its blocks */
};

/* `limit` bytes at the most; 0 is half of the machine's memory. Returns 0 or a negative errno, after a log line. */
int arena_open(struct arena *arena, size_t limit);
void arena_close(struct arena *arena);

void *arena_alloc(struct arena *arena, size_t size);
void arena_free(struct arena *arena, void *block);
bool arena_has(struct arena *arena, const void *at, size_t size);

/*
 * The arena of the calling thread: its loop's, or the one its pool serves; NULL elsewhere, and in worker
 * processes and forked children.
 */
struct arena *arena_current(void);
void arena_adopt(struct arena *arena);

/* Bytes of the size class that holds `size`; 0 when it needs whole chunks. */
size_t arena_class_size(size_t size);

#endif
