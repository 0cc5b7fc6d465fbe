/* SPDX-License-Identifier: MIT */
#include "work.h"

#include <signal.h>
#include <time.h>

uint64_t work_sum(const void *data, size_t bytes)
{
    const uint64_t *words = data;
    uint64_t sum = 0;

    for (size_t i = 0; i < bytes / sizeof *words; i++)
        sum += words[i];
    return sum;
}

uint64_t work_sum_of(int byte, size_t bytes)
{
    return UINT64_C(0x0101010101010101) * (uint64_t)byte * (bytes / sizeof(uint64_t));
}

int work_touch(const void *data)
{
    return *(const volatile unsigned char *)data;
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void work_burn(double seconds)
{
    double until = seconds_now() + seconds;

    while (seconds_now() < until)
        ;
}

void work_crash(void)
{
    volatile int *volatile nowhere = NULL;

    signal(SIGSEGV, SIG_DFL);  /* some runtimes would tell of it at length first */
    *nowhere = 1;
}
