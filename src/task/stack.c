/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A slot below `used` of a slab in pool->slabs is handed out or in pool->free, and has a header. 2. A slab
 * in pool->cold has no slot in use or free, no memory, and the guards it had.
 */
#include "task/stack.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tandem/log.h"
#include "task/context.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102  /* Linux 6.13 */
#endif

#define SLAB_BYTES (4u * 1024 * 1024)
#define MAP_COUNT_DEFAULT 65530
#define LINE 64        /* bytes of a cache line */
#define COLOURS 16     /* different offsets of headers, a line apart */

struct stack_slab {
    struct stack_slab *next;
    char *base;
    size_t bytes, used;
    size_t guarded;   /* bytes from base on whose slots have their guards */
    bool idle;        /* without a task, at the last look */
    bool leaving;     /* to be given back when this pass is over */
    unsigned ids[];   /* of the slots with guards, for context_stack_forgotten */
};

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

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

void stack_guards_init(struct stack_guards *guards, enum stack_guard kind)
{
    *guards = (struct stack_guards){.kind = kind, .left = guard_budget()};
}

void stack_pool_init(struct stack_pool *pool, struct stack_guards *guards, size_t slot_size, size_t header_size)
{
    size_t page = page_size();

    *pool = (struct stack_pool){
        .guards = guards,
        .slot_size = (slot_size + page - 1) / page * page,
        .guard_size = page,
        .header_size = header_size,
    };
}

static void free_slabs(const struct stack_pool *pool, struct stack_slab *slab)
{
    while (slab) {
        struct stack_slab *next = slab->next;

        for (size_t i = 0; i < slab->guarded / pool->slot_size; i++)
            context_stack_forgotten(slab->ids[i]);
        context_forget_stacks(slab->base, slab->bytes);
        munmap(slab->base, slab->bytes);
        free(slab);
        slab = next;
    }
}

void stack_pool_close(struct stack_pool *pool)
{
    free_slabs(pool, pool->slabs);
    free_slabs(pool, pool->cold);
    pool->slabs = pool->cold = NULL;
    pool->free = NULL;
}

static int refuse(struct stack_guards *guards, const char *reason, int error)
{
    if (!guards->refusal_logged)
        td_log(TD_LOG_ERROR, "no stack for a new task: %s: %s", reason, strerrordesc_np(error));
    guards->refusal_logged = true;  /* once a loop: whoever spawns in a loop would drown the log */
    return -ENOMEM;
}

static int add_slab(struct stack_pool *pool)
{
    size_t slots = SLAB_BYTES / pool->slot_size ? SLAB_BYTES / pool->slot_size : 1;
    struct stack_slab *slab = pool->cold;

    if (slab) {
        pool->cold = slab->next;
        slab->next = pool->slabs;
        pool->slabs = slab;
        return 0;
    }
    slab = malloc(sizeof *slab + slots * sizeof slab->ids[0]);
    if (!slab)
        return refuse(pool->guards, "out of memory", ENOMEM);
    *slab = (struct stack_slab){.next = pool->slabs, .bytes = slots * pool->slot_size};
    slab->base = mmap(NULL, slab->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slab->base == MAP_FAILED) {
        int error = errno;

        free(slab);
        return refuse(pool->guards, "mmap failed (see ulimit -v, and sysctl vm.max_map_count and vm.overcommit_memory)",
                      error);
    }
    /* A huge page would make every stack of the slab resident at once. Refused only where there are none. */
    (void)madvise(slab->base, slab->bytes, MADV_NOHUGEPAGE);
    pool->slabs = slab;
    return 0;
}

static int install_guard(const struct stack_pool *pool, char *slot)
{
    struct stack_guards *guards = pool->guards;

    if (guards->kind != STACK_GUARD_MPROTECT) {
        if (madvise(slot, pool->guard_size, MADV_GUARD_INSTALL) == 0)
            return 0;
        if (guards->kind == STACK_GUARD_MADVISE || errno == ENOMEM)
            return refuse(guards, "madvise(MADV_GUARD_INSTALL) failed", errno);
        guards->kind = STACK_GUARD_MPROTECT;  /* an older kernel, or locked memory */
    }
    if (guards->left == 0)
        return refuse(guards, "stack guards have used 45 % of the mappings a process may have; raise it with "
                              "sysctl vm.max_map_count", ENOMEM);
    if (mprotect(slot, pool->guard_size, PROT_NONE) < 0)
        return refuse(guards, "mprotect of a stack guard failed; raise sysctl vm.max_map_count", errno);
    guards->left--;
    return 0;
}

/* The header of the slot with this number, counted from the slab's base, begins on a cache line. */
static struct stack *slot_stack(const struct stack_pool *pool, const struct stack_slab *slab, size_t number)
{
    char *end = slab->base + (number + 1) * pool->slot_size;
    size_t header = (pool->header_size + LINE - 1) / LINE * LINE;

    return (struct stack *)(void *)(end - number % COLOURS * LINE - header + pool->header_size) - 1;
}

static char *slot_end(const struct stack *stack)
{
    return stack->low - stack->pool->guard_size + stack->pool->slot_size;
}

struct stack *stack_take_fresh(struct stack_pool *pool)
{
    struct stack_slab *slab = pool->slabs;
    struct stack *stack;
    char *slot;

