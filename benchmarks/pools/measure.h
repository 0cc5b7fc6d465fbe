/* SPDX-License-Identifier: MIT */
/*
 * What the C programs of this folder share: clocks, CPU time of a program and its workers, a course of samples, and how
 * figures are printed.
 *
 * Every program, in every language, is called as PROGRAM MEASURE KIND WORKERS SECONDS WHAT PIN and prints "name value" lines:
 *
 *     trip    jobs one at a time, WHAT microseconds apart             p50_us p99_us cpu_us
 *     jobs    1,000 in flight, in the way WHAT                        per_s cpu_us
 *     sum     10 MiB handed over and summed there                     p50_ms
 *     hand    blocks of growing size, the first byte is read there    us_SIZE, of each
 *     ticker  a tick each ms beside 4 computations of SECONDS         p99_ms max_ms
 *     beats   1,000 beats each 100 ms beside a computation on each worker (inline: without workers)   p99_ms max_ms
 *     crash   jobs that die of SIGSEGV, another beside them           p50_ms max_ms lost usable
 *
 * With PIN 1 the caller stays on core 0, and a lone worker on core 1.
 */
#ifndef POOLS_MEASURE_H
#define POOLS_MEASURE_H

#include <dirent.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "work/work.h"

#define IN_FLIGHT 1000
#define BYTES ((size_t)10 << 20)
#define BIGGEST ((size_t)64 << 20)
#define COMPUTATIONS 4
#define BEATERS 1000
#define BEAT_NS 1e8
#define CRASHES 8
#define SAMPLES_MAX (1 << 20)
#define SIZES {64, 4 << 10, 256 << 10, BYTES, BIGGEST}

struct call {
    const char *measure, *kind, *what;
    unsigned workers;
    double seconds;
    bool pin;
};

static inline struct call call_of(int argc, char **argv)
{
    struct call call;

    if (argc != 7) {
        fprintf(stderr, "usage: PROGRAM MEASURE KIND WORKERS SECONDS WHAT PIN; ../run says which\n");
        exit(2);
    }
    call = (struct call){.measure = argv[1], .kind = argv[2], .what = argv[5], .pin = argv[6][0] == '1'};
    call.workers = (unsigned)strtoul(argv[3], NULL, 10);
    call.seconds = strtod(argv[4], NULL);
    return call;
}

static inline bool is(const char *word, const char *other)
{
    return strcmp(word, other) == 0;
}

static inline void pin_to(int core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static inline double clock_ns(clockid_t clock)
{
    struct timespec now;

    return clock_gettime(clock, &now) < 0 ? 0 : (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static inline double now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* CPU time of the children of one of the program's threads. */
static inline double children_cpu_ns(const char *thread)
{
    char path[300];
    double sum = 0;
    clockid_t clock;
    FILE *file;
    int pid;

    snprintf(path, sizeof path, "/proc/self/task/%s/children", thread);
    if (!(file = fopen(path, "r")))
        return 0;
    while (fscanf(file, "%d", &pid) == 1)
        if (clock_getcpuclockid(pid, &clock) == 0)
            sum += clock_ns(clock);
    fclose(file);
    return sum;
}

/* CPU time of the program and of its living children. */
static inline double tree_cpu_ns(void)
{
    double sum = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    DIR *threads = opendir("/proc/self/task");
    struct dirent *entry;

    while (threads && (entry = readdir(threads)))
        if (entry->d_name[0] != '.')
            sum += children_cpu_ns(entry->d_name);
    if (threads)
        closedir(threads);
    return sum;
}

/* A course of samples, whose first fifth of the time is a warm-up and not counted. */
struct course {
    double counted_from, until, cpu;
    bool counts;
    long count;
    double *took;  /* nanoseconds */
};

static inline struct course course_begin(double seconds)
{
    double now = now_ns();
    struct course course = {.counted_from = now + seconds * 2e8, .until = now + seconds * 1e9};

    course.took = malloc(SAMPLES_MAX * sizeof *course.took);
    if (!course.took)
        exit(1);
    memset(course.took, 0, SAMPLES_MAX * sizeof *course.took);
    return course;
}

/* Notes one sample; returns whether to go on. There is one at least. */
static inline bool course_add(struct course *course, double began, double ended)
{
    if (!course->counts && ended >= course->counted_from) {
        course->counts = true;
        course->cpu = tree_cpu_ns();
        return true;
    }
    if (course->counts)
        course->took[course->count++] = ended - began;
    return course->count == 0 || (ended < course->until && course->count < SAMPLES_MAX);
}

static inline int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static inline double percentile(double *values, long count, int percent)
{
    qsort(values, (size_t)count, sizeof *values, by_size);
    return values[percent == 100 ? count - 1 : count * percent / 100];
}

static inline void print_trips(struct course *course)
{
    double cpu = tree_cpu_ns() - course->cpu;

    printf("p50_us %.3f\n", percentile(course->took, course->count, 50) / 1e3);
    printf("p99_us %.3f\n", percentile(course->took, course->count, 99) / 1e3);
    printf("cpu_us %.3f\n", cpu / (double)course->count / 1e3);
    free(course->took);
}

static inline void print_sums(struct course *course)
{
    printf("p50_ms %.4f\n", percentile(course->took, course->count, 50) / 1e6);
    free(course->took);
}

static inline void print_hand(struct course *course, size_t size)
{
    printf("us_%zu %.3f\n", size, percentile(course->took, course->count, 50) / 1e3);
    free(course->took);
}

static inline void print_jobs(double jobs, double began, double cpu_began)
{
    double cpu = tree_cpu_ns() - cpu_began;

    printf("per_s %.1f\ncpu_us %.4f\n", jobs / ((now_ns() - began) / 1e9), cpu / jobs / 1e3);
}

static inline void print_late(double *late, long count)
{
    printf("p99_ms %.4f\n", percentile(late, count, 99) / 1e6);
    printf("max_ms %.4f\n", percentile(late, count, 100) / 1e6);
}

static inline void check_sum(uint64_t sum, int byte, size_t bytes)
{
    if (sum != work_sum_of(byte, bytes)) {
        fprintf(stderr, "the sum is wrong\n");
        exit(1);
    }
}

#endif
