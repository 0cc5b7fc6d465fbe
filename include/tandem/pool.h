/* SPDX-License-Identifier: MIT */
/*
 * Pools: work that moves to the cores. A task hands a function and its data to a pool and waits for the outcome,
 * while its loop goes on with the other tasks.
 *
 * The workers are threads or processes. A thread sees all of the program's memory, and takes the program with it
 * when it crashes. A process sees shared memory (td_shared_alloc), which every worker maps at the same address, and
 * what the program had when td_run was called; when it crashes it costs the one job it ran, and is replaced.
 *
 * A pool holds `queue` jobs beyond those running, and says what happens to the next one. Every accepted job has
 * exactly one outcome.
 *
 * Everything here is for tasks of the loop that opened the pool.
 */
#ifndef TANDEM_POOL_H
#define TANDEM_POOL_H

#include <stddef.h>

#include "tandem/scope.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum td_pool_kind { TD_THREADS = 0, TD_PROCESSES } td_pool_kind;

typedef enum td_when_full {
    TD_WAIT = 0,     /* the caller waits for room */
    TD_REJECT,       /* the caller gets -EBUSY at once */
    TD_DROP_OLDEST,  /* the job that waited longest gives way, of those not submitted with TD_WAIT: it gets -EBUSY */
    TD_POOL_DEFAULT, /* in td_offload_opts: what the pool was opened with */
} td_when_full;

typedef enum td_on_cancel {
    TD_CANCEL_KILL = 0,  /* a cancelled caller's running job is killed with its worker process */
    TD_CANCEL_FINISH,    /* it runs to its end, and the caller waits for that; threads always do */
} td_on_cancel;

#define TD_QUEUE_NONE ((size_t)-1)

typedef struct td_pool_opts {
    td_pool_kind kind;
    unsigned workers;       /* 0: one for each core the program may use */
    size_t queue;           /* jobs held beyond those running; 0: 64; TD_QUEUE_NONE: none */
    td_when_full when_full;
    td_time deadline;       /* nanoseconds a job may take from submission to its end; 0: any time */
    td_on_cancel on_cancel;
    const char *name;       /* for the log; a constant; NULL: "pool" */
} td_pool_opts;

typedef struct td_pool td_pool;

/*
 * Opens a pool. Its workers start in the background; jobs may be submitted at once.
 *
 * Not a checkpoint. Returns 0 and *pool; -EINVAL for options out of range; -ENOMEM; -EAGAIN when no thread could be
 * started; -ENOSYS when shared memory or worker processes could not be set up.
 */
int td_pool_open(td_pool **pool, const td_pool_opts *opts);

/*
 * Closes a pool: refuses further jobs, waits for the ones it holds, ends the workers, frees the pool. When the
 * caller is cancelled, jobs that wait end with -ECANCELED and running ones are killed (those of threads are waited
 * for).
 *
 * Checkpoint: yes, though a cancelled close still closes. Returns 0, or -ECANCELED when it had to end jobs.
 */
int td_pool_close(td_pool *pool);

/*
 * Ends all jobs now with -ECANCELED: waiting ones at once, running ones when their worker process is dead (a
 * thread's when it returns). The pool stays open. Not a checkpoint.
 */
void td_pool_cancel(td_pool *pool);

/*
 * Runs fn(arg) on a worker and waits for it. For a process pool `arg` is NULL or points into shared memory.
 *
 * Checkpoint: yes.
 * Returns what fn returned; -EBUSY when the queue was full (or the job gave way in a queue that drops); -ETIMEDOUT
 * when the job's deadline passed, in the queue or running (a running job is killed with its worker process; a
 * thread cannot be killed: the caller waits until its memory is safe); -EOWNERDEAD when the worker process died;
 * -EFAULT for memory a worker process cannot see; -ECANCELED; -EPIPE when the pool is closing.
 */
int td_offload(td_pool *pool, td_fn fn, void *arg);

typedef struct td_job_report {
    td_time queued_ns;  /* from submission until a worker had it, or until it ended without one */
    td_time ran_ns;     /* in the worker; 0 when it never began */
    int signal;         /* that ended the worker, with -EOWNERDEAD */
} td_job_report;

typedef struct td_offload_opts {
    td_time deadline;        /* duration from now; 0: the pool's */
    td_when_full when_full;
    td_job_report *report;   /* filled in whatever the outcome; may be NULL */
} td_offload_opts;

/* td_offload with options. */
int td_offload_with(td_pool *pool, td_fn fn, void *arg, const td_offload_opts *opts);

/*
 * Runs fn on each of `count` items of `item_size` bytes, in chunks that shrink towards the end; at most twice as
 * many chunks as there are workers are under way. Waits for room whatever the pool's policy. For a process pool the
 * items lie in shared memory.
 *
 * Checkpoint: yes. Returns 0; the first error, after which no further chunk starts and running ones are cancelled;
 * or as td_offload.
 */
int td_pool_map(td_pool *pool, td_fn fn, void *items, size_t count, size_t item_size);

typedef struct td_pool_stats {
    unsigned workers, busy;
    size_t depth, depth_peak, queue;         /* waiting jobs now, at the most, and allowed */
    td_time oldest_age_ns;                   /* of the job that waits longest */
    unsigned long long ok, error, rejected, dropped, timeout, cancelled, died;  /* outcomes of jobs */
    unsigned long long deaths;               /* of worker processes, those we killed included */
    td_time ran_ns;                          /* in workers, all finished jobs together */
    td_time mean_ran_ns;                     /* moving average */
} td_pool_stats;

/* Not a checkpoint. */
void td_pool_statistics(td_pool *pool, td_pool_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
