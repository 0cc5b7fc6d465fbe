/* SPDX-License-Identifier: MIT */
/*
 * What the C and C++ programs of this folder share: clocks, resident memory, and how a figure is printed.
 *
 * Every program is called as PROGRAM MEASURE COUNT [MORE] and prints "name value" lines; ../run says with which counts.
 */
#ifndef MICRO_MEASURE_H
#define MICRO_MEASURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static inline double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Of the whole process, helper threads included. */
static inline double cpu_ns(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return ((double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec) * 1e9 +
           ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) * 1e3;
}

static inline double resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (!file || fscanf(file, "%*d %ld", &pages) != 1)
        exit(1);
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* The i-th sleeper's wake-up after the first: one each 10 microseconds, in an order that helps no queue of timers. */
static inline double due_ns(long i, long count)
{
    return (double)(i * 61803 % count) * 1e4;
}

struct stopwatch {
    double wall, cpu;
};

static inline struct stopwatch start_watch(void)
{
    struct stopwatch watch = {now_ns(), cpu_ns()};

    return watch;
}

static inline void print_each(struct stopwatch since, long count)
{
    printf("cpu_ns %.3f\n", (cpu_ns() - since.cpu) / (double)count);
    printf("wall_ns %.3f\n", (now_ns() - since.wall) / (double)count);
}

static inline int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* `late` has each sleeper's lateness in nanoseconds; `last_start` is when the last of them began to sleep. */
static inline void print_sleepers(struct stopwatch since, double *late, long count, double last_start)
{
    printf("cpu_ms %.2f\n", (cpu_ns() - since.cpu) / 1e6);
    printf("started_ms %.1f\n", (last_start - since.wall) / 1e6);
    qsort(late, (size_t)count, sizeof *late, by_size);
    printf("late_min_ms %.4f\nlate_p50_ms %.4f\n", late[0] / 1e6, late[count / 2] / 1e6);
    printf("late_p99_ms %.4f\nlate_max_ms %.4f\n", late[count * 99 / 100] / 1e6, late[count - 1] / 1e6);
}

/* `before` was the resident memory without the tasks. */
static inline void print_resident(struct stopwatch since, double before, long count)
{
    print_each(since, count);
    printf("bytes %.1f\n", (resident_bytes() - before) / (double)count);
}

#endif
