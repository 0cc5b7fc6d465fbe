/* SPDX-License-Identifier: MIT */
/*
 * Jobs as things of their own: handed to a pool now, waited for later; and what a job may ask of the pool that runs it.
 *
 *     td_scope scope;
 *     td_job left, right;
 *
 *     td_scope_open(&scope);
 *     td_submit(&scope, &left, pool, sum, &halves[0], NULL);
 *     td_submit(&scope, &right, pool, sum, &halves[1], NULL);
 *     rc = td_job_wait(&left);        // or other work meanwhile
 *     ...
 *     rc = td_scope_join(&scope);     // waits for both: a job never outlives its scope
 *
 * A submitted job is to its scope what a task is: the scope's cancellation and deadline reach it, the first failure
 * cancels the others (unless the scope collects), and the join waits for all. A job that gives way in a queue that drops is a
 * failure, too: with TD_DROP_OLDEST, collect.
 */
#ifndef TANDEM_JOB_H
#define TANDEM_JOB_H

#include "tandem/pool.h"
#include "tandem/select.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In the caller's memory until its scope is joined. Its fields belong to the library. */
typedef struct td_job {
    union {
        void *aligns;
        unsigned char bytes[384];
    } room;
} td_job;

/*
 * Hands fn(arg) to the pool as a job of the scope. With TD_WAIT it waits for room in the queue, not for the job.
 *
 * Checkpoint: yes, whether or not it waits.  Thread: a task of the loop that opened the pool.  opts may be NULL; what it
 * points to (report, output) must last as long as the scope.
 * Returns 0: the job was accepted, and has its outcome in td_job_wait; or why not, as td_offload_with (then the scope knows
 * nothing of it, and opts->report says more).
 */
int td_submit(td_scope *scope, td_job *job, td_pool *pool, td_fn fn, void *arg, const td_offload_opts *opts);

/*
 * Waits for the job's outcome, as often as one likes. A caller that is cancelled leaves the job alone; its scope has it.
 *
 * Checkpoint: yes.  Returns the outcome, as of td_offload_with; -ECANCELED, which may be the caller's or the job's:
 * td_job_done tells.
 */
int td_job_wait(td_job *job);

/* Whether the job has its outcome; then td_job_wait does not wait. Not a checkpoint. */
bool td_job_done(const td_job *job);

/*
 * Cancels one job: one that waits ends at once, one that runs as the pool's on_cancel says. Its -ECANCELED is not taken
 * for a failure by the scope. Harmless when it is done. Not a checkpoint.
 */
void td_job_cancel(td_job *job);

/* For td_select: the job has its outcome. Its result: the outcome. */
td_case td_on_job(td_job *job);

/* Of a job that runs: what it last told with td_job_progress; 0 before. Not a checkpoint. */
unsigned td_job_progress_of(const td_job *job);

/*
 * Inside a job: whether it is to end, because its deadline has passed or nobody wants it any more. A job that looks, and
 * returns -ECANCELED, spares its worker. Costs a nanosecond or so. False outside of jobs.  Thread: the job's.
 */
bool td_job_cancelled(void);

/* Inside a job: tells how far it is, in a unit of its own. Ignored outside of jobs.  Thread: the job's. */
void td_job_progress(unsigned progress);

/*
 * Inside a job: the block that was reserved for its output, and its size in bytes; what it holds before is undefined. NULL when
 * none was asked for, and outside of jobs.  Thread: the job's.
 */
void *td_job_output(size_t *size);

/* Whether the caller is a job, or a worker's init.  Any thread. */
bool td_in_job(void);

#ifdef __cplusplus
}
#endif
#endif
