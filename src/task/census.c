/* SPDX-License-Identifier: MIT */
#include "task/census.h"

#include <stdlib.h>
#include <string.h>

#define SITES_MAX 1024           /* a power of two; programs have fewer spawn sites, and further ones go uncounted */
#define SLABS_AT_ONCE 8
#define PASS_EVERY_NS 2000000000 /* between two passes over all stacks; doubled while they find nothing */
#define PASS_EVERY_MAX_NS 80000000000
#define STEP_EVERY_NS 10000000   /* between two steps of a pass */
#define FREE_KEEP (16 * 1024)    /* bytes that a free stack may keep for its next owner */
#define BELOW_SP 512             /* bytes below a parked task's stack pointer: its saved registers, and the red zone */

struct census {
    td_stack_use sites[SITES_MAX];
    size_t count;
    td_time due, every;
    uint64_t switches_seen;   /* at the end of the last pass */
    unsigned pool;            /* the pass is here: 0 is the default pool, then the classes */
    bool trimmed;
};

void census_init(struct sched *sched)
{
    sched->census = calloc(1, sizeof *sched->census);
    if (!sched->census)
        return;  /* a loop without a census works as well */
    sched->census->every = PASS_EVERY_NS;
    sched->census->due = td_after(PASS_EVERY_NS);
}

void census_close(struct sched *sched)
{
    free(sched->census);
    sched->census = NULL;
}

static td_stack_use *find(struct census *census, const char *site)
{
    size_t at = ((uintptr_t)site * 0x9E3779B97F4A7C15ull >> 40) & (SITES_MAX - 1);

    for (size_t tries = 0; tries < SITES_MAX; tries++, at = (at + 1) & (SITES_MAX - 1)) {
        td_stack_use *use = &census->sites[at];

        if (use->site == site)
            return use;
        if (use->site)
            continue;
        if (census->count == SITES_MAX / 2)
            break;
        use->site = site;
        census->count++;
        return use;
    }
    return NULL;
}

static void note(struct census *census, const struct td_task *task, size_t used)
{
    td_stack_use *use = census ? find(census, task->site) : NULL;

    if (!use)
        return;
    use->looked++;
    use->stack_bytes = stack_size(&task->stack);
    if (used > use->used_bytes_max)
        use->used_bytes_max = used;
}

/* The bytes from the end of the slot down to the stack pointer of a task that does not run. */
static size_t in_use(const struct td_task *task)
{
    const struct stack *stack = &task->stack;
    const char *sp = context_stack_pointer(&task->context);

    return sp ? (size_t)(stack->low - stack->pool->guard_size + stack->pool->slot_size - sp) : 0;
}

void census_begin(struct td_task *task)
{
    task->counted = true;
    if (task->stack.own)
        return;
    stack_trim(&task->stack, in_use(task));  /* it has not run: that is its header */
    task->stack.own = true;
}

void census_end(struct sched *sched, struct td_task *task)
{
    note(sched->census, task, stack_measure(&task->stack));
}

td_time census_due(const struct sched *sched)
{
    return sched->census ? sched->census->due : TD_FOREVER;
}

/* What a task that does not run has surely used. */
static size_t surely_used(const struct td_task *task, size_t resident)
{
    size_t page = task->stack.pool->guard_size;

    return task->stack.own ? resident : (in_use(task) + page - 1) / page * page;
}

static size_t seen(struct stack *stack, size_t resident, void *arg)
{
    struct td_task *task = container_of(stack, struct td_task, stack);
    struct census *census = arg;
    size_t keep = resident;

    if (!stack->handed_out) {
        keep = resident < FREE_KEEP ? resident : FREE_KEEP;
    } else {
        note(census, task, surely_used(task, resident));
        if (task->wait && task->settled && in_use(task) > 0) {
            keep = in_use(task) + BELOW_SP;
            stack->own = true;  /* what is left is its own */
        }
    }
    task->settled = task->wait != NULL;
    census->trimmed = census->trimmed || keep + stack->pool->guard_size <= resident;
    return keep;
}

static struct stack_pool *pool_at(struct sched *sched, unsigned index)
{
    return index == 0 ? &sched->stacks : &sched->classes[index - 1];
}

/* The next slab of the pass; false when it was the last. */
static bool step(struct sched *sched, struct census *census)
{
    struct stack_pool *pool = pool_at(sched, census->pool);

    if (stack_sweep(pool, seen, census) == STACK_SWEPT_SOME)
        return true;
    census->trimmed = census->trimmed || stack_some_idle(pool);
    census->pool = (census->pool + 1) % (STACK_CLASSES + 1);
    return census->pool != 0;
}

static void end_pass(struct sched *sched, struct census *census, td_time now)
{
    uint64_t switches = atomic_load_explicit(&sched->switches, memory_order_relaxed);

    census->every = census->trimmed ? PASS_EVERY_NS : census->every * 2;
    if (census->every > PASS_EVERY_MAX_NS)
        census->every = PASS_EVERY_MAX_NS;
    /* Nothing ran since the last pass and nothing was found: a loop that sleeps is left alone. */
    census->due = census->trimmed || switches != census->switches_seen ? now + census->every : TD_FOREVER;
    census->switches_seen = switches;
    census->trimmed = false;
}

void census_sweep(struct sched *sched, td_time now)
{
    struct census *census = sched->census;

    if (!census)
        return;
    if (census->due == TD_FOREVER && census->switches_seen != atomic_load_explicit(&sched->switches, memory_order_relaxed))
        census->due = now + census->every;
    if (now < census->due)
        return;
    for (int i = 0; i < SLABS_AT_ONCE; i++)
        if (!step(sched, census)) {
            end_pass(sched, census, now);
            return;
        }
    census->due = now + STEP_EVERY_NS;
}

/* Keeps `uses` sorted, the deepest first. */
static void insert(td_stack_use *uses, size_t count, size_t max, const td_stack_use *use)
{
    size_t at = count < max ? count : max;

    while (at > 0 && uses[at - 1].used_bytes_max < use->used_bytes_max) {
        if (at < max)
            uses[at] = uses[at - 1];
        at--;
    }
    if (at < max)
        uses[at] = *use;
}

static void look_at_all(struct sched *sched, const struct td_task *self, struct td_scope *scope)
{
    for (struct td_list *at = scope->tasks.next; at != &scope->tasks; at = at->next) {
        struct td_task *task = container_of(at, struct td_task, sibling);

        if (task != self || task->stack.own)
            note(sched->census, task, surely_used(task, stack_measure(&task->stack)));
    }
}

size_t td_stack_census(td_stack_use *uses, size_t max)
{
    struct td_task *self = task_self(__func__);
    struct census *census = self->sched->census;
    size_t n = 0;

    if (!census)
        return 0;
    for (struct td_scope *at = &self->sched->root; at; at = scope_walk(&self->sched->root, at))
        look_at_all(self->sched, self, at);
    for (size_t i = 0; i < SITES_MAX; i++)
        if (census->sites[i].site)
            insert(uses, n++, max, &census->sites[i]);
    return n;
}
