/* SPDX-License-Identifier: MIT */
/*
 * A pool's queue: who gets in, who waits, who gives way, who is next.
 */
#ifndef TANDEM_POOL_QUEUE_H
#define TANDEM_POOL_QUEUE_H

#include "pool/pool.h"

/* Fills in what a caller asked to be told, of a job that never was in the pool. */
int job_refuse(struct job *job, td_refusal refusal, int rc);

/* Finds the job a place, by the policy. Returns 0: accepted, or waiting for room; or why not. `limit_ns`: its time; 0: any. */
int queue_admit(struct job *job, td_when_full when_full, td_time limit_ns);

/* Ends a job that is in no list and has no worker: counts the outcome, fills the report, wakes who waits. */
void job_finish(struct job *job, int rc);

/* Ends a job wherever it is. */
void job_end(struct job *job, int rc);

/* The job that is to be given next, taken out; NULL when there is none. `high_only`: to a reserved worker. */
struct job *queue_next(td_pool *pool, bool high_only);

/* Moves jobs that wait for room into the queue while there is room. */
void queue_admit_waiting(td_pool *pool);

/* Gives a job back that its worker never began: to the front, for it has waited its turn. */
void queue_put_back(struct job *job);

/* Ends all jobs that no worker has. */
void queue_fail_all(td_pool *pool, int rc, td_refusal refusal);

/* How many jobs wait, those included that were given and cannot have begun. */
size_t queue_depth(const td_pool *pool);
td_time queue_oldest_age(const td_pool *pool, td_time now);

/* The calling task, of the loop that the pool belongs to; aborts, naming the function, otherwise. */
struct td_task *pool_user(const td_pool *pool, const char *function);

/* A checkpoint that the pool outlives, although others run meanwhile and may close it. */
int pool_checkpoint(td_pool *pool, struct td_task *self);

/* One of pool->callers less. */
void pool_caller_gone(td_pool *pool);

/* Whether the caller is a job: it would wait for a worker, and be what the worker is busy with. */
bool job_nested(void);

/* Where a priority waits; and how long a job may take, which of two says so first: 0 is any time. */
unsigned char job_lane(td_priority priority);
td_time job_limit(const td_pool *pool, td_time deadline);

/* Makes a job of fn(items); the rest is zero. */
void job_init(struct job *job, td_pool *pool, td_fn fn, void *items);

/* What submitting to no pool (NULL) answers: -ENOMEM, or what the checkpoint says. */
int job_no_pool(const char *function);

/* Holds the block that [at, at + size) lies in. Returns 0, or -EFAULT after a log line. */
int job_pin(struct job *job, const void *at, size_t size);

void job_unpin(struct job *job);

/* Submits the job for the calling task and parks it until the outcome. `limit_ns`: its time; 0: any. */
int job_run(struct td_task *self, struct job *job, td_when_full when_full, td_time limit_ns);

#endif
