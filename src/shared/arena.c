/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A chunk with `object` set is taken, has `blocks`, `used` of which live, and is in its class's list exactly when
 * it has room. 2. Each chunk of a large block has `run` and `first` set, and is taken. 3. A block lives while it is held or
 * pinned. 4. The statistics are sums over the living blocks: quarantined ones have held 0, owned ones have ARENA_OWNED.
 */
#include "shared/arena.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/forks.h"

#define LIMIT_MIN ((size_t)64 * 1024 * 1024)
#define SMALL_MAX (32u * 1024)
#define ARENA_OWNED UINT32_C(0x80000000)
#define ARENA_FREE UINT32_MAX
#define OWNER_MAX (ARENA_FREE - 1 - ARENA_OWNED)
#define COUNT_MAX (ARENA_OWNED - 1)

/* A living block. */
struct place {
    struct arena_chunk *chunk;
    struct arena_block *block;
    size_t offset, size;
};

/* Four steps a doubling: class 4k+s holds (4+s) << (k+4) bytes. */
static size_t class_bytes(unsigned class)
{
    return (size_t)(4 + class % 4) << (class / 4 + 4);
}

/* Of the classes that hold `size` bytes and are whole lines the smallest. */
static unsigned class_of(size_t size)
{
    unsigned doubling;

    size = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (size <= 64)
        return 0;
    doubling = 63 - (unsigned)__builtin_clzll(size - 1);  /* 2^doubling < size <= 2^(doubling + 1) */
    return 4 * (doubling - 6) + (unsigned)((size - 1) >> (doubling - 2)) - 3;
}

