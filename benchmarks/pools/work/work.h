/* SPDX-License-Identifier: MIT */
/*
 * The work itself, compiled once (-O3) and called by every contestant, from C, Go, Rust and Python alike: so that what
 * differs between them is the handing over.
 */
#ifndef POOLS_WORK_H
#define POOLS_WORK_H

#include <stddef.h>
#include <stdint.h>

/* The sum of the data's 64-bit words; `bytes` is a multiple of 8. */
uint64_t work_sum(const void *data, size_t bytes);

/* What work_sum gives where every byte is `byte`. */
uint64_t work_sum_of(int byte, size_t bytes);

/* The first byte of the data: all that a hand-over alone looks at. */
int work_touch(const void *data);

/* Computes for so many seconds of the clock on the wall. */
void work_burn(double seconds);

/* A null pointer is followed: SIGSEGV. */
void work_crash(void);

#endif
