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
 * Frees a block, or gives one count of it back; NULL is ignored. A pointer that is no living block's start aborts. A
 * forked child frees nothing.
 *
 * A block that a job still holds (it was offloaded, and its caller was answered early) lives on in quarantine until no worker
 * can touch it any more. It is gone for the program all the same.
 * Thread: as td_shared_alloc.
 */
void td_shared_free(void *block);

/*
 * Takes another count on a block: it is free when td_shared_free was called once more. For a block that several tasks
 * share, where any may be the last. A pointer that is no living block's start aborts; a forked child counts nothing.
 * Returns the block; NULL for NULL.  Thread: as td_shared_alloc.
 */
void *td_shared_retain(void *block);

/* Whether the whole of [at, at + size) lies inside one living block. Thread: as td_shared_alloc. */
bool td_shared_has(const void *at, size_t size);

/*
 * Where an address lies in the shared files, counted from the main file's start, for programs in other languages: see
 * docs/shared-memory.md. SIZE_MAX for other memory.  Thread: as td_shared_alloc.
 */
size_t td_shared_offset(const void *at);

typedef struct td_shared_stats {
    size_t used_bytes;          /* in living blocks, rounded up to their size class */
    size_t reserved_bytes;      /* backed by pages: those and what is kept for the next */
    size_t limit_bytes;         /* that may be backed by pages */
    size_t blocks;              /* living */
    size_t quarantined_bytes;   /* of used_bytes: freed by the program, and still held by jobs */
    size_t quarantined_blocks;
    size_t owned_bytes;         /* of used_bytes: reserved for outputs of jobs that have not returned */
    unsigned long long refusals;  /* allocations that got NULL because the arena was full */
    unsigned long long grown;     /* times pages were reserved */
} td_shared_stats;

/* Thread: as td_shared_alloc. Not a checkpoint. */
void td_shared_statistics(td_shared_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
