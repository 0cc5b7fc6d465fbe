/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <tandem.h>
#include <time.h>
#include <unistd.h>

unsigned machine_cores(void)
{
    cpu_set_t set;
    unsigned count = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;

    return count < MACHINE_CORES_MAX ? count : MACHINE_CORES_MAX;
}

double machine_private_kib(void)
{
    FILE *status = fopen("/proc/self/status", "re");
    char line[128];
    double kib = NAN;  /* a kernel that does not say proves nothing */

    if (!status)
        return kib;
    while (fgets(line, sizeof line, status))
        if (sscanf(line, "RssAnon: %lf", &kib) == 1)
            break;
    fclose(status);
    return kib;
}

double machine_thread_cpu_ms(void)
{
    struct timespec used;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

static double seconds_of(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

struct machine_effort machine_effort(void)
{
    struct machine_effort effort = {.wall = (double)td_now() / 1e9};
    unsigned long long user, nice, system, idle, wait, irq, softirq, steal;
    struct rusage self, children;
    FILE *stat = fopen("/proc/stat", "re");

    if (getrusage(RUSAGE_SELF, &self) == 0 && getrusage(RUSAGE_CHILDREN, &children) == 0)
        effort.ours = seconds_of(&self) + seconds_of(&children);
    if (!stat)
        return effort;
    if (fscanf(stat, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait, &irq, &softirq,
               &steal) == 8)
        effort.all = (double)(user + nice + system + irq + softirq + steal) / (double)sysconf(_SC_CLK_TCK);
    fclose(stat);
    return effort;
}

double machine_cores_left(unsigned cores, struct machine_effort before, struct machine_effort after)
{
    double others = ((after.all - before.all) - (after.ours - before.ours)) / (after.wall - before.wall);
    double share = others > 0 ? others / (double)sysconf(_SC_NPROCESSORS_ONLN) : 0;

    return cores * (share < 0.95 ? 1 - share : 0.05);
}
