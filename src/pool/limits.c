/* SPDX-License-Identifier: MIT */
#include "pool/limits.h"

#include <sys/resource.h>

#define SECOND_NS 1000000000

void limits_arm_cpu(td_time cpu_max_ns)
{
    struct rusage used;
    struct rlimit limit;

    if (getrusage(RUSAGE_SELF, &used) < 0 || getrlimit(RLIMIT_CPU, &limit) < 0)
        return;
    limit.rlim_cur = (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec + 1 + (cpu_max_ns + SECOND_NS - 1) / SECOND_NS);
    (void)setrlimit(RLIMIT_CPU, &limit);
}
