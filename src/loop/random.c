/* SPDX-License-Identifier: MIT */
#include "tandem/random.h"

#include "loop/loop.h"

uint64_t td_random(void)
{
    return dice_next(&loop_of(task_self(__func__))->dice);
}

uint64_t td_seed(void)
{
    return loop_of(task_self(__func__))->seed;
}
