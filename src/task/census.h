/* SPDX-License-Identifier: MIT */
/*
 * The census of stacks: how much of its stack the tasks of each spawn site have used, and giving back what lies idle.
 *
 * The kernel knows which pages have memory, a page at a time, and a question costs a system call: so it is asked about
 * some tasks of each spawn site when they end, and in sweeps over whole slabs, a few at a time, when the loop has nothing else to
 * do. A sweep gives back what a free stack keeps beyond 16 KiB, and what lies unused below a task that was parked all the
 * time since the sweep before.
 */
#ifndef TANDEM_TASK_CENSUS_H
#define TANDEM_TASK_CENSUS_H

#include "tandem/stack.h"
#include "task/task.h"

void census_init(struct sched *sched);
void census_close(struct sched *sched);

/* Whether a new task of this spawn site is to be counted: the first four, and one in 1,024. */
static inline bool census_wants(struct sched *sched, const char *site)
{
    uint16_t before = sched->site_tasks[(uintptr_t)site * 0x9E3779B97F4A7C15u >> 56]++;

    return before < 4 || (before & 1023) == 0;
}

/* Gives the new task a stack on which nobody else has left anything, so that what it uses can be told. */
void census_begin(struct td_task *task);

/* Notes what a counted task has used of its stack. */
void census_end(struct sched *sched, struct td_task *task);

/* When the next sweep is due. TD_FOREVER: not until tasks have run again. */
td_time census_due(const struct sched *sched);

/* Sweeps over some stacks if it is time. To be called when the loop is about to wait. */
void census_sweep(struct sched *sched, td_time now);

#endif
