/* SPDX-License-Identifier: MIT */
/* What tests of stacks share: going down one, and asking what the process has in memory. */
#ifndef TANDEM_TESTS_TASK_MEMORY_H
#define TANDEM_TESTS_TASK_MEMORY_H

#include "run/harness.h"

#define PAGE ((size_t)4096)

/* Goes down until so many bytes of the stack lie between the frames. */
__attribute__((noinline)) UNUSED static size_t descend(const volatile char *from, size_t bytes)
{
    volatile char frame[1000];
    size_t deepest;

    frame[0] = frame[sizeof frame - 1] = 1;
    if ((size_t)(from - frame) >= bytes)
        return (size_t)(from - frame);
    deepest = descend(from, bytes);
    return deepest + (size_t)frame[0] - 1;
}

UNUSED static size_t memory_in_use(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long size = 0, resident = 0;

    if (!file)
        return 0;
    expect_int(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return resident * PAGE;
}

#endif
