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
#include "tandem/scope.h"
#include "task/context.h"
#include "task/stack.h"
#include "task/timers.h"

struct wait {
    void (*abort)(struct wait *wait);  /* NULL: this wait ends by itself soon after a cancellation, or must not be cut short */
    const char *what;                  /* for dumps: "sleep", "read from a socket" */
    td_time since;                     /* when it began, give or take a turn; set by task_park where it is 0 */
};

struct sched;

struct td_task {
    struct td_list link;      /* in the ready queue */
    struct td_list all;       /* in sched->all */
    struct td_list sibling;   /* in home->tasks */
    struct context context;
    struct sched *sched;
    struct td_scope *scope;   /* the innermost it is in */
    struct td_scope *home;    /* the one it was spawned in */
    struct wait *wait;        /* while parked */
    int wake_rc;
    td_fn fn;
    void *arg;
    const char *site;         /* where it was spawned: "file:line" */
};

/* What a tracer is told. It may not wait, spawn or unpark. Upper floors hand it in; see src/debug. */
struct sched_tracer {
    void (*spawned)(struct sched_tracer *tracer, const struct td_task *task);
    void (*switched)(struct sched_tracer *tracer, const struct td_task *task);  /* NULL: the loop's turn */
    void (*parked)(struct sched_tracer *tracer, const struct td_task *task);    /* its wait says what for */
    void (*unparked)(struct sched_tracer *tracer, const struct td_task *task);
    void (*done)(struct sched_tracer *tracer, const struct td_task *task);
};

struct sched {
    struct td_list ready, all;
    struct td_task *current;
    struct context main;      /* the loop's own context: the thread's stack */
    struct timers timers;
    struct stack_pool stacks;
    struct td_scope root;
    size_t tasks;             /* alive */
    unsigned slices_left;     /* resumptions until the loop gets its turn, for I/O and timers */
    unsigned ops_left;        /* checkpoints the current task may pass without parking before it yields */
    td_time turn_ends, looked_at; /* the clock was, last */
    unsigned look_every;      /* so many resumptions: often while tasks take long */
    bool forked;              /* this is a forked child: the loop and all other tasks are the parent's */
    /* For the watchdog's thread: which task runs, and a count that moves with every resumption. */
    _Atomic(const char *) running_site;
    _Atomic uint64_t switches;
    struct sched_tracer *tracer;  /* NULL while nobody traces */
};

/* Where the task that runs now was spawned; NULL when none does. Any thread. */
static inline const char *sched_running_site(const struct sched *sched)
{
    return atomic_load_explicit(&sched->running_site, memory_order_relaxed);
}

/* The lowest address of the task's stack that is not guard; the highest is the task itself. */
static inline void *task_stack_low(const struct td_task *task, const struct sched *sched)
{
    return (char *)(uintptr_t)task + sizeof *task + sizeof(void *) - sched->stacks.slot_size + sched->stacks.guard_size;
}

/* The scheduler of the calling thread, NULL when it runs none. */
struct sched *sched_current(void);

/*
 * In the child of a fork: marks the calling thread's scheduler. From now on its one task, whose copy the child runs on,
 * never leaves its stack: checkpoints and parks answer -EOWNERDEAD. Safe in a signal handler.
 */
void sched_forked(void);

/* In a child that is no task and goes its own way: as if this thread had never run a scheduler. */
void sched_disown(void);

/* The calling task; aborts, naming the function, when the caller is not a task. */
struct td_task *task_self(const char *function);

int sched_open(struct sched *sched, size_t stack_size);
void sched_close(struct sched *sched);   /* no task may be alive */

/* Spawns the first task, in the root scope. */
int sched_start(struct sched *sched, td_fn fn, void *arg, const char *site);

/* Runs ready tasks for at most one turn: 64 resumptions or about 500 microseconds, whichever ends first. */
void sched_run(struct sched *sched);

/* Writes a log line for every task: where it was spawned, and what it waits for. */
void sched_dump(struct sched *sched);

/*
 * What every function that may wait does first, whether or not it will wait: notices a cancellation, and lets
 * others run when the caller has passed many checkpoints without parking. Returns 0 or -ECANCELED; -EOWNERDEAD in a
 * forked child.
 */
int task_checkpoint(struct td_task *self);

/* Parks the calling task until task_unpark; returns what that was given. In a forked child -EOWNERDEAD, at once. */
int task_park(struct td_task *self, struct wait *wait);

/* Makes a parked task ready. The wait is over: its `abort` is not called any more. */
void task_unpark(struct td_task *task, int rc);

/* Only scope.c and task.c call these. */
void scope_init(struct td_scope *scope, struct td_scope *parent, struct td_task *owner);
void scope_task_done(struct td_scope *scope, struct td_task *task, int rc);
void scope_interrupt(struct td_task *task);

/* Why the scope was cancelled, in words; NULL when it was not. */
const char *scope_cause(const struct td_scope *scope);

int scope_refusal(const struct td_task *task);  /* why its next wait is refused, when its scope is cancelled */
int task_create(struct sched *sched, struct td_scope *scope, td_fn fn, void *arg, const char *site);

/* Cancels every task of the scheduler, shielded ones too. */
void sched_cancel(struct sched *sched);

#endif
