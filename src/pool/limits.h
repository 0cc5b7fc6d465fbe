/* SPDX-License-Identifier: MIT */
/*
 * Limits on what a worker process may use, set by itself.
 */
#ifndef TANDEM_POOL_LIMITS_H
#define TANDEM_POOL_LIMITS_H

#include "tandem/time.h"

/*
 * The job that begins now may use so much processor time, rounded up to whole seconds; past it the kernel sends SIGXCPU.
 * Called by the worker before each job.
 */
void limits_arm_cpu(td_time cpu_max_ns);

#endif
