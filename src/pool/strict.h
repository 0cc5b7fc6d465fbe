/* SPDX-License-Identifier: MIT */
/*
 * Strict workers: they see the arena's inputs, may write outputs only, and may only compute.
 *
 * Two steps, for worker_init may have a model to load: first what the worker sees is sealed, then init runs, then
 * system calls are fenced in, and only then jobs come. Neither can be undone from inside. When one is refused the
 * worker must not run jobs.
 *
 * What it does not do: hide the program's memory as it was when the zygote was forked; and keep a job from spoiling
 * its own process for the next one.
 */
#ifndef TANDEM_POOL_STRICT_H
#define TANDEM_POOL_STRICT_H

#include <stdbool.h>

#include "shared/region.h"

/*
 * Maps the region again: for reading only, and from a descriptor that was opened for reading only, so that mprotect cannot
 * make it writable. Needs /proc. Returns 0, or a negative errno: then nothing has changed.
 */
int strict_seal(const struct arena_region *region);

/*
 * From now on the calling process, which must have one thread, gets SIGSYS for every system call but those that computing
 * takes: memory of its own, clocks, futexes, random bytes, writing to `event_fd` and to standard error, signals to
 * itself, its end. `may_move_cpu_limit`: limits_cpu too. Returns 0 or a negative errno.
 */
int strict_fence(int event_fd, bool may_move_cpu_limit);

#endif
