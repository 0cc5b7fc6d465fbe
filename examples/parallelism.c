/* SPDX-License-Identifier: MIT */
/*
 * The same heavy maths four times: one after the other, as tasks on one loop, on threads, on processes.
 *
 * Tasks on a loop take turns; they do not make one core faster. Threads and processes use all cores, so four pieces take the
 * time of four divided by the number of cores (or by four, where there are more). For processes the pieces lie in shared
 * memory: nothing is copied, and a crash would cost one piece only.
 *
 *     cc parallelism.c $(pkg-config --cflags --libs tandem) && ./a.out
 */
#include <stdint.h>
#include <stdio.h>
#include <tandem.h>

#define PIECES 4
#define PIECE 300000

struct range {
    uint32_t from, to;
    uint32_t primes;
};

/* Slow on purpose: by trial division. */
static int count_primes(void *arg)
{
    struct range *range = arg;

    range->primes = 0;
    for (uint32_t n = range->from < 2 ? 2 : range->from; n < range->to; n++) {
        uint32_t d = 2;

        while (d * d <= n && n % d)
            d++;
        range->primes += d * d > n;
    }
    return 0;
}

static int sequential(struct range *ranges)
{
    for (int i = 0; i < PIECES; i++)
        count_primes(&ranges[i]);
    return 0;
}

static int as_tasks(struct range *ranges)
{
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < PIECES; i++)
        if (td_spawn(&scope, count_primes, &ranges[i]) < 0)
            td_scope_cancel(&scope);
    return td_scope_join(&scope);
}

static int in_pool(td_pool_kind kind, struct range *ranges)
{
    td_pool *pool;
    int rc = td_pool_open(&pool, &(td_pool_opts){.kind = kind, .workers = PIECES, .queue = 64});

    if (rc < 0)
        return rc;
    rc = td_pool_map(pool, count_primes, ranges, PIECES, sizeof *ranges);
    td_pool_close(pool);
    return rc;
}

static int on_threads(struct range *ranges)
{
    return in_pool(TD_THREADS, ranges);
}

static int on_processes(struct range *ranges)
{
    return in_pool(TD_PROCESSES, ranges);
}

static int measure(const char *name, int (*way)(struct range *), struct range *ranges, double *first_ms)
{
    td_time began = td_now();
    int rc = way(ranges);
    double ms = (double)(td_now() - began) / 1e6;
    uint32_t primes = 0;

    for (int i = 0; i < PIECES; i++)
        primes += ranges[i].primes;
    if (*first_ms == 0)
        *first_ms = ms;
    printf("%-22s %7.0f ms  %4.1f times as fast  (%u primes)\n", name, ms, *first_ms / ms, primes);
    return rc;
}

static int kitchen(void *arg)
{
    struct range *ranges = td_shared_calloc(PIECES, sizeof *ranges);
    double first_ms = 0;
    int rc;

    (void)arg;
    if (!ranges)
        return -1;
    for (uint32_t i = 0; i < PIECES; i++)
        ranges[i] = (struct range){.from = i * PIECE, .to = (i + 1) * PIECE};
    rc = measure("one after the other", sequential, ranges, &first_ms);
    if (rc == 0)
        rc = measure("as tasks on one loop", as_tasks, ranges, &first_ms);
    if (rc == 0)
        rc = measure("on threads", on_threads, ranges, &first_ms);
    if (rc == 0)
        rc = measure("on processes", on_processes, ranges, &first_ms);
    td_shared_free(ranges);
    return rc;
}

int main(void)
{
    return td_run_with(&(td_opts){.stall_after = TD_FOREVER}, kitchen, NULL) < 0;  /* it computes on the loop on purpose */
}
