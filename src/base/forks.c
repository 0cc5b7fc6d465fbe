/* SPDX-License-Identifier: MIT */
#include "base/forks.h"

#include <stdatomic.h>

/* tidy: allow, because what it counts is the process, of which there is one */
static _Atomic unsigned forks;

unsigned forks_count(void)
{
    return atomic_load_explicit(&forks, memory_order_relaxed);
}

void forks_count_one(void)
{
    atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}
