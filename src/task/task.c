/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A task is current, or in the ready queue, or parked with `wait` set; exactly one of them.
 * 2. Only the thread of its scheduler touches a task. 3. `task_running` is `sched->current` on the scheduler's thread;
 * the latter is for other threads to look at.
 */
#include "task/task.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/fail.h"
#include "task/census.h"

#define TURN_SLICES 64
#define TURN_MIN_NS 50000
#define TURN_MAX_NS 500000
#define SLICES_MAX 64          /* between two looks at the clock, while slices are short */
#define SHORT_SLICE_NS 1000

/* tidy: allow, because "the calling thread's loop" is what task functions mean by their missing argument */
static _Thread_local struct sched *this_sched;

/* tidy: allow, because "the calling task" is what task functions mean by their missing argument */
_Thread_local struct td_task *task_running;

struct sched *sched_current(void)
{
    return this_sched;
}

void sched_forked(void)
{
    struct sched *sched = this_sched;

    if (!sched)
        return;
    sched->forked = true;
    for (struct td_scope *at = task_running ? task_running->scope : NULL; at; at = at->parent)
        at->cancelled = true;  /* so that every checkpoint takes its slow path, */
    sched_attend(sched);       /* and every switch */
}

void sched_disown(void)
{
    this_sched = NULL;
    task_running = NULL;
}

_Noreturn void task_missing(const char *function)
{
    fail("%s was called outside a task; call it from a function started by td_run or td_spawn, on the loop's own thread",
         function);
}

/*
 * Looks at the clock, which costs as much as several switches: after one resumption at first, after up to 64 while slices
 * are short. Returns false when the turn is over; otherwise some more resumptions are granted.
 */
static bool grant_slices(struct sched *sched)
{
    td_time now = td_now(), took = now - sched->looked_at, in_turn = now - sched->turn_began;

    sched->turn_slices += sched->slices_granted;
    if (sched->tracer || sched->choose)
        sched->slices_granted = 1;  /* so that every switch comes this way */
    else if (took > (td_time)sched->slices_granted * SHORT_SLICE_NS * 4)
        sched->slices_granted = 1;
    else if (took < (td_time)sched->slices_granted * SHORT_SLICE_NS && sched->slices_granted < SLICES_MAX)
        sched->slices_granted *= 2;
    sched->looked_at = now;
    if (in_turn >= TURN_MAX_NS || (sched->turn_slices >= TURN_SLICES && (in_turn >= TURN_MIN_NS || sched->virtual_clock)))
        return false;
    sched->slices_left = sched->slices_granted;
    return true;
}

static struct td_task *choose(struct sched *sched)
{
    return sched->choose && sched->ready ? sched->choose(sched) : ready_pop(sched);
}

/* In a forked child: the only task there is goes on, whatever it waits for. */
static struct td_task *stay(struct td_task *self)
{
    self->wait = NULL;
    self->wake_rc = -EOWNERDEAD;
    return self;
}

/* The next task when more is to be done than to take the first, or NULL when it is the loop's turn. */
static __attribute__((noinline)) struct td_task *next_with_care(struct sched *sched, struct td_task *self)
{
    struct td_task *next;

    if (sched->forked)
        return stay(self);
    if (sched->tracer && self->wait)
        sched->tracer->parked(sched->tracer, self);
    next = sched->ready && grant_slices(sched) ? choose(sched) : NULL;
    if (next)
        sched->slices_left--;
    if (sched->tracer && next != self)
        sched->tracer->switched(sched->tracer, next);
    return next;
}

