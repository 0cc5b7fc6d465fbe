/* SPDX-License-Identifier: MIT */
/*
 * Tasks and scopes. A task is a function with a stack of its own, run by one loop; tasks of a loop take turns at
 * their waits and never run at the same time. A scope is a block of the program that tasks cannot outlive: whoever
 * opens it joins it, and the join returns when all its tasks have.
 *
 * Between open and join the opener is inside the scope, as the scope's tasks are: a cancellation or a deadline
 * reaches all of their waits. Scopes nest; a cancelled scope cancels the scopes inside it. Cancellation is a level,
 * not an edge: once cancelled, every further wait inside the scope answers -ECANCELED at once.
 *
 *     td_scope scope;
 *     td_scope_open(&scope);
 *     td_scope_deadline(&scope, td_after(td_sec(2)));
 *     td_spawn(&scope, fetch, &left);
 *     td_spawn(&scope, fetch, &right);
 *     rc = td_scope_join(&scope);
 *
 * Everything here is for tasks, on the loop the scope was opened on. Elsewhere it aborts with a sentence.
 */
#ifndef TANDEM_SCOPE_H
#define TANDEM_SCOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/list.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int (*td_fn)(void *arg);  /* returns 0 or a negative errno */

/* Lives on its opener's stack. All fields belong to the library. */
typedef struct td_scope {
    struct td_scope *parent;
    struct td_task *owner;
    struct td_list tasks;     /* spawned here and not finished */
    struct td_list guests;    /* jobs submitted here and not finished */
    struct td_list children;  /* scopes opened inside */
    struct td_list sibling;
    struct td_timer deadline;
    size_t running;           /* tasks and jobs that are not finished */
    size_t failures;          /* tasks that returned an error of their own */
    int failure;              /* the first one's; 0 while there is none */
    unsigned char cause;      /* why it was cancelled */
    bool open, cancelled, joining, declined, shielded, collecting;
} td_scope;

/*
 * A task from outside. A handle never means another task than the one it was made for: once that has ended, the handle
 * means none, though its memory serves another. For the tasks of the same loop only.
 */
typedef struct td_handle {
    struct td_task *task;
    uint64_t id;
} td_handle;

/* Opens a scope inside the caller's innermost one. Not a checkpoint. */
void td_scope_open(td_scope *scope);

/*
 * Opens a scope that a cancellation from outside does not reach, for `grace_ns` nanoseconds at the most: then it is
 * cancelled, for good. For cleaning up in a task that is being cancelled: to say good-bye, to flush. Joined like
 * any other; -ETIMEDOUT then means that the grace time was over. Not a checkpoint.
 */
void td_scope_open_shielded(td_scope *scope, td_time grace_ns);

/*
 * Starts fn(arg) as a task of the scope; it first runs when the caller waits. `arg` must live until the task is
 * done; an object declared before the scope does.
 *
 * Checkpoint: no.  Returns 0; -ENOMEM when there is no memory for a stack (the log says which limit was met);
 * -EINVAL when fn is NULL.
 */
#define td_spawn(...) td_spawn_at(__VA_ARGS__, __FILE__ ":" TD_STRING(__LINE__))

/* What td_spawn calls: `site` names the place in dumps and reports, and must be a constant. Otherwise as td_spawn. */
int td_spawn_at(td_scope *scope, td_fn fn, void *arg, const char *site);

/* What td_spawn_with can be told. Every field may be zero, for its default. */
typedef struct td_spawn_opts {
    size_t stack_size;   /* bytes, guard included: rounded up to 16 KiB or 4, 16, ... 4,096 times as much; 0: the run's */
    const char *name;    /* for dumps; a constant */
    int *result;         /* what fn returned is stored here when it has; untouched until then */
    td_handle *handle;   /* is set to mean the new task */
} td_spawn_opts;

/* td_spawn with options. Also -EINVAL for a stack size out of range (more than 64 MiB). */
#define td_spawn_with(...) td_spawn_with_at(__VA_ARGS__, __FILE__ ":" TD_STRING(__LINE__))
int td_spawn_with_at(td_scope *scope, const td_spawn_opts *opts, td_fn fn, void *arg, const char *site);

/*
 * From now on a task's failure does not cancel the others, and td_scope_join does not return it: all run to their
 * ends, and td_spawn_opts.result has what each returned. A failure before has cancelled them, and is still returned. Not
 * a checkpoint.
 */
void td_scope_collect(td_scope *scope);

/* Of an open or a joined scope: how many of its tasks failed, those not counted that a cancellation ended. */
size_t td_scope_failures(const td_scope *scope);

/*
 * Waits until all tasks of the scope are done, and closes it. Only the opener may join, and must: a task that ends
 * with an open scope aborts the program.
 *
 * Checkpoint: yes, but a cancelled join still waits for its tasks (which the same cancellation reaches).
 * Returns 0; the first failure of a task (which cancelled the others), unless the scope collects; -ETIMEDOUT when the
 * scope's own deadline cancelled it; -ECANCELED when a scope around it was cancelled, or when td_scope_cancel made a task
 * give up. Of several causes the one that cancelled it first is the answer.
 */
int td_scope_join(td_scope *scope);

/* Cancels every wait inside the scope, present and future. Harmless when repeated. Not a checkpoint. */
void td_scope_cancel(td_scope *scope);

/*
 * Cancels the scope at the given time, unless it was joined by then; a time in the past cancels at once. Deadlines
 * are only tightened: a later one than the present one changes nothing. Not a checkpoint.
 */
void td_scope_deadline(td_scope *scope, td_time at);

/* Whether the scope was cancelled, for whatever reason. Not a checkpoint. */
bool td_scope_cancelled(const td_scope *scope);

/*
 * The earliest deadline that reaches the calling task's waits, also when it has passed; TD_FOREVER when there is none. Not a
 * checkpoint.
 */
td_time td_deadline(void);

/* The calling task. Not a checkpoint. */
td_handle td_self(void);

/* Whether the task has not ended yet. Not a checkpoint. */
bool td_alive(td_handle handle);

/*
 * Cancels one task, with all scopes it has opened, as if a scope around it alone had been cancelled: its siblings go on,
 * and its -ECANCELED is not taken for a failure. Not a checkpoint. Returns 0, or -ESRCH when it has ended.
 */
int td_cancel(td_handle handle);

/*
 * Lets the other ready tasks run once.
 *
 * Checkpoint: yes.  Returns 0, or -ECANCELED.
 */
int td_yield(void);

#define TD_STRING(x) TD_STRING_(x)
#define TD_STRING_(x) #x

#ifdef __cplusplus
}
#endif
#endif
