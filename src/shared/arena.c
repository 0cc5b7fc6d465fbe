/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A block lives while it is held or pinned. 2. The statistics are sums over the living blocks: those in quarantine
 * have held 0, owned ones have OWNED set.
 */
#include "shared/arena.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/fail.h"
#include "base/forks.h"

#define OWNED UINT32_C(0x80000000)          /* in `held`: the rest is the owner */
#define OWNER_MAX (HEAP_FREE - 1 - OWNED)
#define COUNT_MAX (OWNED - 1)               /* in `held` otherwise: the program's count */

int arena_open(struct arena *arena, size_t limit)
{
    int rc;

    memset(arena, 0, sizeof *arena);
    arena->forks = forks_count();
    rc = heap_open(&arena->heap, limit);
    if (rc < 0) {
        td_log(TD_LOG_ERROR, "cannot set up shared memory: %s", strerrordesc_np(-rc));
        return rc;
    }
    pthread_mutex_init(&arena->mutex, NULL);
    arena->stats.limit_bytes = arena->heap.pages.limit * ARENA_CHUNK;
    return 0;
}

void arena_close(struct arena *arena)
{
    heap_close(&arena->heap);
    pthread_mutex_destroy(&arena->mutex);
}

static const char *why(int refusal)
{
    switch (refusal) {
    case -EDQUOT:
        return "raise shared_bytes_max";
    case -EFBIG:
        return "no gap is long enough, raise shared_bytes_max";
    default:
        return "the machine, or the container, has no more memory";
    }
}

/* Once until it was better for a while: an arena that stays nearly full refuses often. */
static void tell_refusal(struct arena *arena, size_t size)
{
    const td_shared_stats *stats = &arena->stats;

    arena->stats.refusals++;
    if (arena->refusal_logged)
        return;
    arena->refusal_logged = true;
    arena->refusal_used = stats->used_bytes;
    td_log(TD_LOG_WARNING, "shared memory is full: %zu bytes wanted, %zu of %zu in use; %s", size, stats->used_bytes,
           stats->limit_bytes, why(arena->heap.pages.refusal));
}

static void *alloc(struct arena *arena, int region, size_t size, uint32_t held)
{
    struct place place;
    void *at = NULL;

    if (size == 0)
        return NULL;
    pthread_mutex_lock(&arena->mutex);
    if (heap_take(&arena->heap, region, size, &place)) {
        *place.block = (struct heap_block){.held = held};
        arena->stats.used_bytes += place.size;
        arena->stats.blocks++;
        if (held & OWNED) {
            arena->stats.owned_bytes += place.size;
            arena->owned_blocks++;
        }
        if (arena->stats.used_bytes - place.size <= arena->refusal_used / 4 * 3)
            arena->refusal_logged = false;
        at = arena->heap.pages.base + place.offset;
    } else {
        tell_refusal(arena, size);
    }
    pthread_mutex_unlock(&arena->mutex);
    return at;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    return alloc(arena, ARENA_MAIN, size, 1);
}

void *arena_reserve(struct arena *arena, size_t size, uint32_t owner)
{
    return alloc(arena, ARENA_OUTPUT, size, OWNED | owner);
}

/* The block at its start, with the lock held; whoever has another address has made a mistake. */
static struct place find_start(struct arena *arena, const void *at, const char *caller)
{
    size_t offset = (size_t)((const char *)at - arena->heap.pages.base);
    struct place place;

    if (offset >= arena->heap.pages.size || !heap_find(&arena->heap, offset, &place) || place.offset != offset)
        fail("%s: %p is not the start of a living block; it was freed before, or never allocated", caller, at);
    return place;
}

static void release(struct arena *arena, const struct place *place)
{
    arena->stats.used_bytes -= place->size;
    arena->stats.blocks--;
    heap_give(&arena->heap, place);
}

/* Nobody holds it any more; jobs may. */
static void let_go(struct arena *arena, const struct place *place)
{
    place->block->held = 0;
    if (place->block->pins == 0) {
        release(arena, place);
        return;
    }
    arena->stats.quarantined_bytes += place->size;
    arena->stats.quarantined_blocks++;
}

static void leave_quarantine(struct arena *arena, const struct place *place)
{
    arena->stats.quarantined_bytes -= place->size;
    arena->stats.quarantined_blocks--;
}

static void leave_owner(struct arena *arena, const struct place *place)
{
    arena->stats.owned_bytes -= place->size;
    arena->owned_blocks--;
}

void arena_free(struct arena *arena, void *block)
{
    struct place place;

    if (!block)
        return;
    pthread_mutex_lock(&arena->mutex);
    place = find_start(arena, block, "td_shared_free");
    if (place.block->held & OWNED)
        fail("td_shared_free: %p is reserved for a job's output; it is the caller's when the job has returned", block);
    if (place.block->held == 0)
        fail("td_shared_free: %p was freed before; only jobs hold it still", block);
    if (--place.block->held == 0)
        let_go(arena, &place);
    pthread_mutex_unlock(&arena->mutex);
}

