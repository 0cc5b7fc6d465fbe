/* SPDX-License-Identifier: MIT */
/*
 * Shared memory: one arena that every worker process maps at the same address, so that a job's data is handed over
 * by its pointer and never copied.
 *
 * Blocks are allocated and freed by the program that runs the loop, from its tasks or its pools' threads; a worker
 * process may read and write what it is handed, but not allocate, nor may a forked child. Blocks never touch each
 * other within 64 bytes. All loops of a td_run share the arena, and any of them may free what another allocated.
 */
#ifndef TANDEM_SHARED_H
#define TANDEM_SHARED_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Allocates `size` bytes, or n * size bytes set to zero; aligned to 64 bytes. Returns NULL when the arena is full
 * (its limit, or the machine's memory: pages are reserved before they are handed out, so that there is no SIGBUS
 * later), when size is 0, in a worker process, and in a forked child.
 *
 * Not a checkpoint.  Thread: tasks, and jobs of a thread pool.
 */
void *td_shared_alloc(size_t size);
void *td_shared_calloc(size_t n, size_t size);

/*
 * Frees a block; NULL is ignored. A pointer that is no block's start aborts. A forked child frees nothing.
 * Thread: as td_shared_alloc.
 */
void td_shared_free(void *block);

/* Whether the whole of [at, at + size) lies inside one living block. Thread: as td_shared_alloc. */
bool td_shared_has(const void *at, size_t size);

typedef struct td_shared_stats {
    size_t used_bytes;      /* in living blocks, rounded up to their size class */
    size_t reserved_bytes;  /* backed by pages */
    size_t limit_bytes;
    size_t blocks;
} td_shared_stats;

/* Thread: as td_shared_alloc. Not a checkpoint. */
void td_shared_statistics(td_shared_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
