/* SPDX-License-Identifier: MIT */
/*
 * Stacks: equal slots cut from large mappings, each with a guard page at its low end, reused last in, first out so that
 * a new task finds warm pages. A slot's guard is made once, when the slot is first handed out.
 *
 * Guards are MADV_GUARD_INSTALL where the kernel has it (Linux 6.13): it needs no mapping of its own, so 100,000
 * guarded stacks fit the default vm.max_map_count. Elsewhere mprotect, which splits mappings; it is given 45 % of
 * that limit, and past it stacks are refused rather than handed out without a guard.
 *
 * At the top of each slot lies its owner's header (the task), so that an idle task costs one page. Headers are
 * shifted against each other by up to a kilobyte: at equal offsets in their pages they would all fight for the same few
 * sets of the processor's caches.
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

/* What all pools of a loop share. */
struct stack_guards {
    enum stack_guard kind;
    size_t left;               /* for mprotect: how many more may be made */
    bool refusal_logged;
};

struct stack_slab;

struct stack_pool {
    struct stack_guards *guards;
    size_t slot_size;          /* bytes, guard included */
    size_t guard_size;
    size_t header_size;        /* of the owner's struct, which ends with its struct stack */
    struct stack *free;        /* the hottest first */
    struct stack_slab *slabs;  /* in use; fresh slots come from the first */
    struct stack_slab *cold;   /* mapped and without memory: the next ones to be used */
    struct stack_slab **swept; /* how far stack_sweep has come; NULL: not begun */
};

/* One slot: the last member of its owner's header. */
struct stack {
    char *low;                 /* the lowest usable byte; the guard is below */
    struct stack *next;        /* in pool->free */
    struct stack_pool *pool;
    struct stack_slab *slab;
    bool handed_out;
    bool own;                  /* what of it has memory its present owner has used, and nobody before */
};

void stack_guards_init(struct stack_guards *guards, enum stack_guard kind);

/* Rounds the size up to whole pages. Allocates nothing yet. */
void stack_pool_init(struct stack_pool *pool, struct stack_guards *guards, size_t slot_size, size_t header_size);
void stack_pool_close(struct stack_pool *pool);

/*
 * Hands a slot out: usable from `low` up to its header, which is aligned to 64 bytes. NULL when there is none: a log line
 * has named the limit that was met.
 */
struct stack *stack_take_fresh(struct stack_pool *pool);

static inline struct stack *stack_take(struct stack_pool *pool)
{
    struct stack *stack = pool->free;

    if (!stack)
        return stack_take_fresh(pool);
    pool->free = stack->next;
    stack->handed_out = true;
    stack->own = false;
    return stack;
}

/* Gives a slot back. It may be the very stack the caller stands on, if no other is taken before it leaves. */
static inline void stack_give(struct stack *stack)
{
    stack->handed_out = false;
    stack->next = stack->pool->free;
    stack->pool->free = stack;
}

/* The bytes of the slot, guard and header included. */
static inline size_t stack_size(const struct stack *stack)
{
    return stack->pool->slot_size;
}

/* The stack whose guard covers this address, or NULL. Safe in a signal handler on the pool's own thread. */
struct stack *stack_guard_owner(const struct stack_pool *pool, const void *address);

/* Asks the kernel how many bytes of a slot have memory, counted from its end; 0 when the kernel has no memory to say. */
size_t stack_measure(const struct stack *stack);

/* Gives the memory below the uppermost `keep` bytes of the slot back to the kernel. What lay there is lost. */
void stack_trim(struct stack *stack, size_t keep);

/*
 * Looks at the next slab, with one system call for all its slots, and calls `seen` for each slot that was ever handed
 * out, with the bytes it has in memory. `seen` returns how many of them to keep. A slab without a task in this pass and in
 * the one before gives back all its memory, but stays mapped: looking at a task that ended long ago finds zeros.
 */
enum stack_swept { STACK_SWEPT_SOME, STACK_SWEPT_ALL };  /* all: the next call begins again */
typedef size_t (*stack_seen)(struct stack *stack, size_t resident, void *arg);
enum stack_swept stack_sweep(struct stack_pool *pool, stack_seen seen, void *arg);

/* Whether a slab waits for the next pass to be given back. */
bool stack_some_idle(const struct stack_pool *pool);

#endif
