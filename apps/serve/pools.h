/* SPDX-License-Identifier: MIT */
/*
 * The gateway's pools, one for each kind of haste: what /compute and chat's "compute" ask for may take minutes, audio is
 * live. Neither waits for a worker of the other's.
 */
#ifndef TANDEM_SERVE_POOLS_H
#define TANDEM_SERVE_POOLS_H

#include "app.h"

enum { POOL_COMPUTE, POOL_AUDIO, POOLS };

/* Both a label of the metrics and a name in the log. */
extern const char *const pool_names[POOLS];

/*
 * Opens the pool that computes. Returns 0 or a negative errno, logged. Not a checkpoint.
 */
int pools_open(struct app *app);

/*
 * The pool for audio, opened by the first that asks: a gateway without audio keeps no workers for it. Returns 0 and *pool,
 * or a negative errno, logged. Not a checkpoint.
 */
int pools_for_audio(struct app *app, td_pool **pool);

/* Ends all jobs, as td_pool_cancel. Not a checkpoint. */
void pools_cancel(struct app *app);

/* Checkpoint, as td_pool_close. */
void pools_close(struct app *app);

/* Of one pool; nothing but zeros for one that is not open. Not a checkpoint. */
void pools_statistics(struct app *app, unsigned which, td_pool_stats *stats);
void pools_histograms(struct app *app, unsigned which, td_histogram *sojourn, td_histogram *service);

#endif
