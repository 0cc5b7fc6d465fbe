/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A chunk with `class` set is taken, has a bitmap with `used` bits set, and is in its class's list
 * exactly when it has room. 2. A large block's first chunk has `run` set, all its chunks are taken. 3. Only
 * reserved chunks are handed out.
 */
#include "shared/arena.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/forks.h"

#define LIMIT_MIN ((size_t)64 * 1024 * 1024)
#define SMALL_MAX (32u * 1024)
#define CHUNK_NONE SIZE_MAX

/* Four steps a doubling: class 4k+s holds (4+s) << (k+4) bytes. */
static size_t class_bytes(unsigned class)
{
    return (size_t)(4 + class % 4) << (class / 4 + 4);
}

static unsigned class_of(size_t size)
{
    unsigned class = 0;

    while (class_bytes(class) < size)
        class++;
    return class;
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

/* A signal may interrupt either; a timer of the program's own is no reason to be without shared memory. */
static int set_size(int fd, size_t size)
{
    int rc;

    do
        rc = ftruncate(fd, (off_t)size);
    while (rc < 0 && errno == EINTR);
    return rc;
}

static int change_pages(const struct arena *arena, int mode, size_t first, size_t count)
{
    int rc;

    do
        rc = fallocate(arena->fd, mode, (off_t)(first * ARENA_CHUNK), (off_t)(count * ARENA_CHUNK));
    while (rc < 0 && errno == EINTR);
    return rc;
}

/* One address range for all: a limit on address space (ulimit -v) may ask for a smaller one than we would like. */
static int map_file(struct arena *arena, size_t size)
{
    for (;; size /= 2) {
        size = size / ARENA_CHUNK * ARENA_CHUNK;
        if (set_size(arena->fd, size) < 0)
            return -errno;
        arena->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, arena->fd, 0);
        if (arena->base != MAP_FAILED)
            break;
        if (size <= LIMIT_MIN)
            return -errno;
    }
    arena->size = size;
    /* Nobody can shrink the file under a mapping now (that would be SIGBUS). */
    if (fcntl(arena->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int rc = -errno;

        munmap(arena->base, size);
        return rc;
    }
    return 0;
}

int arena_open(struct arena *arena, size_t limit)
{
    int rc;

    memset(arena, 0, sizeof *arena);
    arena->forks = forks_count();
    pthread_mutex_init(&arena->mutex, NULL);
    for (unsigned i = 0; i < ARENA_CLASSES; i++)
        list_init(&arena->partial[i]);
    arena->fd = memfd_create("tandem-shared", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (arena->fd < 0) {
        rc = -errno;
        goto refuse;
    }
    limit = limit ? limit : machine_half();
    rc = map_file(arena, limit < ARENA_CHUNK ? ARENA_CHUNK : limit);
    if (rc < 0)
        goto close_file;
    arena->chunk_count = arena->size / ARENA_CHUNK;
    arena->chunks = calloc(arena->chunk_count, sizeof *arena->chunks);
    if (!arena->chunks) {
        rc = -ENOMEM;
        goto unmap;
    }
    arena->stats.limit_bytes = arena->size;
    return 0;

unmap:
    munmap(arena->base, arena->size);
close_file:
    close(arena->fd);
refuse:
    pthread_mutex_destroy(&arena->mutex);
    td_log(TD_LOG_ERROR, "cannot set up shared memory: %s", strerrordesc_np(-rc));
    return rc;
}

void arena_close(struct arena *arena)
{
    for (size_t i = 0; i < arena->chunk_top; i++)
        free(arena->chunks[i].bitmap);
    free(arena->chunks);
    munmap(arena->base, arena->size);
    close(arena->fd);
    pthread_mutex_destroy(&arena->mutex);
}

static void *chunk_at(const struct arena *arena, size_t index)
{
    return arena->base + index * ARENA_CHUNK;
}

static bool reserve(struct arena *arena, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        size_t end = i;

        while (end < first + count && !arena->chunks[end].reserved)
            end++;
        if (end == i)
            continue;
        if (change_pages(arena, 0, i, end - i) < 0)
            return false;
        for (size_t j = i; j < end; j++)
            arena->chunks[j].reserved = true;
        arena->stats.reserved_bytes += (end - i) * ARENA_CHUNK;
        i = end - 1;
    }
    return true;
}

/* First fit. The hint keeps the usual search for one chunk short; large blocks are rare enough to walk. */
static size_t take_chunks(struct arena *arena, size_t count)
{
    size_t found = 0;

    for (size_t i = arena->free_hint; i < arena->chunk_count; i++) {
        found = arena->chunks[i].taken ? 0 : found + 1;
        if (found < count)
            continue;
        i -= count - 1;
        if (!reserve(arena, i, count))
            return CHUNK_NONE;
        for (size_t j = i; j < i + count; j++)
            arena->chunks[j].taken = true;
        if (i == arena->free_hint)
            arena->free_hint = i + count;
        if (arena->chunk_top < i + count)
            arena->chunk_top = i + count;
        return i;
    }
    return CHUNK_NONE;
}

static void give_chunks(struct arena *arena, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++)
        arena->chunks[i].taken = false;
    if (first < arena->free_hint)
        arena->free_hint = first;
}

