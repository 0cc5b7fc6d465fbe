/* SPDX-License-Identifier: MIT */
/*
 * Random numbers that can be had again: SEED=N in the environment repeats a run.
 */
#ifndef TANDEM_TESTS_RUN_RANDOM_H
#define TANDEM_TESTS_RUN_RANDOM_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct random {
    uint64_t state;
};

/* splitmix64 */
__attribute__((unused)) static uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

__attribute__((unused)) static size_t random_below(struct random *random, size_t limit)
{
    return (size_t)(random_next(random) % limit);
}

/* From SEED, or else from the clock; says which. */
__attribute__((unused)) static struct random random_seeded(void)
{
    const char *given = getenv("SEED");
    struct timespec now;
    struct random random;

    clock_gettime(CLOCK_REALTIME, &now);
    random.state = given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_nsec + (uint64_t)now.tv_sec * 1000000000;
    printf("SEED=%llu shows this run again\n", (unsigned long long)random.state);
    fflush(stdout);
    return random;
}

#endif
