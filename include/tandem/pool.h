/* SPDX-License-Identifier: MIT */
/*
 * Pools: work that moves to the cores. A task hands a function and its data to a pool and waits for the outcome,
 * while its loop goes on with the other tasks.
 *
 *     td_pool *chefs;
 *     int rc = td_pool_open(&chefs, &(td_pool_opts){.kind = TD_PROCESSES, .name = "chefs"});
 *     ...
 *     rc = td_offload(chefs, solve, equation);
 *
 * The workers are threads or processes. A thread sees all of the program's memory, and takes the program with it
 * when it crashes. A process sees shared memory (td_shared_alloc), which every worker maps at the same address, and
 * what the program had when td_run was called; when it crashes it costs the one job it ran, and is replaced. (A program that
 * gives up its rights does so before td_run: workers have what it had then, and afterwards it could not end them.)
 *
 * A pool holds `queue` jobs beyond those running, and says what happens to the next one. Every accepted job has
 * exactly one outcome, and every refusal a reason (td_job_report.refusal).
 *
 * Jobs of different kinds of urgency belong in pools of their own: a slow one never stands before a fast one of another
 * pool. Within a pool there are priorities, and workers reserved for the highest.
 *
 * Everything here is for tasks of the loop that opened the pool. Inside a job the submitting calls answer -EDEADLK: a
 * job that waited for another job of its own pool could wait for ever. tandem/job.h has what a job may call.
 */
#ifndef TANDEM_POOL_H
#define TANDEM_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/histogram.h"
#include "tandem/scope.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum td_pool_kind { TD_THREADS = 0, TD_PROCESSES } td_pool_kind;

typedef enum td_when_full {
    TD_POOL_DEFAULT = 0,  /* of a job: what its pool was opened with; of a pool, a channel and the like: TD_WAIT */
    TD_WAIT,         /* the caller waits for room */
    TD_REJECT,       /* the caller gets -EBUSY at once */
    TD_DROP_OLDEST,  /* the job that waited longest gives way, of those not submitted with TD_WAIT: it gets -EBUSY */
} td_when_full;

typedef enum td_on_cancel {
    TD_CANCEL_KILL = 0,  /* a cancelled caller's running job is killed with its worker process */
    TD_CANCEL_FINISH,    /* it is asked to end (td_job_cancelled), and the caller waits until it has; threads always do */
} td_on_cancel;

typedef enum td_priority { TD_PRIORITY_NORMAL = 0, TD_PRIORITY_HIGH, TD_PRIORITY_LOW } td_priority;

/* Why a job was refused, or given up before it began. */
typedef enum td_refusal {
    TD_REFUSED_NOT = 0,
    TD_REFUSED_QUEUE,     /* -EBUSY: as many jobs wait as may */
    TD_REFUSED_BYTES,     /* -EBUSY: the jobs that wait hold as many bytes as they may */
    TD_REFUSED_DROPPED,   /* -EBUSY: it was accepted, and gave way to a newer one */
    TD_REFUSED_DEADLINE,  /* -EBUSY: those before it will take longer than it has time (admit_by_deadline) */
    TD_REFUSED_DELAY,     /* -EBUSY: jobs have waited too long for too long (delay_target_ns) */
    TD_REFUSED_MEMORY,    /* -ENOMEM: no shared memory for its output */
    TD_REFUSED_BROKEN,    /* -EOWNERDEAD: ten workers died in a row, and no job was finished in between */
    TD_REFUSED_CLOSING,   /* -EPIPE */
    TD_REFUSALS
} td_refusal;

#define TD_QUEUE_NONE ((size_t)-1)

