/* SPDX-License-Identifier: MIT */
/*
 * The operations that clients may ask for, as they run in a worker.
 */
#ifndef TANDEM_SERVE_OPS_H
#define TANDEM_SERVE_OPS_H

#include <stdint.h>

enum op_kind { OP_PRIMES, OP_BURN, OP_CRASH, OP_HANG };

#define OP_PRIMES_MAX INT64_C(10000000000)  /* about ten seconds */
#define OP_BURN_MAX_MS 60000

/* In shared memory: the loop writes kind and n, the worker value. */
struct op_job {
    enum op_kind kind;
    int64_t n;
    int64_t value;
};

/* A td_fn on a struct op_job. */
int op_run(void *job);

#endif
