/* SPDX-License-Identifier: MIT */
/*
 * stacks hold COUNT: touches one fresh page in each of that many stacks of 64 KiB: what a task's first start pays.
 * stacks guarded MAX: maps stacks of 64 KiB one by one, with a page of mprotect below each, until the kernel refuses;
 *                     so do most libraries that guard at all.
 * stacks warm MIB: touches that much memory and gives it back, so that a virtual machine's host has backed it.
 */
#include <sys/mman.h>

#include "../measure.h"

#define STACK 65536

static char *map(size_t bytes)
{
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static int hold(long count)
{
    char *stacks = map((size_t)count * STACK);
    double before = resident_bytes();
    struct stopwatch watch = start_watch();

    if (stacks == MAP_FAILED || madvise(stacks, (size_t)count * STACK, MADV_NOHUGEPAGE) < 0)
        return 1;
    for (long i = 0; i < count; i++)
        stacks[(i + 1) * STACK - 1] = 1;
    print_resident(watch, before, count);
    return 0;
}

static int guarded(long max)
{
    long count = 0;

    while (count < max) {
        char *stack = map(STACK);

        if (stack == MAP_FAILED || mprotect(stack, 4096, PROT_NONE) < 0)
            break;
        stack[STACK - 1] = 1;
        count++;
    }
    printf("stacks %ld\n", count);
    return 0;
}

static int warm(long mib)
{
    char *memory = map((size_t)mib << 20);

    if (memory == MAP_FAILED)
        return 1;
    for (size_t at = 0; at < (size_t)mib << 20; at += 4096)
        ((volatile char *)memory)[at] = 1;
    return 0;
}

int main(int argc, char **argv)
{
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;

    if (count < 1)
        return 1;
    return strcmp(argv[1], "hold") == 0 ? hold(count) : strcmp(argv[1], "warm") == 0 ? warm(count) : guarded(count);
}
