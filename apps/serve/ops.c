/* SPDX-License-Identifier: MIT */
#include "ops.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tandem.h"

#define SEGMENT 32768  /* odd numbers sieved at a time: one byte each, as much as the first-level cache holds */

struct sieve {
    uint32_t *primes;      /* odd primes up to the square root of n */
    uint64_t *next;        /* for each, its next odd multiple */
    size_t count;
};

static uint64_t root_of(uint64_t n)
{
    uint64_t low = 0, high = 100001;  /* the root of OP_PRIMES_MAX, and one */

    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;

        if (middle * middle <= n)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static int sieve_open(struct sieve *sieve, uint64_t root)
{
    unsigned char *composite;

    sieve->primes = malloc((root + 1) * sizeof *sieve->primes);
    sieve->next = malloc((root + 1) * sizeof *sieve->next);
    sieve->count = 0;
    composite = calloc(root + 1, 1);
    if (!composite || !sieve->primes || !sieve->next) {
        free(composite);
        return -ENOMEM;
    }
    for (uint64_t i = 3; i <= root; i += 2) {
        if (composite[i])
            continue;
        sieve->primes[sieve->count] = (uint32_t)i;
        sieve->next[sieve->count++] = i * i;
        for (uint64_t j = i * i; j <= root; j += 2 * i)
            composite[j] = 1;
    }
    free(composite);
    return 0;
}

static bool asked_to_stop(const struct op_job *job)
{
    return job->stops && td_job_cancelled();
}

/* Leaves the value in the job's output. */
static int result(int64_t value)
{
    size_t size;
    struct op_result *output = td_job_output(&size);

    if (!output || size < sizeof *output)
        return -EINVAL;
    output->value = value;
    return 0;
}

/* How many primes <= n: a segmented sieve of Eratosthenes over the odd numbers. */
static int count_primes(const struct op_job *job, int64_t *value)
{
    uint64_t n = (uint64_t)job->n;
    unsigned char composite[SEGMENT];
    struct sieve sieve;
    int rc;

    *value = 0;
    if (n < 2)
        return 0;
    rc = sieve_open(&sieve, root_of(n));
    if (rc == 0)
        *value = 1;  /* 2 */
    for (uint64_t low = 3; rc == 0 && low <= n; low += 2 * SEGMENT) {
        uint64_t high = low + 2 * SEGMENT - 2 <= n ? low + 2 * SEGMENT - 2 : n;

        if (asked_to_stop(job))
            rc = -ECANCELED;
        memset(composite, 0, sizeof composite);
        for (size_t i = 0; i < sieve.count && (uint64_t)sieve.primes[i] * sieve.primes[i] <= high; i++) {
            uint64_t at = (sieve.next[i] - low) / 2;

            for (; at < SEGMENT; at += sieve.primes[i])
                composite[at] = 1;
            sieve.next[i] = low + 2 * at;
        }
        for (uint64_t i = 0; i <= (high - low) / 2; i++)
            *value += !composite[i];
    }
    free(sieve.primes);
    free(sieve.next);
    return rc;
}

int op_primes(void *arg)
{
    int64_t value;
    int rc = count_primes(arg, &value);

    return rc < 0 ? rc : result(value);
}

int op_burn(void *arg)
{
    const struct op_job *job = arg;
    td_time until = td_after(td_ms(job->n));

    while (td_now() < until) {
        if (asked_to_stop(job))
            return -ECANCELED;
        for (volatile int i = 0; i < 1000; i++)
            ;
    }
    return result(job->n);
}

int op_crash(void *arg)
{
    raise(SIGSEGV);
    return -EIO;
}

int op_eat(void *arg)
{
    const struct op_job *job = arg;
    size_t size = (size_t)job->n << 20;
    char *food = size ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : NULL;

    if (food == MAP_FAILED)
        return -errno;
    for (size_t at = 0; at < size; at += 4096)
        food[at] = 1;
    if (food)
        munmap(food, size);
    return result(job->n);
}

int op_hang(void *arg)
{
    for (;;)
        pause();
}
