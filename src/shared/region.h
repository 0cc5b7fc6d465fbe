/* SPDX-License-Identifier: MIT */
/*
 * The arena's two memory files, sealed at their full size and mapped right behind each other in one range of addresses.
 *
 * Workers may write to both, strict ones only to the second, which holds outputs. Each file begins with a header for
 * programs in other languages (docs/shared-memory.md); we never read it back. Its chunk is mapped read-only, also in workers.
 */
#ifndef TANDEM_SHARED_REGION_H
#define TANDEM_SHARED_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_CHUNK ((size_t)64 * 1024)
#define ARENA_ALIGN 64

#define ARENA_MAGIC UINT64_C(0x616e657261646e74)  /* "tndarena" */
#define ARENA_VERSION 1

enum { ARENA_MAIN, ARENA_OUTPUT, ARENA_REGIONS };

/* At the start of each file, little-endian. Offsets are counted from the main file's start, through both files. */
struct arena_header {
    uint64_t magic;
    uint32_t version, header_bytes;
    uint64_t base;           /* where the program and the workers it forks have this file */
    uint64_t size;           /* bytes of this file */
    uint64_t offset;         /* of this file's first byte: 0 in the main file */
    uint64_t output_offset, output_size;
    uint32_t chunk_bytes, align;
};

struct arena_region {
    int fd;
    char *base;
    size_t size;             /* bytes, whole chunks; only reserved ones are backed by pages */
};

/*
 * Makes and maps both files, `size` bytes each, or fewer where limits on address space (ulimit -v) or on files (ulimit
 * -f) ask for that. Returns 0 or a negative errno.
 */
int regions_open(struct arena_region regions[ARENA_REGIONS], size_t size);
void regions_close(struct arena_region regions[ARENA_REGIONS]);

/* Backs bytes of the file with pages, or gives the pages back, by whole chunks. Returns 0; a negative errno: as it was. */
int region_back(const struct arena_region *region, size_t offset, size_t size);
int region_drop(const struct arena_region *region, size_t offset, size_t size);

/*
 * Another descriptor of the file, through which nobody can write, nor map it so (the kernel refuses mprotect, too). For strict
 * workers. Returns the descriptor, to be closed by the caller, or a negative errno: it needs /proc.
 */
int region_open_read_only(const struct arena_region *region);

#endif
