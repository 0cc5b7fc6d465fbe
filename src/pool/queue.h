/* SPDX-License-Identifier: MIT */
/*
 * A pool's queue: who gets in, who waits, who gives way.
 */
#ifndef TANDEM_POOL_QUEUE_H
#define TANDEM_POOL_QUEUE_H

#include "pool/pool.h"

/* Ends a job that is in no list and has no worker: counts the outcome, fills the report, wakes its task. */
void job_finish(struct job *job, int rc);

/* Moves jobs from `waiting` to the queue while there is room. */
void queue_admit_waiting(td_pool *pool);

/* Gives a job back that its worker never began: to the front, for it has waited its turn. */
void queue_put_back(td_pool *pool, struct job *job);

/* Ends all jobs that no worker has. */
void queue_fail_all(td_pool *pool, int rc);

/* Submits the job and parks the caller until its outcome. */
int queue_submit(td_pool *pool, struct td_task *self, struct job *job, const td_offload_opts *opts);

/* pool.c: gives queued jobs to idle workers; ends a running job. */
void pool_dispatch(td_pool *pool);
void pool_end_running(struct job *job, int rc);

#endif
