/* SPDX-License-Identifier: MIT */
/*
 * Random numbers of a loop: for jitter, sampling, load balancing and tests. A run with the same td_opts.seed, on the
 * simulation backend, gets the same numbers again.
 *
 * Never for secrets: who sees a few of these numbers can compute the others. Keys, tokens and nonces come from
 * getrandom(2).
 */
#ifndef TANDEM_RANDOM_H
#define TANDEM_RANDOM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 64 random bits. Not a checkpoint. Thread: a task. */
uint64_t td_random(void);

/* The seed in use: td_opts.seed, or what the system gave. For a failing run to print. Not a checkpoint. Thread: a task. */
uint64_t td_seed(void);

#ifdef __cplusplus
}
#endif
#endif
