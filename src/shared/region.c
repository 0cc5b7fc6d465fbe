/* SPDX-License-Identifier: MIT */
#include "shared/region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define SIZE_TRIED_LEAST ((size_t)64 * 1024 * 1024)  /* what is asked for above it may be halved */

_Static_assert(sizeof(struct arena_header) == 64, "docs/shared-memory.md");

/* A signal may interrupt any of these; a timer of the program's own is no reason to be without shared memory. */
static int set_size(int fd, size_t size)
{
    int rc;

    do
        rc = ftruncate(fd, (off_t)size);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

static int change_pages(const struct arena_region *region, int mode, size_t offset, size_t size)
{
    int rc;

    do
        rc = fallocate(region->fd, mode, (off_t)offset, (off_t)size);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

int region_back(const struct arena_region *region, size_t offset, size_t size)
{
    return change_pages(region, 0, offset, size);  /* the kernel takes back what it had when it fails half-way */
}

int region_drop(const struct arena_region *region, size_t offset, size_t size)
{
    return change_pages(region, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);
}

static int write_header(const struct arena_region *region, const struct arena_region *output, size_t offset)
{
    struct arena_header header = {
        ARENA_MAGIC, ARENA_VERSION, sizeof header, (uintptr_t)region->base, region->size, offset,
        (uint64_t)(output->base - region->base) + offset, output->size, ARENA_CHUNK, ARENA_ALIGN,
    };
    ssize_t n;

    do
        n = pwrite(region->fd, &header, sizeof header, 0);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof header ? 0 : n < 0 ? -errno : -EIO;
}

/* The file at its place in the range: the header's chunk read-only, the rest writable, its size settled for good. */
static int map_region(struct arena_region *region, const struct arena_region *output, size_t offset)
{
    const int flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;
    int rc = set_size(region->fd, region->size);

    if (rc == 0)
        rc = write_header(region, output, offset);
    if (rc < 0)
        return rc;
    if (mmap(region->base, ARENA_CHUNK, PROT_READ, flags, region->fd, 0) == MAP_FAILED ||
        mmap(region->base + ARENA_CHUNK, region->size - ARENA_CHUNK, PROT_READ | PROT_WRITE, flags, region->fd,
             (off_t)ARENA_CHUNK) == MAP_FAILED)
        return -errno;
    /* The kernel would touch every page of the range for a core file, those too that are not there: a worker's crash would
     * fill the machine's memory with zeros. Without this advice we can do nothing about that. */
    (void)madvise(region->base, region->size, MADV_DONTDUMP);
    /* Nobody can shrink the file under a mapping now: that would be SIGBUS. */
    return fcntl(region->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ? -errno : 0;
}

/* One range of addresses for both. A limit on address space may ask for a smaller one than we would like. */
static int find_place(struct arena_region regions[ARENA_REGIONS], size_t size)
{
    struct rlimit file;

    if (getrlimit(RLIMIT_FSIZE, &file) == 0 && file.rlim_cur < size) {  /* else SIGXFSZ */
        if (file.rlim_cur < 2 * ARENA_CHUNK)
            return -EFBIG;
        size = (size_t)file.rlim_cur;
    }
    for (;; size /= 2) {
        char *base;

        size = size / ARENA_CHUNK * ARENA_CHUNK;
        base = mmap(NULL, ARENA_REGIONS * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base != MAP_FAILED) {
            for (int i = 0; i < ARENA_REGIONS; i++) {
                regions[i].base = base + (size_t)i * size;
                regions[i].size = size;
            }
            return 0;
        }
        if (size <= SIZE_TRIED_LEAST)
            return -errno;
    }
}

int regions_open(struct arena_region regions[ARENA_REGIONS], size_t size)
{
    static const char *const names[] = {"tandem-shared", "tandem-outputs"};
    int rc = find_place(regions, size), made = 0;

    if (rc < 0)
        return rc;
    for (; made < ARENA_REGIONS && rc == 0; made++) {
        struct arena_region *region = &regions[made];

        region->fd = memfd_create(names[made], MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (region->fd < 0)
            rc = -errno;
        else
            rc = map_region(region, &regions[ARENA_OUTPUT], (size_t)made * region->size);
    }
    if (rc == 0)
        return 0;
    while (made-- > 0)
        if (regions[made].fd >= 0)
            close(regions[made].fd);
    munmap(regions[ARENA_MAIN].base, ARENA_REGIONS * regions[ARENA_MAIN].size);
    return rc;
}

void regions_close(struct arena_region regions[ARENA_REGIONS])
{
    munmap(regions[ARENA_MAIN].base, ARENA_REGIONS * regions[ARENA_MAIN].size);
    for (int i = 0; i < ARENA_REGIONS; i++)
        close(regions[i].fd);
}

int region_open_read_only(const struct arena_region *region)
{
    char path[32];
    int fd;

    snprintf(path, sizeof path, "/proc/self/fd/%d", region->fd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}
