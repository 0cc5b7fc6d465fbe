/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A taken chunk is backed. 2. taken_count and backed_count are the numbers of set bits, but for the
 * headers' chunks, which are taken from the start and not counted. 3. backed_count <= limit.
 */
#include "shared/chunks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_UNKNOWN ((size_t)64 * 1024 * 1024)
#define STRETCH 2            /* addresses for each byte that may be backed */
#define PIECE ((size_t)64)   /* chunks for one system call: a timer's signals may interrupt it, and yet it gets on */

static bool bit(const uint64_t *bits, size_t at)
{
    return bits[at / 64] >> at % 64 & 1;
}

static void set_bits(uint64_t *bits, size_t first, size_t count, bool value)
{
    for (size_t i = first; i < first + count; i++)
        if (value)
            bits[i / 64] |= UINT64_C(1) << i % 64;
        else
            bits[i / 64] &= ~(UINT64_C(1) << i % 64);
}

int chunks_open(struct chunks *chunks, size_t limit)
{
    size_t wanted, words;
    int rc;

    memset(chunks, 0, sizeof *chunks);
    room_open(&chunks->room, "");
    if (limit == 0)
        limit = room_total(&chunks->room) / 2;
    if (limit == 0)
        limit = LIMIT_UNKNOWN;
    chunks->limit = (limit > SIZE_MAX / 8 ? SIZE_MAX / 8 : limit) / ARENA_CHUNK;
    chunks->limit = chunks->limit ? chunks->limit : 1;
    wanted = (STRETCH * chunks->limit + 1) * ARENA_CHUNK;  /* 1: the header's */
    rc = regions_open(chunks->regions, wanted);
    if (rc < 0)
        return rc;
    chunks->base = chunks->regions[0].base;
    chunks->per_region = chunks->regions[0].size / ARENA_CHUNK;
    chunks->size = ARENA_REGIONS * chunks->regions[0].size;
    if (chunks->limit > chunks->per_region - 1)
        chunks->limit = chunks->per_region - 1;
    chunks->keep = chunks->limit * ARENA_CHUNK / 4 < ARENA_KEEP ? chunks->limit * ARENA_CHUNK / 4 : ARENA_KEEP;
    words = ARENA_REGIONS * chunks->per_region / 64 + 1;
    chunks->taken = calloc(2 * words, sizeof *chunks->taken);
    if (!chunks->taken) {
        regions_close(chunks->regions);
        return -ENOMEM;
    }
    chunks->backed = chunks->taken + words;
    for (int i = 0; i < ARENA_REGIONS; i++) {
        set_bits(chunks->taken, (size_t)i * chunks->per_region, 1, true);
        set_bits(chunks->backed, (size_t)i * chunks->per_region, 1, true);
        chunks->hint[i] = chunks->top[i] = (size_t)i * chunks->per_region + 1;
    }
    return 0;
}

void chunks_close(struct chunks *chunks)
{
    free(chunks->taken);
    regions_close(chunks->regions);
}

/* First fit among the chunks from `at` to `end`. */
static size_t find_gap(const uint64_t *taken, size_t at, size_t end, size_t count)
{
    size_t found = 0;

    while (at < end) {
        uint64_t word = taken[at / 64] >> at % 64;
        size_t room = 64 - at % 64, gap = word ? (size_t)__builtin_ctzll(word) : room;

        if (gap > end - at)
            gap = end - at;
        found += gap;
        at += gap;
        if (found >= count)
            return at - found;
        if (gap < room && at < end) {
            word = ~(taken[at / 64] >> at % 64);
            at += word ? (size_t)__builtin_ctzll(word) : 64;
            found = 0;
        }
    }
    return CHUNK_NONE;
}

static const struct arena_region *region_of(const struct chunks *chunks, size_t at, size_t *offset)
{
    size_t region = at / chunks->per_region;

    *offset = (at - region * chunks->per_region) * ARENA_CHUNK;
    return &chunks->regions[region];
}