static void close_chunk(struct arena *arena, struct arena_chunk *chunk)
{
    list_remove(&chunk->link);
    free(chunk->bitmap);
    chunk->bitmap = NULL;
    chunk->class = 0;
    give_chunks(arena, (size_t)(chunk - arena->chunks), 1);
}

/* Gives back the empty chunk that each size class may keep. */
static void close_empty_chunks(struct arena *arena)
{
    for (unsigned class = 0; class < ARENA_CLASSES; class++) {
        struct td_list *first = arena->partial[class].next;

        if (first != &arena->partial[class] && container_of(first, struct arena_chunk, link)->used == 0)
            close_chunk(arena, container_of(first, struct arena_chunk, link));
    }
}

static void *alloc_large(struct arena *arena, size_t size)
{
    size_t count = (size - 1) / ARENA_CHUNK + 1, first;

    if (count > arena->chunk_count)
        return NULL;
    first = take_chunks(arena, count);
    if (first == CHUNK_NONE) {
        close_empty_chunks(arena);
        first = take_chunks(arena, count);
    }
    if (first == CHUNK_NONE)
        return NULL;
    arena->chunks[first].run = (uint32_t)count;
    arena->stats.used_bytes += count * ARENA_CHUNK;
    return chunk_at(arena, first);
}

static struct arena_chunk *open_chunk(struct arena *arena, unsigned class)
{
    size_t objects = ARENA_CHUNK / class_object(class), index;
    uint64_t *bitmap = calloc((objects + 63) / 64, sizeof *bitmap);
    struct arena_chunk *chunk;

    if (!bitmap)
        return NULL;
    index = take_chunks(arena, 1);
    if (index == CHUNK_NONE) {
        free(bitmap);
        return NULL;
    }
    chunk = &arena->chunks[index];
    chunk->class = (uint8_t)(class + 1);
    chunk->used = 0;
    chunk->bitmap = bitmap;
    list_init(&chunk->link);
    list_push_front(&arena->partial[class], &chunk->link);
    return chunk;
}

static void *alloc_small(struct arena *arena, size_t size)
{
    unsigned class = class_of(size);
    size_t object = class_object(class), objects = ARENA_CHUNK / object, index = 0;
    struct arena_chunk *chunk;

    if (list_empty(&arena->partial[class]))
        chunk = open_chunk(arena, class);
    else
        chunk = container_of(arena->partial[class].next, struct arena_chunk, link);
    if (!chunk)
        return NULL;
    while (chunk->bitmap[index / 64] == UINT64_MAX)
        index += 64;
    index += (size_t)__builtin_ctzll(~chunk->bitmap[index / 64]);
    assert(index < objects);
    chunk->bitmap[index / 64] |= UINT64_C(1) << index % 64;
    if (++chunk->used == objects)
        list_remove(&chunk->link);
    arena->stats.used_bytes += object;
    return (char *)chunk_at(arena, (size_t)(chunk - arena->chunks)) + index * object;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    void *block = NULL;

    if (size == 0)
        return NULL;
    pthread_mutex_lock(&arena->mutex);
    block = size <= SMALL_MAX ? alloc_small(arena, size) : alloc_large(arena, size);
    if (block) {
        arena->stats.blocks++;
        arena->refusal_logged = false;
    } else if (!arena->refusal_logged) {
        arena->refusal_logged = true;  /* once until it works again */
        td_log(TD_LOG_WARNING, "shared memory is full: %zu bytes wanted, %zu of %zu in use; raise shared_bytes_max, or "
               "the machine's memory", size, arena->stats.used_bytes, arena->size);
    }
    pthread_mutex_unlock(&arena->mutex);
    return block;
}