typedef struct td_pool_opts {
    td_pool_kind kind;
    unsigned workers;           /* from the start, and at least; 0: one for each core the program may use */
    unsigned workers_max;       /* grows up to so many while they are busy, shrinks when they are not; 0: never grows */
    unsigned workers_reserved;  /* of `workers`: take jobs of TD_PRIORITY_HIGH only; fewer than `workers` */
    unsigned stuck_max;         /* threads only: how many may be left behind in jobs whose deadline passed; see td_offload */
    size_t queue;               /* jobs held beyond those running; 0: 64; TD_QUEUE_NONE: none */
    size_t queue_bytes;         /* of shared memory that jobs hold which do not run yet; 0: half of the arena */
    td_when_full when_full;
    td_on_cancel on_cancel;
    td_time deadline;           /* nanoseconds a job may take from submission to its end; 0: any time */
    td_time kill_grace_ns;      /* processes: a job that is to end is asked (td_job_cancelled), and killed so much later;
                                   0: at once */
    td_time delay_target_ns;    /* CoDel: refuses while every job of the last 100 ms waited longer than this, or than twice
                                   the mean job when that is more; 0: never. TD_WAIT or not; td_pool_map is exempt */
    bool admit_by_deadline;     /* refuses a job that cannot begin before its deadline, by what those before it take */
    bool strict;                /* processes: see shared memory read-only but for outputs; after worker_init they may only
                                   compute (seccomp), and write to standard error */
    size_t memory_max;          /* processes: bytes of private memory that a worker may add to what it is born with, or a command
                                   to what it has when it is ready for jobs; 0: any */
    td_time cpu_max_ns;         /* processes: processor time of one job, rounded up to seconds; 0: any */
    int (*worker_init)(void *arg);   /* runs first in each worker; an error ends the worker, which is tried again later */
    void (*worker_exit)(void *arg);  /* runs last in a worker that ends in peace */
    void *worker_arg;           /* for both; processes: as `arg` of td_offload */
    const char *const *command; /* processes: a program in any language (docs/shared-memory.md); a constant, ends with NULL */
    const char *name;           /* for the log; a constant; NULL: "pool" */
} td_pool_opts;

typedef struct td_pool td_pool;

/*
 * Opens a pool. Its workers start in the background; jobs may be submitted at once. Where no worker can be started, that is
 * tried again for a few seconds; then the jobs that wait end with the reason.
 *
 * Not a checkpoint. Returns 0 and *pool; -EINVAL for options out of range, or that do not go together (a log line says
 * which); -ENOMEM; -EFAULT for a worker_arg that a worker process cannot see;
 * -ENOSYS when shared memory or worker processes could not be set up.
 */
int td_pool_open(td_pool **pool, const td_pool_opts *opts);

/*
 * Closes a pool: refuses further jobs, waits for the ones it holds, ends the workers, frees the pool. When the
 * caller is cancelled, jobs that wait end with -ECANCELED and running ones are killed (those of threads are waited
 * for, stuck ones too).
 *
 * Checkpoint: yes, though a cancelled close still closes. Returns 0, or -ECANCELED when the caller was cancelled.
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
 * While a job is in the pool it holds the block of shared memory that `arg` lies in: freed meanwhile, the block lives on until
 * no worker can touch it any more.
 *
 * A thread cannot be killed. Past its deadline its caller waits on until the job has returned - unless the pool has
 * `stuck_max`, and `arg` is NULL or lies in shared memory: then the caller is answered at once, the thread is
 * counted as stuck, and another takes its place. So with `stuck_max` a job must not touch any other memory of its caller's. A
 * map with `results` is waited for.
 *
 * Checkpoint: yes.
 * Returns what fn returned; -EBUSY when it was refused, or gave way in a queue that drops; -ETIMEDOUT
 * when the job's deadline passed, in the queue or running (a running job is killed with its worker process); -EOWNERDEAD
 * when the worker process died, or so many did that the pool refuses work; -EFAULT for memory a worker process cannot see;
 * -ENOMEM when there was no room for its output; -ECANCELED; -EPIPE when the pool is closing; -EDEADLK inside a job.
 */
int td_offload(td_pool *pool, td_fn fn, void *arg);

/*
 * For pools with a `command`, whose workers know no function of this program: what stands for their function of this number,
 * in place of `fn` wherever a job is handed in (td_offload, td_submit, td_pool_map); there only. -EINVAL for anything else, and
 * in any other pool. Any thread.
 */
td_fn td_op(unsigned number);

typedef struct td_job_report {
    td_time queued_ns;   /* from submission until a worker had it, or until it ended without one */
    td_time ran_ns;      /* in the worker; 0 when it never began */
    int signal;          /* that ended the worker, with -EOWNERDEAD */
    unsigned deaths;     /* of workers while they ran it */
    td_refusal refusal;
} td_job_report;

#define TD_ATTEMPTS_MAX 3

typedef struct td_offload_opts {
    td_time deadline;        /* duration from now; 0: the pool's */
    td_when_full when_full;
    td_priority priority;
    unsigned attempts;       /* workers that may die of it before it ends with -EOWNERDEAD, TD_ATTEMPTS_MAX at the most; 0: one.
                                More than one is for jobs that may be run again from the beginning */
    size_t output_bytes;     /* room for what it makes, reserved before it is accepted (td_job_output); 0: none; 4 GiB - 1 at
                                the most */
    void **output;           /* where that block goes when the job has returned 0 or more: the caller's, to td_shared_free;
                                NULL is stored there otherwise */
    td_job_report *report;   /* filled in whatever the outcome; may be NULL */
} td_offload_opts;

