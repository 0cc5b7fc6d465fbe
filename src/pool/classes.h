/* SPDX-License-Identifier: MIT */
/*
 * The loop's ready-made pools (tandem/classes.h), inside.
 */
#ifndef TANDEM_POOL_CLASSES_H
#define TANDEM_POOL_CLASSES_H

#include "tandem/classes.h"

struct loop;

/* What sets a ready-made pool apart from those that programs open. */
enum pool_trait {
    POOL_READY_MADE = 1,  /* it belongs to the loop; a job that finds no idle thread gets a new one */
    POOL_WAITS = 2,       /* its jobs wait in the kernel: they keep the loop's weight, and occupy no core */
    POOL_LEAVES = 4,      /* a job whose caller was cancelled is left behind, where one past its deadline would be */
};

/* Jobs of a ready-made pool are queued, and no thread is idle: starts as many as may be. */
void classes_grow(td_pool *pool);

/*
 * Ends the loop's pools and their threads; the loop has run, so no task waits for any job. Waits for threads that were left
 * behind. Thread: the loop's, which takes no turns meanwhile.
 */
void classes_close(struct loop *loop);

#endif