static size_t class_object(unsigned class)
{
    return (class_bytes(class) + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
}

size_t arena_class_size(size_t size)
{
    return size > SMALL_MAX ? 0 : class_object(class_of(size));
}

static size_t machine_half(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    return pages > 0 ? (size_t)pages * (size_t)page / 2 : LIMIT_MIN;
}

int arena_open(struct arena *arena, size_t limit)
{
    int rc;

    memset(arena, 0, sizeof *arena);
    arena->forks = forks_count();
    for (int i = 0; i < ARENA_REGIONS; i++)
        for (unsigned class = 0; class < ARENA_CLASSES; class++)
            list_init(&arena->partial[i][class]);
    rc = chunks_open(&arena->pages, limit ? limit : machine_half());
    if (rc == 0) {
        arena->chunks = calloc(ARENA_REGIONS * arena->pages.per_region, sizeof *arena->chunks);
        if (arena->chunks) {
            pthread_mutex_init(&arena->mutex, NULL);
            arena->stats.limit_bytes = arena->pages.limit * ARENA_CHUNK;
            return 0;
        }
        chunks_close(&arena->pages);
        rc = -ENOMEM;
    }
    td_log(TD_LOG_ERROR, "cannot set up shared memory: %s", strerrordesc_np(-rc));
    return rc;
}

void arena_close(struct arena *arena)
{
    for (int i = 0; i < ARENA_REGIONS; i++)
        for (size_t at = (size_t)i * arena->pages.per_region; at < arena->pages.top[i]; at++)
            free(arena->chunks[at].blocks);
    free(arena->chunks);
    chunks_close(&arena->pages);
    pthread_mutex_destroy(&arena->mutex);
}

/* Gives back a chunk whose objects are all free. */
static void close_chunk(struct arena *arena, struct arena_chunk *chunk)
{
    list_remove(&chunk->link);
    free(chunk->blocks);
    chunk->blocks = NULL;
    chunk->object = 0;
    chunks_give(&arena->pages, (size_t)(chunk - arena->chunks), 1);
}

/* Gives back the empty chunk that each size class may keep. */
static void close_empty_chunks(struct arena *arena)
{
    for (int i = 0; i < ARENA_REGIONS; i++) {
        for (unsigned class = 0; class < ARENA_CLASSES; class++) {
            struct td_list *first = arena->partial[i][class].next;

            if (first != &arena->partial[i][class] && container_of(first, struct arena_chunk, link)->used == 0)
                close_chunk(arena, container_of(first, struct arena_chunk, link));
        }
    }
}

static size_t take_chunks(struct arena *arena, int region, size_t count)
{
    size_t first = chunks_take(&arena->pages, region, count);

    if (first != CHUNK_NONE)
        return first;
    close_empty_chunks(arena);
    return chunks_take(&arena->pages, region, count);
}

static bool alloc_large(struct arena *arena, int region, size_t size, struct place *place)
{
    size_t count = (size - 1) / ARENA_CHUNK + 1, first = take_chunks(arena, region, count);

    if (first == CHUNK_NONE)
        return false;
    for (size_t i = first; i < first + count; i++) {
        arena->chunks[i].first = (uint32_t)first;
        arena->chunks[i].run = (uint32_t)count;
    }
    *place = (struct place){&arena->chunks[first], &arena->chunks[first].whole, first * ARENA_CHUNK, count * ARENA_CHUNK};
    return true;
}

static struct arena_chunk *open_chunk(struct arena *arena, int region, unsigned class)
{
    size_t object = class_object(class), objects = ARENA_CHUNK / object, index;
    struct arena_block *blocks = malloc(objects * sizeof *blocks);
    struct arena_chunk *chunk;

    if (!blocks) {
        arena->pages.refusal = -ENOMEM;
        return NULL;
    }
    index = take_chunks(arena, region, 1);
    if (index == CHUNK_NONE) {
        free(blocks);
        return NULL;
    }
    for (size_t i = 0; i < objects; i++)
        blocks[i] = (struct arena_block){ARENA_FREE, (uint32_t)i + 1};
    chunk = &arena->chunks[index];
    chunk->blocks = blocks;
    chunk->object = (uint16_t)object;
    chunk->class = (uint8_t)class;
    chunk->region = (uint8_t)region;
    chunk->used = chunk->free_first = 0;
    list_init(&chunk->link);
    list_push_front(&arena->partial[region][class], &chunk->link);
    return chunk;
}

static bool alloc_small(struct arena *arena, int region, size_t size, struct place *place)
{
    unsigned class = class_of(size);
    struct td_list *partial = &arena->partial[region][class];
    struct arena_chunk *chunk;
    size_t at;

    chunk = list_empty(partial) ? open_chunk(arena, region, class) : container_of(partial->next, struct arena_chunk, link);
    if (!chunk)
        return false;
    at = chunk->free_first;
    chunk->free_first = (uint16_t)chunk->blocks[at].pins;
    if (++chunk->used == ARENA_CHUNK / chunk->object)
        list_remove(&chunk->link);
    *place = (struct place){chunk, &chunk->blocks[at], (size_t)(chunk - arena->chunks) * ARENA_CHUNK + at * chunk->object,
                            chunk->object};
    return true;
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

static void *alloc(struct arena *arena, int region, size_t size, uint32_t held)
{
    struct place place;
    void *at = NULL;

    if (size == 0)
        return NULL;
    pthread_mutex_lock(&arena->mutex);
    if (size <= SMALL_MAX ? alloc_small(arena, region, size, &place) : alloc_large(arena, region, size, &place)) {
        *place.block = (struct arena_block){.held = held};
        arena->stats.used_bytes += place.size;
        arena->stats.blocks++;
        if (held & ARENA_OWNED) {
            arena->stats.owned_bytes += place.size;
            arena->owned_blocks++;
        }
        arena->refusal_logged = false;
        at = arena->pages.base + place.offset;
    } else {
        arena->stats.refusals++;
        if (!arena->refusal_logged)
            td_log(TD_LOG_WARNING, "shared memory is full: %zu bytes wanted, %zu of %zu in use; %s", size,
                   arena->stats.used_bytes, arena->stats.limit_bytes, why(arena->pages.refusal));
        arena->refusal_logged = true;  /* once until it works again */
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
    return alloc(arena, ARENA_OUTPUT, size, ARENA_OWNED | owner);
}

/* The living block that covers the offset. */
static bool find(const struct arena *arena, size_t offset, struct place *place)
{
    size_t index = offset / ARENA_CHUNK, at;
    struct arena_chunk *chunk = &arena->chunks[index];

    if (chunk->object) {
        at = (uint32_t)(offset % ARENA_CHUNK) / (uint32_t)chunk->object;
        *place = (struct place){chunk, &chunk->blocks[at], index * ARENA_CHUNK + at * chunk->object, chunk->object};
        return at < ARENA_CHUNK / chunk->object && place->block->held != ARENA_FREE;
    }
    if (!chunk->run)
        return false;
    index = chunk->first;
    *place = (struct place){&arena->chunks[index], &arena->chunks[index].whole, index * ARENA_CHUNK, chunk->run * ARENA_CHUNK};
    return true;
}

/* The block at its start, with the lock held; whoever has another address has made a mistake. */
static struct place find_start(struct arena *arena, const void *at, const char *caller)
{
    size_t offset = (size_t)((const char *)at - arena->pages.base);
    struct place place;

    if (offset >= arena->pages.size || !find(arena, offset, &place) || place.offset != offset)
        fail("%s: %p is not the start of a living block; it was freed before, or never allocated", caller, at);
    return place;
}

/* Invariant 3: nobody holds or pins it any more. */
static void release(struct arena *arena, const struct place *place)
{
    struct arena_chunk *chunk = place->chunk;
    struct td_list *partial;
    size_t count = chunk->run;

    arena->stats.used_bytes -= place->size;
    arena->stats.blocks--;
    if (!chunk->object) {
        for (size_t i = 0; i < count; i++)
            chunk[i].run = 0;
        chunks_give(&arena->pages, (size_t)(chunk - arena->chunks), count);
        return;
    }
    *place->block = (struct arena_block){ARENA_FREE, chunk->free_first};
    chunk->free_first = (uint16_t)(place->block - chunk->blocks);
    partial = &arena->partial[chunk->region][chunk->class];
    if (chunk->used-- == ARENA_CHUNK / chunk->object)
        list_push_back(partial, &chunk->link);
    /* The last chunk with room is kept, or a lone block freed and allocated in turn would churn chunks. */
    if (chunk->used == 0 && (chunk->link.next != partial || chunk->link.prev != partial))
        close_chunk(arena, chunk);
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
    if (place.block->held & ARENA_OWNED)
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
    if (place.block->held & ARENA_OWNED)
        fail("td_shared_retain: %p is reserved for a job's output; it is the caller's when the job has returned", block);
    if (place.block->held == COUNT_MAX)
        fail("td_shared_retain: %p has been retained two thousand million times", block);
    if (place.block->held++ == 0)  /* a job of a thread pool keeps what its caller gave up meanwhile */
        leave_quarantine(arena, &place);
    pthread_mutex_unlock(&arena->mutex);
}

bool arena_has(struct arena *arena, const void *at, size_t size)
{
    size_t offset = (size_t)((const char *)at - arena->pages.base);
    struct place place;
    bool has;

    if (offset >= arena->pages.size)
        return false;
    pthread_mutex_lock(&arena->mutex);
    has = find(arena, offset, &place) && size <= place.offset + place.size - offset;
    pthread_mutex_unlock(&arena->mutex);
    return has;
}

bool arena_covers(const struct arena *arena, const void *at)
{
    return (size_t)((const char *)at - arena->pages.base) < arena->pages.size;
}

size_t arena_pin(struct arena *arena, const void *at, size_t size, void **block)
{
    size_t offset = (size_t)((const char *)at - arena->pages.base), bytes = 0;
    struct place place;

    if (offset >= arena->pages.size)
        return 0;
    pthread_mutex_lock(&arena->mutex);
    if (find(arena, offset, &place) && size <= place.offset + place.size - offset) {
        place.block->pins++;
        *block = arena->pages.base + place.offset;
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
    assert(place.block->held & ARENA_OWNED);
    leave_owner(arena, &place);
    place.block->held = 1;
    pthread_mutex_unlock(&arena->mutex);
}

void arena_take_back(struct arena *arena, void *block)
{
    struct place place;

    pthread_mutex_lock(&arena->mutex);
    place = find_start(arena, block, "arena_take_back");
    assert(place.block->held & ARENA_OWNED);
    leave_owner(arena, &place);
    let_go(arena, &place);
    pthread_mutex_unlock(&arena->mutex);
}

/* Takes back the owner's blocks in one chunk, which the last of them may close. */
static size_t reclaim_chunk(struct arena *arena, size_t index, uint32_t owner)
{
    struct arena_chunk *chunk = &arena->chunks[index];
    size_t step = chunk->object ? chunk->object : ARENA_CHUNK, count = 0;

    for (size_t at = 0; at + step <= ARENA_CHUNK && (chunk->object || chunk->run); at += step) {
        struct place place;

        if (!find(arena, index * ARENA_CHUNK + at, &place) || place.block->held != (ARENA_OWNED | owner))
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
    for (at = arena->pages.per_region; arena->owned_blocks > 0 && at < arena->pages.top[ARENA_OUTPUT]; at++)
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