/* td_offload with options, NULL for none. Also -EINVAL for options out of range. */
int td_offload_with(td_pool *pool, td_fn fn, void *arg, const td_offload_opts *opts);

typedef struct td_map_opts {
    size_t chunk_max;      /* items that a worker is handed at once; 0: as many as make the chunks end together */
    unsigned window;       /* chunks under way; 0: twice as many as there are workers */
    bool collect;          /* an error of fn does not end the rest */
    int *results;          /* what fn returned for each item; -ECANCELED for those it never saw; processes: in shared memory,
                              and not in strict pools (-EINVAL), which read it only */
    td_priority priority;
    td_time deadline;      /* of each chunk, from its submission */
} td_map_opts;

/*
 * Runs fn on each of `count` items of `item_size` bytes, in chunks that shrink towards the end, a bounded number of
 * them under way. Waits for room whatever the pool's policy. For a process pool the items lie in shared memory.
 *
 * Checkpoint: yes. Returns 0; the first error, after which no further chunk starts and running ones are cancelled (with
 * `collect` 0, unless workers died or deadlines passed); or as td_offload.
 */
int td_pool_map(td_pool *pool, td_fn fn, void *items, size_t count, size_t item_size);
int td_pool_map_with(td_pool *pool, td_fn fn, void *items, size_t count, size_t item_size, const td_map_opts *opts);

/* Why worker processes died. */
typedef enum td_death {
    TD_DEATH_CRASH = 0,  /* by a signal that nobody here sent: SIGSEGV and the like */
    TD_DEATH_KILLED,     /* by SIGKILL from outside: somebody, or the kernel short of memory */
    TD_DEATH_EXIT,       /* it called exit */
    TD_DEATH_DEADLINE,   /* we killed it: its job's deadline passed */
    TD_DEATH_CANCEL,     /* we killed it: its job was cancelled */
    TD_DEATH_CPU,        /* its job used more than cpu_max_ns */
    TD_DEATH_FORBIDDEN,  /* its job made a system call that the strict mode forbids */
    TD_DEATH_CORRUPT,    /* we killed it: it wrote over what it shares with the pool */
    TD_DEATH_STOPPED,    /* we killed it: it did not begin the job it had, being stopped (SIGSTOP, say) or asleep for good */
    TD_DEATHS
} td_death;

typedef struct td_pool_stats {
    unsigned workers, busy;                  /* that there are or that are being started, and those that run a job */
    unsigned workers_min, workers_max;
    unsigned stuck;                          /* threads left behind */
    size_t depth, depth_peak, queue;         /* waiting jobs now, at the most, and allowed */
    size_t bytes, bytes_peak, queue_bytes;   /* that they hold, likewise */
    td_time oldest_age_ns;                   /* of the job that waits longest */
    /* What became of jobs: each is counted once. `rejected`: refused at the door; the others had been accepted. */
    unsigned long long ok, error, rejected, dropped, timeout, cancelled, died;
    unsigned long long refused[TD_REFUSALS]; /* by reason: the rejected, the dropped, and those a broken pool gave up */
    unsigned long long deaths;               /* of worker processes, those we killed included */
    unsigned long long deaths_by[TD_DEATHS];
    unsigned long long quarantined;          /* jobs that were given up after TD_ATTEMPTS_MAX deaths */
    unsigned long long grown, shrunk;        /* workers added and retired */
    unsigned long long wakes_sent, wakes_suppressed;      /* of sleeping workers; and jobs they took without */
    unsigned long long notices_sent, notices_suppressed;  /* of finished jobs to a waiting loop; and those it saw by itself */
    size_t arena_used_bytes;                 /* shared memory: of everybody */
    size_t arena_quarantined_bytes;          /* freed by the program, and still held by jobs */
    td_time ran_ns;                          /* in workers, all finished jobs together */
    td_time mean_ran_ns;                     /* moving average */
    double busy_share;                       /* of the workers' time, over the last second or so; 0 to 1 */
    bool broken;                             /* it refuses work (TD_REFUSED_BROKEN), until it has had a pause */
} td_pool_stats;

/* Not a checkpoint. */
void td_pool_statistics(td_pool *pool, td_pool_stats *stats);

/* How long jobs waited for a worker (sojourn), and ran there (service), in nanoseconds. Either may be NULL. Not a checkpoint. */
void td_pool_histograms(td_pool *pool, td_histogram *sojourn, td_histogram *service);

/* A word for logs and metrics: "queue", "bytes", "dropped", ...; "crash", "killed", ... Any thread. */
const char *td_refusal_name(td_refusal refusal);
const char *td_death_name(td_death death);

#ifdef __cplusplus
}
#endif
#endif
