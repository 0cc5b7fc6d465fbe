/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A chunk with `object` set is taken, has `blocks`, `used` of which live, and is in its class's list exactly when
 * it has room. 2. Each chunk of a large block has `run` and `first` set, and is taken. 3. Of each class at most one
 * chunk in each region is empty, and that one is the first in its list.
 */
#include "shared/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SMALL_MAX (32u * 1024)

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

size_t heap_class_size(size_t size)
{
    return size > SMALL_MAX ? 0 : class_object(class_of(size));
}

static size_t table_bytes(const struct heap *heap)
{
    return ARENA_REGIONS * heap->pages.per_region * sizeof *heap->chunks;
}

int heap_open(struct heap *heap, size_t limit)
{
    int rc;

    memset(heap, 0, sizeof *heap);
    for (int i = 0; i < ARENA_REGIONS; i++)
        for (unsigned class = 0; class < HEAP_CLASSES; class++)
            list_init(&heap->partial[i][class]);
    rc = chunks_open(&heap->pages, limit);
    if (rc < 0)
        return rc;
    /* Not calloc: of the many entries few are ever touched, and calloc may clear them all (MALLOC_PERTURB_). */
    heap->chunks = mmap(NULL, table_bytes(heap), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (heap->chunks != MAP_FAILED)
        return 0;
    rc = -errno;
    chunks_close(&heap->pages);
    return rc;
}

void heap_close(struct heap *heap)
{
    for (int i = 0; i < ARENA_REGIONS; i++)
        for (size_t at = (size_t)i * heap->pages.per_region; at < heap->pages.top[i]; at++)
            free(heap->chunks[at].blocks);
    munmap(heap->chunks, table_bytes(heap));
    chunks_close(&heap->pages);
}

/* Gives back a chunk whose objects are all free. */
static void close_chunk(struct heap *heap, struct heap_chunk *chunk)
{
    list_remove(&chunk->link);
    free(chunk->blocks);
    chunk->blocks = NULL;
    chunk->object = 0;
    chunks_give(&heap->pages, (size_t)(chunk - heap->chunks), 1);
}

/* Gives back the empty chunk that each size class may keep. */
static void close_empty_chunks(struct heap *heap)
{
    for (int i = 0; i < ARENA_REGIONS; i++) {
        for (unsigned class = 0; class < HEAP_CLASSES; class++) {
            struct td_list *first = heap->partial[i][class].next;

            if (first != &heap->partial[i][class] && container_of(first, struct heap_chunk, link)->used == 0)
                close_chunk(heap, container_of(first, struct heap_chunk, link));
        }
    }
}

static size_t take_chunks(struct heap *heap, int region, size_t count)
{
    size_t first = chunks_take(&heap->pages, region, count);

    if (first != CHUNK_NONE)
        return first;
    close_empty_chunks(heap);
    return chunks_take(&heap->pages, region, count);
}

static bool take_large(struct heap *heap, int region, size_t size, struct place *place)
{
    size_t count = (size - 1) / ARENA_CHUNK + 1, first = take_chunks(heap, region, count);

    if (first == CHUNK_NONE)
        return false;
    for (size_t i = first; i < first + count; i++) {
        heap->chunks[i].first = (uint32_t)first;
        heap->chunks[i].run = (uint32_t)count;
    }
    *place = (struct place){&heap->chunks[first], &heap->chunks[first].whole, first * ARENA_CHUNK, count * ARENA_CHUNK};
    return true;
}

static struct heap_chunk *open_chunk(struct heap *heap, int region, unsigned class)
{
    size_t object = class_object(class), objects = ARENA_CHUNK / object, index;
    struct heap_block *blocks = malloc(objects * sizeof *blocks);
    struct heap_chunk *chunk;

    if (!blocks) {
        heap->pages.refusal = -ENOMEM;
        return NULL;
    }
    index = take_chunks(heap, region, 1);
    if (index == CHUNK_NONE) {
        free(blocks);
        return NULL;
    }
    for (size_t i = 0; i < objects; i++)
        blocks[i] = (struct heap_block){HEAP_FREE, (uint32_t)i + 1};
    chunk = &heap->chunks[index];
    chunk->blocks = blocks;
    chunk->object = (uint16_t)object;
    chunk->class = (uint8_t)class;
    chunk->region = (uint8_t)region;
    chunk->used = chunk->free_first = 0;
    list_init(&chunk->link);
    list_push_front(&heap->partial[region][class], &chunk->link);
    return chunk;
}

static bool take_small(struct heap *heap, int region, size_t size, struct place *place)
{
    unsigned class = class_of(size);
    struct td_list *partial = &heap->partial[region][class];
    struct heap_chunk *chunk;
    size_t at;

    chunk = list_empty(partial) ? open_chunk(heap, region, class) : container_of(partial->next, struct heap_chunk, link);
    if (!chunk)
        return false;
    at = chunk->free_first;
    chunk->free_first = (uint16_t)chunk->blocks[at].pins;
    if (++chunk->used == ARENA_CHUNK / chunk->object)
        list_remove(&chunk->link);
    *place = (struct place){chunk, &chunk->blocks[at], (size_t)(chunk - heap->chunks) * ARENA_CHUNK + at * chunk->object,
                            chunk->object};
    return true;
}

bool heap_take(struct heap *heap, int region, size_t size, struct place *place)
{
    return size <= SMALL_MAX ? take_small(heap, region, size, place) : take_large(heap, region, size, place);
}

bool heap_find(const struct heap *heap, size_t offset, struct place *place)
{
    size_t index = offset / ARENA_CHUNK, at;
    struct heap_chunk *chunk = &heap->chunks[index];

    if (chunk->object) {
        at = (uint32_t)(offset % ARENA_CHUNK) / (uint32_t)chunk->object;
        *place = (struct place){chunk, &chunk->blocks[at], index * ARENA_CHUNK + at * chunk->object, chunk->object};
        return at < ARENA_CHUNK / chunk->object && place->block->held != HEAP_FREE;
    }
    if (!chunk->run)
        return false;
    index = chunk->first;
    *place = (struct place){&heap->chunks[index], &heap->chunks[index].whole, index * ARENA_CHUNK, chunk->run * ARENA_CHUNK};
    return true;
}

void heap_give(struct heap *heap, const struct place *place)
{
    struct heap_chunk *chunk = place->chunk;
    struct td_list *partial;
    size_t count = chunk->run;

    if (!chunk->object) {
        for (size_t i = 0; i < count; i++)
            chunk[i].run = 0;
        chunks_give(&heap->pages, (size_t)(chunk - heap->chunks), count);
        return;
    }
    *place->block = (struct heap_block){HEAP_FREE, chunk->free_first};
    chunk->free_first = (uint16_t)(place->block - chunk->blocks);
    partial = &heap->partial[chunk->region][chunk->class];
    if (chunk->used-- == ARENA_CHUNK / chunk->object)
        list_push_back(partial, &chunk->link);
    /* The last chunk with room is kept, or a lone block freed and allocated in turn would churn chunks. */
    if (chunk->used == 0 && (chunk->link.next != partial || chunk->link.prev != partial))
        close_chunk(heap, chunk);
}
