/* SPDX-License-Identifier: MIT */
/*
 * Tasks and their scheduler: pure scheduling, no system call but for memory and the clock.
 *
 * A task runs until it parks. Parking is one mechanism, `task_park`, under every wait of the library; whoever ends
 * the wait calls `task_unpark`, exactly once. A cancellation asks the wait itself to end, through its `abort`: a
 * wait that can end at once unparks its task with -ECANCELED there and then; one that cannot (the kernel still
 * holds its buffer) starts what will end it, and unparks later, with the data if the data came first (law 3: data
 * or cancellation, never both).
 */
#ifndef TANDEM_TASK_TASK_H
#define TANDEM_TASK_TASK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/probe.h"
#include "tandem/scope.h"
#include "task/context.h"
#include "task/stack.h"
#include "task/timers.h"

#define TASK_CHECKPOINTS_MAX 128  /* that a task may pass without parking before others have their turn */
#define CENSUS_SITES 256
#define STACK_CLASSES 7           /* 16 KiB, and four times as much each */

struct wait {
    void (*abort)(struct wait *wait);  /* NULL: this wait ends by itself soon after a cancellation, or must not be cut short */
    const char *what;                  /* for dumps: "sleep", "read from a socket" */
    td_time since;                     /* when it began, about: the scheduler's latest look at the clock */
};

struct sched;

/* Ordered by use: what a switch touches shares a cache line. */
struct td_task {
    struct td_task *next;     /* in the ready queue */
    struct sched *sched;
    struct td_scope *scope;   /* the innermost it is in */
    struct wait *wait;        /* while parked */
    int wake_rc;
    bool cancelled;           /* by td_cancel: it alone */
    bool settled;             /* parked since the last sweep over the stacks */
    bool counted;             /* the census looks at its stack when it ends */
    struct context context;
    struct td_list sibling;   /* in home->tasks */
    struct td_scope *home;    /* the one it was spawned in */
    uint64_t id;              /* of all tasks of the loop, this is the id-th */
    td_fn fn;
    void *arg;
    int *result;              /* where its spawner wants what fn returned; may be NULL */
    _Atomic(const char *) name;  /* may be NULL; atomic, as its site, for the watchdog's thread */
    _Atomic(const char *) site;  /* where it was spawned: "file:line" */
    struct td_held *held;     /* what it must give back before it ends: mutexes */
    struct stack stack;       /* last: see stack.h */
};

/* What a tracer is told. It may not wait, spawn or unpark. Upper floors hand it in; see src/debug. */
struct sched_tracer {
    void (*spawned)(struct sched_tracer *tracer, const struct td_task *task);
    void (*switched)(struct sched_tracer *tracer, const struct td_task *task);  /* NULL: the loop's turn */
    void (*parked)(struct sched_tracer *tracer, const struct td_task *task);    /* its wait says what for */
    void (*unparked)(struct sched_tracer *tracer, const struct td_task *task);  /* its wait is still there */
    void (*done)(struct sched_tracer *tracer, const struct td_task *task);
};

struct sched {
    struct td_task *ready, **ready_end;  /* first in, first out */
    _Atomic(struct td_task *) current;
    _Atomic uint64_t switches;   /* moves with every resumption */
    unsigned slices_left;        /* resumptions until the clock is looked at */
    unsigned slices_granted;     /* at the last look */
    unsigned ops_left;           /* checkpoints the current task may pass without parking before it yields */
    struct sched_tracer *tracer; /* NULL while nobody traces */
    struct td_task *(*choose)(struct sched *sched);  /* takes one of the ready tasks; NULL: the first */
    struct context main;         /* the loop's own context: the thread's stack */
    size_t tasks;                /* alive */
    uint64_t spawned;
    td_time turn_began, looked_at;
    bool virtual_clock;          /* it stands while tasks run */
    bool forked;                 /* this is a forked child: the loop and all other tasks are the parent's */
    unsigned turn_slices;        /* in this turn, as of the last look */
    struct td_scope root;
    struct timers timers;
    struct stack_guards guards;
    size_t stack_size_default;
    struct stack_pool stacks, classes[STACK_CLASSES];  /* of the default size, and of others */
    struct census *census;       /* what stacks were used, by spawn site; may be NULL */
    uint16_t site_tasks[CENSUS_SITES];  /* how many tasks of a spawn site there have been; some sites share one */
};

/* tidy: allow, because "the calling task" is what task functions mean by their missing argument */
extern _Thread_local struct td_task *task_running __attribute__((visibility("hidden"), tls_model("initial-exec")));

/* The scheduler of the calling thread, NULL when it runs none. */
struct sched *sched_current(void);

/*
 * In the child of a fork: marks the calling thread's scheduler. From now on its one task, whose copy the child runs on,
 * never leaves its stack: checkpoints and parks answer -EOWNERDEAD. Safe in a signal handler.
 */
void sched_forked(void);

/* In a child that is no task and goes its own way: as if this thread had never run a scheduler. */
void sched_disown(void);

_Noreturn void task_missing(const char *function);

/* The calling task; aborts, naming the function, when the caller is not a task. */
static inline struct td_task *task_self(const char *function)
{
    struct td_task *self = task_running;

    if (__builtin_expect(!self, 0))
        task_missing(function);
    return self;
}

int sched_open(struct sched *sched, size_t stack_size);
void sched_close(struct sched *sched);   /* no task may be alive */

