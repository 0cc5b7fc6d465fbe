/* SPDX-License-Identifier: MIT */
/*
 * The operations that clients may ask for, as they run in a worker.
 */
#ifndef TANDEM_SERVE_OPS_H
#define TANDEM_SERVE_OPS_H

#include <stdint.h>

#define OP_PRIMES_MAX INT64_C(10000000000)  /* about ten seconds */
#define OP_BURN_MAX_MS 60000

/* In shared memory: the loop writes n, the worker value. */
struct op_job {
    int64_t n;
    int64_t value;
};

/*
 * Each a td_fn on a struct op_job, of its own, since a pool keeps count of what the jobs of each function take. The first
 * two return -ECANCELED soon after their pool wants them to end.
 */
int op_primes(void *job);  /* how many there are up to n */
int op_burn(void *job);    /* keeps a core busy for n milliseconds */
int op_crash(void *job);
int op_hang(void *job);

#endif