static inline __attribute__((always_inline)) void account(struct sched *sched, struct td_task *task)
{
    task_running = task;
    atomic_store_explicit(&sched->current, task, memory_order_relaxed);
    sched->ops_left = TASK_CHECKPOINTS_MAX;
    atomic_store_explicit(&sched->switches, atomic_load_explicit(&sched->switches, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* Leaves the current task for the next ready one, or for the loop. Inline: a finished task must not leave a call behind. */
static inline __attribute__((always_inline)) void switch_away(struct sched *sched, struct td_task *self, int last)
{
    struct td_task *next;

    if (__builtin_expect(sched->slices_left > 0, 1)) {
        sched->slices_left--;
        next = ready_pop(sched);
    } else {
        next = next_with_care(sched, self);
    }
    if (next == self)
        return;
    probe2(task_switch, self, next);
    account(sched, next);
    context_switch(&self->context, next ? &next->context : &sched->main, last);
}

void sched_run(struct sched *sched)
{
    struct td_task *task;

    if (!sched->ready)
        return;
    sched->turn_began = sched->looked_at = td_now();
    sched->turn_slices = 0;
    if (sched->tracer || sched->choose)
        sched->slices_granted = 1;
    sched->slices_left = sched->slices_granted - 1;
    task = choose(sched);
    if (sched->tracer)
        sched->tracer->switched(sched->tracer, task);
    probe2(task_switch, NULL, task);
    account(sched, task);
    context_switch(&sched->main, &task->context, 0);
    assert(!task_running);
}

int task_park(struct td_task *self, struct wait *wait)
{
    struct sched *sched = self->sched;

    assert(task_running == self && !self->wait);
    probe2(task_park, self, wait->what);
    wait->since = sched->looked_at;
    self->wait = wait;
    self->settled = false;
    switch_away(sched, self, 0);
    return self->wake_rc;
}

void task_let_others_run(struct td_task *self)
{
    ready_push(self->sched, self);
    switch_away(self->sched, self, 0);
}

int td_yield(void)
{
    struct td_task *self = task_self(__func__);

    ready_push(self->sched, self);
    switch_away(self->sched, self, 0);
    return task_verdict(self);
}

static void task_main(void *arg)
{
    struct td_task *self = arg;
    struct sched *sched = self->sched;
    int rc;

    context_arrived();
    rc = self->fn(self->arg);
    if (sched->forked)
        fail("a forked child returned from the task spawned at %s; end it with _exit, or with one of the exec calls",
             self->site);
    if (self->scope != self->home)
        fail("the task spawned at %s returned without joining a scope it had opened; call td_scope_join on every "
             "path", self->site);
    if (self->held)
        fail("the task spawned at %s ended while it held %s; unlock it on every path", self->site, self->held->what);
    if (self->result)
        *self->result = rc;
    scope_task_done(self->home, self, rc);
    probe2(task_done, self, rc);
    if (__builtin_expect(sched->tracer != NULL, 0))
        sched->tracer->done(sched->tracer, self);
    self->id = 0;  /* no handle means it any more */
    sched->tasks--;
    if (self->counted)
        census_end(sched, self);
    /* Nobody takes a stack between here and the switch, so this one may be given back under our feet. */
    stack_give(&self->stack);
    switch_away(sched, self, 1);
    assert(!"a finished task was resumed");
}

struct stack_pool *task_stack_pool(struct sched *sched, size_t size)
{
    size_t class_size = STACK_SIZE_MIN;
    unsigned i = 0;

    if (size == 0 || size == sched->stack_size_default)
        return &sched->stacks;
    if (size > STACK_SIZE_MAX)
        return NULL;
    for (; class_size < size; class_size *= 4)
        i++;
    if (!sched->classes[i].guards)
        stack_pool_init(&sched->classes[i], &sched->guards, class_size, sizeof(struct td_task));
    return &sched->classes[i];
}

struct td_task *task_create(struct sched *sched, struct stack_pool *pool, struct td_scope *scope, td_fn fn, void *arg,
                            const char *site)
{
    struct stack *stack = stack_take(pool);
    struct td_task *task;

    if (!stack)
        return NULL;
    task = container_of(stack, struct td_task, stack);
    task->sched = sched;
    task->scope = task->home = scope;
    task->wait = NULL;
    task->cancelled = task->settled = task->counted = false;
    task->id = ++sched->spawned;
    task->fn = fn;
    task->arg = arg;
    task->result = NULL;
    atomic_store_explicit(&task->name, NULL, memory_order_relaxed);
    task->held = NULL;
    atomic_store_explicit(&task->site, site, memory_order_relaxed);
    context_make(&task->context, stack->low, (size_t)((char *)task - stack->low), task_main, task);
    if (__builtin_expect(census_wants(sched, site), 0))
        census_begin(task);
    list_push_back(&scope->tasks, &task->sibling);
    scope->running++;
    sched->tasks++;
    ready_push(sched, task);
    probe2(task_spawn, task, site);
    if (__builtin_expect(sched->tracer != NULL, 0))
        sched->tracer->spawned(sched->tracer, task);
    return task;
}

int sched_open(struct sched *sched, size_t stack_size)
{
    if (this_sched)
        return -EBUSY;
    memset(sched, 0, sizeof *sched);
    sched->ready_end = &sched->ready;
    sched->slices_granted = 1;
    sched->stack_size_default = stack_size;
    timers_init(&sched->timers, td_now());
    stack_guards_init(&sched->guards, STACK_GUARD_AUTO);
    stack_pool_init(&sched->stacks, &sched->guards, stack_size, sizeof(struct td_task));
    census_init(sched);
    context_adopt_thread(&sched->main);
    scope_init(&sched->root, NULL, NULL);
    this_sched = sched;
    return 0;
}

void sched_close(struct sched *sched)
{
    assert(sched->tasks == 0 && this_sched == sched);
    census_close(sched);
    stack_pool_close(&sched->stacks);
    for (unsigned i = 0; i < STACK_CLASSES; i++)
        stack_pool_close(&sched->classes[i]);
    this_sched = NULL;
}

const struct stack *sched_guard_owner(const struct sched *sched, const void *address)
{
    const struct stack *owner = stack_guard_owner(&sched->stacks, address);

    for (unsigned i = 0; i < STACK_CLASSES && !owner; i++)
        owner = stack_guard_owner(&sched->classes[i], address);
    return owner;
}

int sched_start(struct sched *sched, td_fn fn, void *arg, int *result, const char *site)
{
    struct td_task *task = task_create(sched, &sched->stacks, &sched->root, fn, arg, site);

    if (!task)
        return -ENOMEM;
    task->result = result;
    sched->root.collecting = true;  /* what the first task returns is its caller's affair */
    return 0;
}

struct sleep {
    struct wait wait;
    struct td_timer timer;
    struct td_task *task;
};

static void sleep_over(struct td_timer *timer)
{
    task_unpark(container_of(timer, struct sleep, timer)->task, 0);
}

static void sleep_abort(struct wait *wait)
{
    struct sleep *sleep = container_of(wait, struct sleep, wait);

    timers_disarm(&sleep->task->sched->timers, &sleep->timer);
    task_unpark(sleep->task, -ECANCELED);
}

int td_sleep(td_time for_ns)
{
    struct td_task *self = task_self(__func__);
    struct sleep sleep = {.wait = {sleep_abort, "sleep", 0}, .task = self};
    int rc;

    if (for_ns <= 0)
        return td_yield();
    rc = task_checkpoint(self);
    if (rc < 0)
        return rc;
    timer_init(&sleep.timer, sleep_over);
    timers_arm(&self->sched->timers, &sleep.timer, td_after(for_ns));
    return task_park(self, &sleep.wait);
}
