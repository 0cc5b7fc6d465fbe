/* SPDX-License-Identifier: MIT */
/*
 * The loop: turns of tasks, timers and I/O, driven by one thread.
 *
 * A turn runs ready tasks (64 resumptions or 500 microseconds), then what asked to run at the turn's end (so that a
 * turn's writes to a socket leave in one system call), then due timers, then the backend, waiting there only when
 * nothing is ready.
 */
#ifndef TANDEM_LOOP_LOOP_H
#define TANDEM_LOOP_LOOP_H

#include <signal.h>
#include <stdatomic.h>

#include "base/dice.h"
#include "loop/blocking.h"
#include "loop/io.h"
#include "loop/poller.h"
#include "tandem/run.h"
#include "task/task.h"

/* What each part of a run draws from, so that one more draw in the library does not change a program's numbers. */
enum stream { STREAM_PROGRAM, STREAM_ORDER, STREAM_NETWORK, STREAM_POOLS };

/* Something to do at the end of this turn, before the loop may wait. Linked at most once; list_init it first. */
struct turn_end {
    struct td_list link;
    void (*run)(struct turn_end *self);
};

/* A note to a loop from any thread; its memory is the sender's until `receive` runs, on the loop. */
struct loop_note {
    struct loop_note *next;
    void (*receive)(struct loop_note *note);
};

/* What a loop may be told to do, from anywhere. */
enum loop_order {
    LOOP_CANCEL = 1,    /* cancel the root scope; shielded scopes keep their grace time */
    LOOP_JUDGE = 2,     /* look again whether this is a deadlock */
    LOOP_DEADLOCK = 4,  /* it is one, of all loops (loop/fleet.h) */
};

struct fleet;

struct loop {
    struct sched sched;
    const struct backend_table *table;
    struct backend *backend;
    struct td_list turn_ends;
    struct td_list pollers;        /* what is looked at each turn */
    struct td_list keeps;          /* what upper floors keep for it: loop/keep.h */
    unsigned workers_busy;         /* of its pools */
    int spin_luck;                 /* below 0: so many chances to spin are let pass */
    size_t io_pending;             /* operations under way that can still make a task ready */
    size_t outside_pending;        /* jobs under way in pools: likewise */
    struct io_sender *senders;     /* spare ones (loop/receive.h) */
    bool receive_one_shot;
    struct io_file wake_file;      /* an eventfd: notes have come */
    struct io_op wake_op;
    uint64_t wake_count;
    _Atomic(struct loop_note *) notes;
    struct blocking blocking;      /* threads for calls that block */
    sigset_t signals_before;       /* the thread's mask: SIGPIPE and SIGXFSZ are blocked while the loop lives */
    struct zygote *zygote;         /* forks worker processes (src/pool); the loop only keeps it for them */
    struct classes *classes;       /* ready-made pools (src/pool): likewise; NULL: none was used yet */
    uint64_t seed;
    struct dice dice;              /* td_random's */
    bool virtual;                  /* runs in virtual time: */
    td_time virtual_now, stood_ns; /* the clock; how long we have waited for pools since it last moved */
    struct fleet *fleet;           /* the loops of this td_run; NULL in tests of a bare loop */
    unsigned index;                /* among them */
    char name[16];                 /* for reports: "the loop", or "loop 2" where there are several */
    size_t mailboxes;              /* that were opened here and not freed */
    size_t mailbox_waits;          /* tasks that wait for an item or for room in a mailbox: other loops can end that */
    bool waits_for_others;         /* and all that this loop waits for is of that kind; guarded by the fleet's mutex */
    _Atomic unsigned orders;       /* not carried out yet */
    struct loop_note order_note;   /* on its way while there are any */
    td_time timers_fired_at;
    bool deadlocked, closing;
    bool keep_signals;             /* leave SIGQUIT to the program */
    struct inspected *inspected;   /* for those who look at it from other threads (src/debug) */
    td_time stall_after_ns;
    _Atomic td_time busy_since;    /* when the current turn began; 0 while the loop waits in its backend */
    _Atomic bool stall_seen;       /* by the watchdog, since the loop last told of one itself */
    td_loop_stats stats;
};

/* The calling thread's loop; only where one runs. */
struct loop *loop_current(void);

int loop_open(struct loop *loop, const td_opts *opts);
void loop_close(struct loop *loop);

/* Runs until no task is alive. Returns 0, -EDEADLK, or what the backend failed with. */
int loop_run(struct loop *loop);

/*
 * Runs an operation for the calling task and parks it until the completion. `op` needs kind, file and arguments.
 * Checkpoint: yes. Returns the result, or -ECANCELED; data that came first is returned, never lost.
 */
int loop_io(struct td_task *self, struct io_op *op, const char *what);

/* The same without a task: `done` is called once, unless true is returned: then op->result has the result already. */
bool loop_io_start(struct loop *loop, struct io_op *op);
void loop_io_cancel(struct loop *loop, struct io_op *op);

void loop_forget(struct loop *loop, struct io_file *file);  /* before close(2) */

void loop_at_turn_end(struct loop *loop, struct turn_end *end);

/* Any thread, also while the loop waits. */
void loop_notify(struct loop *loop, struct loop_note *note);

/* Gives an order. Any thread, and signal handlers: it takes no lock, and leaves errno alone. */
void loop_order(struct loop *loop, enum loop_order order);

static inline struct loop *loop_of(struct td_task *task)
{
    return container_of(task->sched, struct loop, sched);
}

#endif
