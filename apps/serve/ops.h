/* SPDX-License-Identifier: MIT */
/*
 * The operations that clients may ask for, as they run in a worker.
 */
#ifndef TANDEM_SERVE_OPS_H
#define TANDEM_SERVE_OPS_H

#include <stdbool.h>
#include <stdint.h>

#define OP_PRIMES_MAX INT64_C(10000000000)  /* about ten seconds */
#define OP_BURN_MAX_MS 60000
#define OP_EAT_MAX_MIB 65536

/* In shared memory, and only read by the worker, which may not see it otherwise (--strict-workers). */
struct op_job {
    int64_t n;
    bool stops;   /* primes and burn: when it is asked to, with -ECANCELED */
};

/* What the job's output holds then. */
struct op_result {
    int64_t value;
};

/* Each a td_fn on a struct op_job, of its own: a pool keeps count of what the jobs of each function take. */
int op_primes(void *job);  /* how many there are up to n */
int op_burn(void *job);    /* keeps a core busy for n milliseconds */
int op_crash(void *job);
int op_eat(void *job);     /* takes n MiB of memory, and gives them back */
int op_hang(void *job);

#endif