    if (!slab || slab->used == slab->bytes) {
        if (add_slab(pool) < 0)
            return NULL;
        slab = pool->slabs;
    }
    slot = slab->base + slab->used;
    if (slab->used == slab->guarded) {
        if (install_guard(pool, slot) < 0)
            return NULL;
        slab->ids[slab->used / pool->slot_size] = context_stack_known(slot + pool->guard_size, slot + pool->slot_size);
        slab->guarded += pool->slot_size;
    }
    stack = slot_stack(pool, slab, slab->used / pool->slot_size);
    slab->used += pool->slot_size;
    *stack = (struct stack){.low = slot + pool->guard_size, .pool = pool, .slab = slab, .handed_out = true, .own = true};
    return stack;
}

struct stack *stack_guard_owner(const struct stack_pool *pool, const void *address)
{
    const char *at = address;

    for (const struct stack_slab *slab = pool->slabs; slab; slab = slab->next) {
        size_t offset;

        if (at < slab->base || at >= slab->base + slab->used)
            continue;
        offset = (size_t)(at - slab->base);
        return offset % pool->slot_size < pool->guard_size ? slot_stack(pool, slab, offset / pool->slot_size) : NULL;
    }
    return NULL;
}

/* From the lowest page that has memory to the end. `pages` is what mincore says of the slot's usable part. */
static size_t count_resident(const unsigned char *pages, size_t count, size_t page)
{
    for (size_t i = 0; i < count; i++)
        if (pages[i] & 1)
            return (count - i) * page;
    return 0;
}

size_t stack_measure(const struct stack *stack)
{
    unsigned char pages[256];
    size_t page = stack->pool->guard_size, resident = 0;

    /* In pieces, from the end: a stack is used without gaps but for large arrays. */
    for (char *end = slot_end(stack); end > stack->low;) {
        size_t left = (size_t)(end - stack->low), bytes = left < sizeof pages * page ? left : sizeof pages * page, found;

        if (mincore(end - bytes, bytes, pages) < 0)
            return 0;
        found = count_resident(pages, bytes / page, page);
        if (found == 0)
            break;
        resident += found;
        if (found < bytes)
            break;
        end -= bytes;
    }
    return resident;
}

void stack_trim(struct stack *stack, size_t keep)
{
    size_t page = stack->pool->guard_size, kept = (keep + page - 1) / page * page;
    size_t usable = stack->pool->slot_size - page;

    if (kept >= usable)
        return;
    /* Never more than a hint: a failure leaves the memory where it is. The guard is below, and stays. */
    (void)madvise(stack->low, usable - kept, MADV_DONTNEED);
}

static void sweep_slab(struct stack_pool *pool, struct stack_slab *slab, stack_seen seen, void *arg)
{
    size_t page = pool->guard_size, slot_pages = pool->slot_size / page, tasks = 0;
    unsigned char *pages = malloc(slab->bytes / page);

    if (!pages)
        return;  /* another time */
    if (mincore(slab->base, slab->used, pages) == 0) {
        for (size_t i = 0; i < slab->used / pool->slot_size; i++) {
            struct stack *stack = slot_stack(pool, slab, i);
            size_t resident = count_resident(pages + i * slot_pages + 1, slot_pages - 1, page);
            size_t keep = seen(stack, resident, arg);

            tasks += stack->handed_out;
            if (keep < resident)
                stack_trim(stack, keep);
        }
        slab->leaving = slab->idle && tasks == 0;
        slab->idle = tasks == 0;
    }
    free(pages);
}

/* Takes the slots of slabs that leave out of the free list. */
static void forget_slots(struct stack_pool *pool)
{
    struct stack **link = &pool->free;

    while (*link) {
        struct stack *stack = *link;

        if (!stack->slab->leaving) {
            link = &stack->next;
            continue;
        }
        *link = stack->next;
    }
}

/* Gives the slabs back that were idle in two passes, unless one of their slots was handed out since. */
static void retire_slabs(struct stack_pool *pool)
{
    struct stack_slab **link = &pool->slabs;
    bool any = false;

    for (struct stack_slab *slab = pool->slabs; slab; slab = slab->next) {
        for (size_t i = 0; slab->leaving && i < slab->used / pool->slot_size; i++)
            slab->leaving = !slot_stack(pool, slab, i)->handed_out;
        any = any || slab->leaving;
    }
    if (!any)
        return;
    forget_slots(pool);
    while (*link) {
        struct stack_slab *slab = *link;

        if (!slab->leaving) {
            link = &slab->next;
            continue;
        }
        /* The guards stay. A failure leaves old headers there, which nobody looks at. */
        (void)madvise(slab->base, slab->bytes, MADV_DONTNEED);
        slab->leaving = slab->idle = false;
        slab->used = 0;
        *link = slab->next;
        slab->next = pool->cold;
        pool->cold = slab;
    }
}

enum stack_swept stack_sweep(struct stack_pool *pool, stack_seen seen, void *arg)
{
    struct stack_slab *slab;

    if (!pool->swept)
        pool->swept = &pool->slabs;
    slab = *pool->swept;
    if (slab) {
        sweep_slab(pool, slab, seen, arg);
        pool->swept = &slab->next;
    }
    if (*pool->swept)
        return STACK_SWEPT_SOME;
    pool->swept = NULL;
    retire_slabs(pool);
    return STACK_SWEPT_ALL;
}

bool stack_some_idle(const struct stack_pool *pool)
{
    for (const struct stack_slab *slab = pool->slabs; slab; slab = slab->next)
        if (slab->idle)
            return true;
    return false;
}
