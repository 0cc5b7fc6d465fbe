/* SPDX-License-Identifier: MIT */
/*
 * What a worker process may use of the machine. All of it is done to the calling process: a worker that has run
 * nobody's code yet, or is between two jobs. Kernel limits, so that what a job asks for beyond them is answered with an
 * error or a signal, and the machine goes on.
 */
#ifndef TANDEM_POOL_LIMITS_H
#define TANDEM_POOL_LIMITS_H

#include <stdint.h>
#include <sys/types.h>

#include "tandem/time.h"

/* Added to a worker's oom_score_adj, of 1000: when memory runs out, the kernel ends a worker before it ends the program. */
#define LIMITS_OOM_SCORE 500

/*
 * From now on the process may add so many bytes of private memory to what it has: its data, heap, and private mappings that
 * can be written. Beyond that malloc answers NULL. Shared memory does not count. For good.
 * `pid` 0: the caller; or a child. Returns 0; a negative errno when that cannot be had (no /proc, a sandbox).
 */
int limits_memory(pid_t pid, uint64_t more_bytes);

/*
 * From now on the process may use so much processor time, rounded up to whole seconds; then it gets SIGXCPU. `pid` as above.
 * Returns 0 or a negative errno.
 */
int limits_cpu(pid_t pid, td_time more_ns);

/* Called by a worker before each job: moves its limit on. It was set once when the worker was born, so it can be. */
void limits_arm_cpu(td_time cpu_max_ns);

/* Makes the caller the kernel's choice when memory runs out. Refused is harmless: it is a preference. */
void limits_prefer_for_oom(void);

#endif
