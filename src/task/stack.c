/* SPDX-License-Identifier: MIT */
#include "task/stack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tandem/log.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102  /* Linux 6.13 */
#endif

#define SLAB_BYTES (4u * 1024 * 1024)
#define MAP_COUNT_DEFAULT 65530

struct stack_slab {
    struct stack_slab *next;
    char *base;
    size_t bytes, used;
};

static size_t guard_budget(void)
{
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    long limit = MAP_COUNT_DEFAULT;

    if (file) {
        if (fscanf(file, "%ld", &limit) != 1 || limit <= 0)
            limit = MAP_COUNT_DEFAULT;
        fclose(file);
    }
    return (size_t)limit * 45 / 100 / 2;  /* a guard splits one mapping into three: two more */
}

void stack_pool_init(struct stack_pool *pool, size_t slot_size, enum stack_guard guard)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    *pool = (struct stack_pool){
        .slot_size = (slot_size + page - 1) / page * page,
        .guard_size = page,
        .guard = guard,
        .guards_left = guard_budget(),
    };
}

void stack_pool_close(struct stack_pool *pool)
{
    while (pool->slabs) {
        struct stack_slab *slab = pool->slabs;

        pool->slabs = slab->next;
        munmap(slab->base, slab->bytes);
        free(slab);
    }
    pool->free = NULL;
}

static int refuse(struct stack_pool *pool, const char *reason, int error)
{
    if (!pool->refusal_logged)
        td_log(TD_LOG_ERROR, "no stack for a new task: %s: %s", reason, strerrordesc_np(error));
    pool->refusal_logged = true;  /* once a pool: whoever spawns in a loop would drown the log */
    return -ENOMEM;
}

static int add_slab(struct stack_pool *pool)
{
    struct stack_slab *slab = malloc(sizeof *slab);
    size_t slots = SLAB_BYTES / pool->slot_size;

    if (!slab)
        return refuse(pool, "out of memory", ENOMEM);
    *slab = (struct stack_slab){.next = pool->slabs, .bytes = (slots ? slots : 1) * pool->slot_size};
    slab->base = mmap(NULL, slab->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slab->base == MAP_FAILED) {
        int error = errno;

        free(slab);
        return refuse(pool, "mmap failed (see ulimit -v, and sysctl vm.max_map_count and vm.overcommit_memory)", error);
    }
    /* A huge page would make every stack of the slab resident at once. Refused only where there are none. */
    (void)madvise(slab->base, slab->bytes, MADV_NOHUGEPAGE);
    pool->slabs = slab;
    return 0;
}

static int install_guard(struct stack_pool *pool, char *slot)
{
    if (pool->guard != STACK_GUARD_MPROTECT) {
        if (madvise(slot, pool->guard_size, MADV_GUARD_INSTALL) == 0)
            return 0;
        if (pool->guard == STACK_GUARD_MADVISE || errno == ENOMEM)
            return refuse(pool, "madvise(MADV_GUARD_INSTALL) failed", errno);
        pool->guard = STACK_GUARD_MPROTECT;  /* an older kernel, or locked memory */
    }
    if (pool->guards_left == 0)
        return refuse(pool, "stack guards have used 45 % of the mappings a process may have; raise it with "
                            "sysctl vm.max_map_count", ENOMEM);
    if (mprotect(slot, pool->guard_size, PROT_NONE) < 0)
        return refuse(pool, "mprotect of a stack guard failed; raise sysctl vm.max_map_count", errno);
    pool->guards_left--;
    return 0;
}

static void **free_link(void *top)
{
    return (void **)top - 1;
}

int stack_take(struct stack_pool *pool, void **low, void **top)
{
    struct stack_slab *slab = pool->slabs;
    char *slot;
    int rc;

    if (pool->free) {
        *top = pool->free;
        pool->free = *free_link(*top);
        *low = (char *)*top - pool->slot_size + pool->guard_size;
        return 0;
    }
    if (!slab || slab->used == slab->bytes) {
        rc = add_slab(pool);
        if (rc < 0)
            return rc;
        slab = pool->slabs;
    }
    slot = slab->base + slab->used;
    rc = install_guard(pool, slot);
    if (rc < 0)
        return rc;
    slab->used += pool->slot_size;
    *low = slot + pool->guard_size;
    *top = slot + pool->slot_size;
    return 0;
}

void stack_give(struct stack_pool *pool, void *top)
{
    *free_link(top) = pool->free;
    pool->free = top;
}

void *stack_guard_owner(const struct stack_pool *pool, const void *address)
{
    const char *at = address;

    for (const struct stack_slab *slab = pool->slabs; slab; slab = slab->next) {
        size_t offset;

        if (at < slab->base || at >= slab->base + slab->used)
            continue;
        offset = (size_t)(at - slab->base) % pool->slot_size;
        return offset < pool->guard_size ? (char *)at - offset + pool->slot_size : NULL;
    }
    return NULL;
}