/* The stack whose guard covers this address, or NULL. Safe in a signal handler on the scheduler's thread. */
const struct stack *sched_guard_owner(const struct sched *sched, const void *address);

/* Where the task that runs now was spawned; NULL when none runs. Any thread. */
static inline const char *sched_running_site(const struct sched *sched)
{
    const struct td_task *task = atomic_load_explicit(&sched->current, memory_order_relaxed);

    /* It may have ended since, and another be about to take its place; the memory stays a task's. */
    return task ? atomic_load_explicit(&task->site, memory_order_relaxed) : NULL;
}

/* The running task's name; NULL when it has none. Any thread. */
static inline const char *sched_running_name(const struct sched *sched)
{
    const struct td_task *task = atomic_load_explicit(&sched->current, memory_order_relaxed);

    return task ? atomic_load_explicit(&task->name, memory_order_relaxed) : NULL;
}

/* Spawns the first task, in the root scope; what fn returns goes to *result. */
int sched_start(struct sched *sched, td_fn fn, void *arg, int *result, const char *site);

/*
 * Runs ready tasks for one turn: until none is ready, or 64 resumptions have taken 50 microseconds, or fewer of them
 * 500. Short slices run longer than 64 times because looking at the clock and at the kernel would cost more than they
 * do.
 */
void sched_run(struct sched *sched);

/* To be called after `tracer`, `choose` or `forked` was changed: from now on every switch looks at them. */
static inline void sched_attend(struct sched *sched)
{
    sched->slices_left = 0;
}

static inline void ready_push(struct sched *sched, struct td_task *task)
{
    task->next = NULL;
    *sched->ready_end = task;
    sched->ready_end = &task->next;
}

static inline struct td_task *ready_pop(struct sched *sched)
{
    struct td_task *task = sched->ready;

    if (task && !(sched->ready = task->next))
        sched->ready_end = &sched->ready;
    return task;
}

/* Lets every other ready task run once. */
void task_let_others_run(struct td_task *self);

int scope_verdict(const struct td_task *self);  /* scope.c: of a task in a cancelled scope, or cancelled itself */

/* What a checkpoint answers: 0 or -ECANCELED; -EOWNERDEAD in a forked child. */
static inline int task_verdict(const struct td_task *self)
{
    return (self->scope->cancelled | self->cancelled) ? scope_verdict(self) : 0;
}

/*
 * What every function that may wait does first, whether or not it will wait: notices a cancellation, and lets
 * others run when the caller has passed many checkpoints without parking. Returns 0 or -ECANCELED; -EOWNERDEAD in a
 * forked child.
 */
static inline int task_checkpoint(struct td_task *self)
{
    if (__builtin_expect(--self->sched->ops_left == 0, 0)) {  /* a cancelled task too: it may go on for a while */
        self->sched->ops_left = TASK_CHECKPOINTS_MAX;
        task_let_others_run(self);
    }
    return task_verdict(self);
}

/* Parks the calling task until task_unpark; returns what that was given. In a forked child -EOWNERDEAD, at once. */
int task_park(struct td_task *self, struct wait *wait);

/* Makes a parked task ready. The wait is over: its `abort` is not called any more. */
static inline void task_unpark(struct td_task *task, int rc)
{
    struct sched *sched = task->sched;

    if (__builtin_expect(sched->tracer != NULL, 0))
        sched->tracer->unparked(sched->tracer, task);
    probe2(task_unpark, task, rc);
    task->wait = NULL;
    task->wake_rc = rc;
    ready_push(sched, task);
}

/*
 * What belongs to a scope and is no task: the scope's cancellation reaches it through `cancel`, which may end it at once; its
 * join waits for it; and its failure is one like a task's. Only cancelled tasks' owners must not wait in `cancel`.
 */
struct scope_guest {
    struct td_list link;  /* in scope->guests */
    td_scope *scope;      /* open, of the calling task's loop */
    void (*cancel)(struct scope_guest *guest);
};

void scope_guest_enter(td_scope *scope, struct scope_guest *guest);

/* It is over. `alone`: it alone was cancelled, so that its -ECANCELED is no failure. */
void scope_guest_done(struct scope_guest *guest, int rc, bool alone);

/* Only this room calls these. */

/* The pool of stacks of this size, 0 being the default; NULL when it is out of range. */
struct stack_pool *task_stack_pool(struct sched *sched, size_t size);

/* A new task of the scope, ready; NULL when there is no stack for it. */
struct td_task *task_create(struct sched *sched, struct stack_pool *pool, struct td_scope *scope, td_fn fn, void *arg,
                            const char *site);

/* The scope after `at` in a walk over root and all scopes inside it, parents first; NULL at the end. */
struct td_scope *scope_walk(struct td_scope *root, struct td_scope *at);

void scope_init(struct td_scope *scope, struct td_scope *parent, struct td_task *owner);
void scope_task_done(struct td_scope *scope, struct td_task *task, int rc);

/* Why the scope was cancelled, in words; NULL when it was not. */
const char *scope_cause(const struct td_scope *scope);

/* Cancels the root scope, as td_scope_cancel would: what is shielded keeps its grace time. */
void sched_cancel_root(struct sched *sched);

/* Cancels every task of the scheduler, shielded ones too. */
void sched_cancel(struct sched *sched);

/* The calling task and an open scope of its loop; aborts, naming the function, otherwise. */
struct td_task *scope_user(const struct td_scope *scope, const char *function);

#endif
