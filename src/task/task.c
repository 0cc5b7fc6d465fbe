/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A task is current, or in the ready queue, or parked with `wait` set; exactly one of them.
 * 2. Only the thread of its scheduler touches a task.
 */
#include "task/task.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/fail.h"

#define TURN_SLICES 64
#define TURN_NS 500000
#define CLOCK_EVERY 8          /* resumptions between two looks at the clock, while slices are short */
#define SHORT_SLICE_NS 20000
#define CHECKPOINTS_MAX 128

/* tidy: allow, because "the calling thread's loop" is what task functions mean by their missing argument */
static _Thread_local struct sched *this_sched;

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
    for (struct td_scope *at = sched->current ? sched->current->scope : NULL; at; at = at->parent)
        at->cancelled = true;  /* so that every checkpoint takes its slow path */
}

void sched_disown(void)
{
    this_sched = NULL;
}

struct td_task *task_self(const char *function)
{
    struct sched *sched = this_sched;

    if (!sched || !sched->current)
        fail("%s was called outside a task; call it from a function started by td_run or td_spawn, on the loop's "
             "own thread", function);
    return sched->current;
}

static void account(struct sched *sched, struct td_task *task)
{
    sched->current = task;
    sched->ops_left = CHECKPOINTS_MAX;
    atomic_store_explicit(&sched->running_site, task ? task->site : NULL, memory_order_relaxed);
    atomic_store_explicit(&sched->switches, atomic_load_explicit(&sched->switches, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (__builtin_expect(sched->tracer != NULL, 0))
        sched->tracer->switched(sched->tracer, task);
}

/* Whether the turn's time is over. The clock costs as much as several switches, so short slices look at it rarely. */
static bool time_is_up(struct sched *sched)
{
    td_time now;

    if (sched->slices_left % sched->look_every != 0)
        return false;
    now = td_now();
    sched->look_every = now - sched->looked_at < SHORT_SLICE_NS * sched->look_every ? CLOCK_EVERY : 1;
    sched->looked_at = now;
    return now >= sched->turn_ends;
}

static struct td_task *pop_ready(struct sched *sched)
{
    struct td_list *link = list_pop_front(&sched->ready);

    return link ? container_of(link, struct td_task, link) : NULL;
}

/* The next task of this turn, or NULL when it is the loop's turn. */
static struct td_task *next_ready(struct sched *sched)
{
    if (sched->slices_left == 0)
        return NULL;
    sched->slices_left--;
    return time_is_up(sched) ? NULL : pop_ready(sched);
}

/* Leaves the current task for the next ready one, or for the loop. */
static void switch_away(struct sched *sched, struct td_task *self, int last)
{
    struct td_task *next = next_ready(sched);

    if (next == self)
        return;
    account(sched, next);
    context_switch(&self->context, next ? &next->context : &sched->main, last);
}

void sched_run(struct sched *sched)
{
    struct td_task *task;

    sched->slices_left = TURN_SLICES;
    sched->looked_at = td_now();
    sched->turn_ends = sched->looked_at + TURN_NS;
    sched->look_every = 1;
    task = pop_ready(sched);
    if (!task)
        return;
    account(sched, task);
    context_switch(&sched->main, &task->context, 0);
    assert(sched->current == NULL);
}

int task_park(struct td_task *self, struct wait *wait)
{
    assert(self->sched->current == self && !self->wait);
    if (self->sched->forked)
        return -EOWNERDEAD;
    self->wait = wait;
    if (!wait->since)
        wait->since = self->sched->looked_at;
    if (__builtin_expect(self->sched->tracer != NULL, 0))
        self->sched->tracer->parked(self->sched->tracer, self);
    switch_away(self->sched, self, 0);
    return self->wake_rc;
}

void task_unpark(struct td_task *task, int rc)
{
    assert(task->wait);
    task->wait = NULL;
    task->wake_rc = rc;
    list_push_back(&task->sched->ready, &task->link);
    if (__builtin_expect(task->sched->tracer != NULL, 0))
        task->sched->tracer->unparked(task->sched->tracer, task);
}

static void let_others_run(struct td_task *self)
{
    if (self->sched->forked)
        return;
    list_push_back(&self->sched->ready, &self->link);
    switch_away(self->sched, self, 0);
}

int task_checkpoint(struct td_task *self)
{
    if (--self->sched->ops_left == 0) {  /* a cancelled task too: it may go on for a while */
        self->sched->ops_left = CHECKPOINTS_MAX;
        let_others_run(self);
    }
    return self->scope->cancelled ? scope_refusal(self) : 0;
}

int td_yield(void)
{
    struct td_task *self = task_self(__func__);

    let_others_run(self);
    return self->scope->cancelled ? scope_refusal(self) : 0;
}

static void task_main(void *arg)
{
    struct td_task *self = arg;
    struct sched *sched = self->sched;
    int rc;

    context_arrived();
    rc = self->fn(self->arg);
    if (sched->forked)
        fail("a forked child returned from the task spawned at %s; end it with _exit, or with one of the exec calls", self->site);
    if (self->scope != self->home)
        fail("the task spawned at %s returned without joining a scope it had opened; call td_scope_join on every "
             "path", self->site);
    scope_task_done(self->home, self, rc);
    if (__builtin_expect(sched->tracer != NULL, 0))
        sched->tracer->done(sched->tracer, self);
    list_remove(&self->all);
    sched->tasks--;
    /* Nobody takes a stack between here and the switch, so this one may be given back under our feet. */
    stack_give(&sched->stacks, (char *)self + sizeof *self + sizeof(void *));
    switch_away(sched, self, 1);
    assert(!"a finished task was resumed");
}

int task_create(struct sched *sched, struct td_scope *scope, td_fn fn, void *arg, const char *site)
{
    struct td_task *task;
    void *low, *top;
    int rc = stack_take(&sched->stacks, &low, &top);

    if (rc < 0)
        return rc;
    /* The task itself lies at the top of its stack, under the pool's link: an idle task costs one page. */
    task = (struct td_task *)(void *)((char *)top - sizeof(void *) - sizeof *task);
    assert((uintptr_t)task % _Alignof(struct td_task) == 0);
    list_init(&task->link);
    task->sched = sched;
    task->scope = task->home = scope;
    task->wait = NULL;
    task->wake_rc = 0;
    task->fn = fn;
    task->arg = arg;
    task->site = site;
    context_make(&task->context, low, ((size_t)((char *)task - (char *)low)) & ~(size_t)15, task_main, task);
    list_push_back(&scope->tasks, &task->sibling);
    list_push_back(&sched->all, &task->all);
    scope->running++;
    sched->tasks++;
    list_push_back(&sched->ready, &task->link);
    if (__builtin_expect(sched->tracer != NULL, 0))
        sched->tracer->spawned(sched->tracer, task);
    return 0;
}

int sched_open(struct sched *sched, size_t stack_size)
{
    if (this_sched)
        return -EBUSY;
    memset(sched, 0, sizeof *sched);
    list_init(&sched->ready);
    list_init(&sched->all);
    stack_pool_init(&sched->stacks, stack_size, STACK_GUARD_AUTO);
    context_adopt_thread(&sched->main);
    scope_init(&sched->root, NULL, NULL);
    this_sched = sched;
    return 0;
}

void sched_close(struct sched *sched)
{
    assert(sched->tasks == 0 && this_sched == sched);
    stack_pool_close(&sched->stacks);
    this_sched = NULL;
}

int sched_start(struct sched *sched, td_fn fn, void *arg, const char *site)
{
    return task_create(sched, &sched->root, fn, arg, site);
}

void sched_dump(struct sched *sched)
{
    td_time now = td_now();

    for (struct td_list *at = sched->all.next; at != &sched->all; at = at->next) {
        struct td_task *task = container_of(at, struct td_task, all);
        struct wait *wait = task->wait;

        if (wait && wait->since)
            td_log(TD_LOG_INFO, "task spawned at %s waits: %s, since %.3f s", task->site, wait->what,
                   (double)(now - wait->since) / 1e9);
        else
            td_log(TD_LOG_INFO, "task spawned at %s %s%s", task->site, wait ? "waits: " : "is ready",
                   wait ? wait->what : "");
    }
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
