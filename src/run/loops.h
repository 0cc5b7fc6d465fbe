/* SPDX-License-Identifier: MIT */
/*
 * The loops of one td_run: a thread each, the caller's first.
 */
#ifndef TANDEM_RUN_LOOPS_H
#define TANDEM_RUN_LOOPS_H

#include "tandem/run.h"

#define LOOPS_MAX 1024

struct arena;

/* As td_run_with, with options that were checked. `arena` may be NULL: then there are no process pools. */
int loops_run(const td_opts *opts, struct arena *arena, td_fn fn, void *arg);

#endif