static void free_large(struct arena *arena, size_t first)
{
    size_t count = arena->chunks[first].run;

    arena->chunks[first].run = 0;
    arena->stats.used_bytes -= count * ARENA_CHUNK;
    if (arena->stats.reserved_bytes - arena->stats.used_bytes > ARENA_KEEP &&
        change_pages(arena, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first, count) == 0) {
        for (size_t i = first; i < first + count; i++)
            arena->chunks[i].reserved = false;
        arena->stats.reserved_bytes -= count * ARENA_CHUNK;
    }
    give_chunks(arena, first, count);
}

static void free_small(struct arena *arena, size_t index, size_t offset, const void *block)
{
    struct arena_chunk *chunk = &arena->chunks[index];
    unsigned class = chunk->class - 1u;
    size_t object = class_object(class), at = offset / object;

    if (offset % object || !(chunk->bitmap[at / 64] >> at % 64 & 1))
        fail("td_shared_free: %p is not the start of a living block; it was freed before, or never allocated", block);
    chunk->bitmap[at / 64] &= ~(UINT64_C(1) << at % 64);
    if (chunk->used-- == ARENA_CHUNK / object)
        list_push_back(&arena->partial[class], &chunk->link);
    arena->stats.used_bytes -= object;
    /* The last chunk with room is kept, or a lone block freed and allocated in turn would churn chunks. */
    if (chunk->used == 0 && (chunk->link.next != &arena->partial[class] || chunk->link.prev != &arena->partial[class])) {
        close_chunk(arena, chunk);
    }
}

void arena_free(struct arena *arena, void *block)
{
    size_t offset = (size_t)((char *)block - arena->base), index = offset / ARENA_CHUNK;

    if (!block)
        return;
    pthread_mutex_lock(&arena->mutex);
    if ((char *)block < arena->base || offset >= arena->size || !arena->chunks[index].taken ||
        (!arena->chunks[index].class && (!arena->chunks[index].run || offset % ARENA_CHUNK)))
        fail("td_shared_free: %p is not a block of shared memory; free what td_shared_alloc returned, once", block);
    if (arena->chunks[index].class)
        free_small(arena, index, offset % ARENA_CHUNK, block);
    else
        free_large(arena, index);
    arena->stats.blocks--;
    pthread_mutex_unlock(&arena->mutex);
}

/* The end of the living block that covers this offset, as an offset; 0 when there is none. */
static size_t block_end(const struct arena *arena, size_t offset)
{
    size_t index = offset / ARENA_CHUNK, in_chunk = offset % ARENA_CHUNK;
    const struct arena_chunk *chunk = &arena->chunks[index];

    if (!chunk->taken)
        return 0;
    if (chunk->class) {
        size_t object = class_object(chunk->class - 1u), at = in_chunk / object;

        if (at >= ARENA_CHUNK / object || !(chunk->bitmap[at / 64] >> at % 64 & 1))
            return 0;
        return index * ARENA_CHUNK + (at + 1) * object;
    }
    while (!arena->chunks[index].run)
        index--;
    return (index + arena->chunks[index].run) * ARENA_CHUNK;
}

bool arena_has(struct arena *arena, const void *at, size_t size)
{
    size_t offset = (size_t)((const char *)at - arena->base), end;

    if ((const char *)at < arena->base || offset >= arena->size)
        return false;
    pthread_mutex_lock(&arena->mutex);
    end = block_end(arena, offset);
    pthread_mutex_unlock(&arena->mutex);
    return end > offset && size <= end - offset;
}
