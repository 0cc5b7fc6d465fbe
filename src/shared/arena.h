/* SPDX-License-Identifier: MIT */
/*
 * The shared arena: blocks of shared memory, counted and with owners. Where they lie is the heap's business.
 *
 * A block is the program's, with a count that td_shared_retain and td_shared_free move; or it is a pool's, reserved for
 * the output of a job. Either may be pinned by jobs. It is free when it has neither owner nor pins. One that is pinned
 * and nobody's is in quarantine: a worker may still write to it.
 *
 * All loops of a td_run and the threads of their pools share the arena, under one mutex.
 */
#ifndef TANDEM_SHARED_ARENA_H
#define TANDEM_SHARED_ARENA_H

#include <pthread.h>

#include "shared/heap.h"
#include "tandem/shared.h"

struct arena {
    pthread_mutex_t mutex;        /* several loops allocate, and the threads of pools */
    struct heap heap;
    td_shared_stats stats;
    size_t owned_blocks;
    uint32_t last_owner;
    bool refusal_logged;
    size_t refusal_used;          /* used_bytes then */
    unsigned forks;               /* of the process that owns it: a child may neither lock nor hand out its blocks */
};

/*
 * `limit` bytes at the most; 0: half of the machine's memory, or of the container's. Returns 0; or a negative errno,
 * after a log line.
 */
int arena_open(struct arena *arena, size_t limit);
void arena_close(struct arena *arena);

/* NULL when `size` is 0, and when the arena is full: then also a log line, one until a quarter of it was free again. */
void *arena_alloc(struct arena *arena, size_t size);
void arena_free(struct arena *arena, void *block);
void arena_retain(struct arena *arena, void *block);
bool arena_has(struct arena *arena, const void *at, size_t size);

/* Whether the address lies in the arena's range at all. No lock. */
bool arena_covers(const struct arena *arena, const void *at);

/*
 * Takes another count on the living block that covers [at, at + size): freed by the program meanwhile, it lives on in
 * quarantine until arena_unpin. Returns the block's bytes (its size class's) and its start in *block; 0 when no
 * single living block covers that. One lock, and no search: 15 ns, and as much for arena_unpin.
 */
size_t arena_pin(struct arena *arena, const void *at, size_t size, void **block);
void arena_unpin(struct arena *arena, void *block);

/* A number for a pool, never 0 and not used before. */
uint32_t arena_new_owner(struct arena *arena);

/*
 * A block for a job's output, in the region that strict workers may write to. It belongs to `owner` until it is given.
 * Returns NULL as arena_alloc.
 */
void *arena_reserve(struct arena *arena, size_t size, uint32_t owner);
void arena_give(struct arena *arena, void *block);       /* now it is the program's: td_shared_free frees it */
void arena_take_back(struct arena *arena, void *block);  /* frees a reserved block that was not given, when it is not pinned */

/* Frees whatever the owner still has (pinned blocks: when they are unpinned). Returns how many blocks that were. */
size_t arena_reclaim(struct arena *arena, uint32_t owner);

/* Logs how many blocks the program has not freed, if any. */
void arena_tell_left(struct arena *arena);

/* Its files, ARENA_MAIN and ARENA_OUTPUT, where they are mapped, and how long they are: the same from open to close. */
const struct arena_region *arena_region(const struct arena *arena, int which);

/*
 * The arena of the calling thread: its loop's, or the one its pool serves; NULL elsewhere, and in worker
 * processes and forked children.
 */
struct arena *arena_current(void);
void arena_adopt(struct arena *arena);

#endif
