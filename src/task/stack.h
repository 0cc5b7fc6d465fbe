/* SPDX-License-Identifier: MIT */
/*
 * Stacks: equal slots cut from large mappings, each with a guard page at its low end, reused last in, first out so that
 * a new task finds warm pages. A slot's guard is made once, when the slot is first handed out.
 *
 * Guards are MADV_GUARD_INSTALL where the kernel has it (Linux 6.13): it needs no mapping of its own, so 100,000
 * guarded stacks fit the default vm.max_map_count. Elsewhere mprotect, which splits mappings; it is given 45 % of
 * that limit, and past it stacks are refused rather than handed out without a guard.
 */
#ifndef TANDEM_TASK_STACK_H
#define TANDEM_TASK_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STACK_SIZE_DEFAULT (64 * 1024)
#define STACK_SIZE_MIN (16 * 1024)
#define STACK_SIZE_MAX (64 * 1024 * 1024)

enum stack_guard { STACK_GUARD_AUTO, STACK_GUARD_MADVISE, STACK_GUARD_MPROTECT };

struct stack_slab;

struct stack_pool {
    size_t slot_size;          /* bytes, guard included */
    size_t guard_size;
    enum stack_guard guard;
    size_t guards_left;        /* for mprotect */
    struct stack_slab *slabs;  /* the newest first: fresh slots come from it */
    void *free;                /* tops of returned slots, linked through their highest word */
    bool refusal_logged;
};

/* Rounds the size up to whole pages. Allocates nothing yet. */
void stack_pool_init(struct stack_pool *pool, size_t slot_size, enum stack_guard guard);
void stack_pool_close(struct stack_pool *pool);

/* The usable part of a slot is [low, top). Returns 0, or -ENOMEM with a log line that names the limit that was met. */
int stack_take(struct stack_pool *pool, void **low, void **top);

/* Gives a slot back, by its top. It may be the very stack the caller stands on, if no other is taken before it leaves. */
void stack_give(struct stack_pool *pool, void *top);

/* The top of the slot whose guard covers this address, or NULL. Safe in a signal handler on the pool's own thread. */
void *stack_guard_owner(const struct stack_pool *pool, const void *address);

#endif
