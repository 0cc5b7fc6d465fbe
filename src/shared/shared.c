/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/fail.h"
#include "base/forks.h"
#include "shared/arena.h"

/* tidy: allow, because td_shared_alloc takes no argument that could say whose arena is meant */
static _Thread_local struct arena *this_arena;

struct arena *arena_current(void)
{
    return this_arena && this_arena->forks == forks_count() ? this_arena : NULL;
}

void arena_adopt(struct arena *arena)
{
    this_arena = arena;
}

void *td_shared_alloc(size_t size)
{
    struct arena *arena = arena_current();

    if (arena)
        return arena_alloc(arena, size);
    td_log(TD_LOG_WARNING, "td_shared_alloc answers NULL outside a running loop and its thread pools, in worker "
           "processes, and in forked children: allocate before td_offload");
    return NULL;
}

void *td_shared_calloc(size_t n, size_t size)
{
    size_t bytes;
    void *block;

    if (__builtin_mul_overflow(n, size, &bytes))
        return NULL;
    block = td_shared_alloc(bytes);
    return block ? memset(block, 0, bytes) : NULL;
}

void td_shared_free(void *block)
{
    if (!block || (this_arena && !arena_current()))  /* a forked child: the block is the parent's */
        return;
    if (!this_arena)
        fail("td_shared_free was called outside a running loop and its thread pools; free where you allocate");
    arena_free(this_arena, block);
}

void *td_shared_retain(void *block)
{
    if (!block || (this_arena && !arena_current()))
        return block;
    if (!this_arena)
        fail("td_shared_retain was called outside a running loop and its thread pools; retain where you allocate");
    arena_retain(this_arena, block);
    return block;
}

size_t td_shared_offset(const void *at)
{
    struct arena *arena = arena_current();

    return arena && arena_covers(arena, at) ? (size_t)((const char *)at - arena->heap.pages.base) : SIZE_MAX;
}

bool td_shared_has(const void *at, size_t size)
{
    struct arena *arena = arena_current();

    return arena && arena_has(arena, at, size);
}

void td_shared_statistics(td_shared_stats *stats)
{
    struct arena *arena = arena_current();

    *stats = (td_shared_stats){0};
    if (!arena)
        return;
    pthread_mutex_lock(&arena->mutex);
    *stats = arena->stats;
    stats->reserved_bytes = arena->heap.pages.backed_count * ARENA_CHUNK;
    stats->grown = arena->heap.pages.grown;
    pthread_mutex_unlock(&arena->mutex);
}