/* The pages of a run of backed chunks. What the kernel does not take stays backed, and counted. */
static void drop(struct chunks *chunks, size_t first, size_t count)
{
    size_t offset;
    const struct arena_region *region = region_of(chunks, first, &offset);

    if (region_drop(region, offset, count * ARENA_CHUNK) < 0)
        return;
    set_bits(chunks->backed, first, count, false);
    chunks->backed_count -= count;
}

void chunks_trim(struct chunks *chunks)
{
    for (int i = 0; i < ARENA_REGIONS; i++) {
        for (size_t at = (size_t)i * chunks->per_region + 1, end; at < chunks->top[i]; at = end) {
            for (end = at; end < chunks->top[i] && bit(chunks->backed, end) && !bit(chunks->taken, end); end++)
                ;
            if (end > at)
                drop(chunks, at, end - at);
            else if (chunks->backed[at / 64] & ~chunks->taken[at / 64])
                end = at + 1;
            else
                end = (at / 64 + 1) * 64;
        }
    }
}

/* Backs a run of chunks none of which is. When it fails half-way, what came before stays backed and counted. */
static int back(struct chunks *chunks, size_t first, size_t count)
{
    for (size_t piece; count > 0; first += piece, count -= piece) {
        size_t offset;
        const struct arena_region *region = region_of(chunks, first, &offset);
        int rc;

        piece = count < PIECE ? count : PIECE;
        if (chunks->backed_count + piece > chunks->limit)
            return -EDQUOT;
        rc = room_ask(&chunks->room, piece * ARENA_CHUNK);
        if (rc < 0)
            return rc;
        rc = region_back(region, offset, piece * ARENA_CHUNK);
        if (rc < 0)
            return rc;
        set_bits(chunks->backed, first, piece, true);
        chunks->backed_count += piece;
        chunks->grown++;
    }
    return 0;
}

static int back_missing(struct chunks *chunks, size_t first, size_t count)
{
    for (size_t at = first, end; at < first + count; at = end + 1) {
        int rc;

        for (end = at; end < first + count && !bit(chunks->backed, end); end++)
            ;
        rc = end > at ? back(chunks, at, end - at) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

size_t chunks_take(struct chunks *chunks, int region, size_t count)
{
    size_t end = (size_t)(region + 1) * chunks->per_region, first;
    int rc;

    if (count > chunks->limit - chunks->taken_count) {
        chunks->refusal = -EDQUOT;
        return CHUNK_NONE;
    }
    first = find_gap(chunks->taken, chunks->hint[region], end, count);
    if (first == CHUNK_NONE) {
        chunks->refusal = -EFBIG;
        return CHUNK_NONE;
    }
    set_bits(chunks->taken, first, count, true);
    chunks->taken_count += count;
    if (chunks->top[region] < first + count)
        chunks->top[region] = first + count;
    rc = back_missing(chunks, first, count);
    if (rc < 0) {  /* pages that lie idle elsewhere may be just what is missing */
        chunks_trim(chunks);
        rc = back_missing(chunks, first, count);
    }
    if (rc < 0) {
        chunks->refusal = rc;
        chunks_give(chunks, first, count);
        chunks_trim(chunks);
        return CHUNK_NONE;
    }
    if (first == chunks->hint[region])
        chunks->hint[region] = first + count;
    return first;
}

void chunks_give(struct chunks *chunks, size_t first, size_t count)
{
    size_t region = first / chunks->per_region;

    set_bits(chunks->taken, first, count, false);
    chunks->taken_count -= count;
    if (first < chunks->hint[region])
        chunks->hint[region] = first;
    if ((chunks->backed_count - chunks->taken_count) * ARENA_CHUNK <= chunks->keep)
        return;
    for (size_t at = first, end; at < first + count; at = end + 1) {
        for (end = at; end < first + count && bit(chunks->backed, end); end++)
            ;
        if (end > at)
            drop(chunks, at, end - at);
    }
}