void arena_retain(struct arena *arena, void *block)
{
    struct place place;

    pthread_mutex_lock(&arena->mutex);
    place = find_start(arena, block, "td_shared_retain");
    if (place.block->held & OWNED)
        fail("td_shared_retain: %p is reserved for a job's output; it is the caller's when the job has returned", block);
    if (place.block->held == COUNT_MAX)
        fail("td_shared_retain: %p has been retained two thousand million times", block);
    if (place.block->held++ == 0)  /* a job of a thread pool keeps what its caller gave up meanwhile */
        leave_quarantine(arena, &place);
    pthread_mutex_unlock(&arena->mutex);
}

bool arena_has(struct arena *arena, const void *at, size_t size)
{
    size_t offset = (size_t)((const char *)at - arena->heap.pages.base);
    struct place place;
    bool has;

    if (offset >= arena->heap.pages.size)
        return false;
    pthread_mutex_lock(&arena->mutex);
    has = heap_find(&arena->heap, offset, &place) && size <= place.offset + place.size - offset;
    pthread_mutex_unlock(&arena->mutex);
    return has;
}

const struct arena_region *arena_region(const struct arena *arena, int which)
{
    return &arena->heap.pages.regions[which];
}

bool arena_covers(const struct arena *arena, const void *at)
{
    return (size_t)((const char *)at - arena->heap.pages.base) < arena->heap.pages.size;
}

size_t arena_pin(struct arena *arena, const void *at, size_t size, void **block)
{
    size_t offset = (size_t)((const char *)at - arena->heap.pages.base), bytes = 0;
    struct place place;

    if (offset >= arena->heap.pages.size)
        return 0;
    pthread_mutex_lock(&arena->mutex);
    if (heap_find(&arena->heap, offset, &place) && place.block->held && size <= place.offset + place.size - offset) {
        place.block->pins++;
        *block = arena->heap.pages.base + place.offset;
        bytes = place.size;
    }
    pthread_mutex_unlock(&arena->mutex);
    return bytes;
}

void arena_unpin(struct arena *arena, void *block)
{
    struct place place;

    pthread_mutex_lock(&arena->mutex);
    place = find_start(arena, block, "arena_unpin");
    assert(place.block->pins > 0);
    if (--place.block->pins == 0 && place.block->held == 0) {
        leave_quarantine(arena, &place);
        release(arena, &place);
    }
    pthread_mutex_unlock(&arena->mutex);
}

uint32_t arena_new_owner(struct arena *arena)
{
    uint32_t owner;

    pthread_mutex_lock(&arena->mutex);
    owner = arena->last_owner = arena->last_owner == OWNER_MAX ? 1 : arena->last_owner + 1;
    pthread_mutex_unlock(&arena->mutex);
    return owner;
}

void arena_give(struct arena *arena, void *block)
{
    struct place place;

    pthread_mutex_lock(&arena->mutex);
    place = find_start(arena, block, "arena_give");
    assert(place.block->held & OWNED);
    leave_owner(arena, &place);
    place.block->held = 1;
    pthread_mutex_unlock(&arena->mutex);
}

void arena_take_back(struct arena *arena, void *block)
{
    struct place place;

    pthread_mutex_lock(&arena->mutex);
    place = find_start(arena, block, "arena_take_back");
    assert(place.block->held & OWNED);
    leave_owner(arena, &place);
    let_go(arena, &place);
    pthread_mutex_unlock(&arena->mutex);
}

/* Takes back the owner's blocks in one chunk, which the last of them may close. */
static size_t reclaim_chunk(struct arena *arena, size_t index, uint32_t owner)
{
    struct heap_chunk *chunk = &arena->heap.chunks[index];
    size_t step = chunk->object ? chunk->object : ARENA_CHUNK, count = 0;

    for (size_t at = 0; at + step <= ARENA_CHUNK && (chunk->object || chunk->run); at += step) {
        struct place place;

        if (!heap_find(&arena->heap, index * ARENA_CHUNK + at, &place) || place.block->held != (OWNED | owner))
            continue;
        leave_owner(arena, &place);
        let_go(arena, &place);
        count++;
    }
    return count;
}

size_t arena_reclaim(struct arena *arena, uint32_t owner)
{
    size_t count = 0, at;

    pthread_mutex_lock(&arena->mutex);
    for (at = arena->heap.pages.per_region; arena->owned_blocks > 0 && at < arena->heap.pages.top[ARENA_OUTPUT]; at++)
        count += reclaim_chunk(arena, at, owner);
    pthread_mutex_unlock(&arena->mutex);
    return count;
}

void arena_tell_left(struct arena *arena)
{
    if (arena->stats.blocks > 0)
        td_log(TD_LOG_INFO, "%zu blocks of shared memory were never freed, %zu bytes", arena->stats.blocks,
               arena->stats.used_bytes);
}
