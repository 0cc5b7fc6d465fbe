/* SPDX-License-Identifier: MIT */
/*
 * What handing work over costs: prints "name value" lines for one run.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tandem.h>

#define ROUND_TRIPS 20000
#define JOBS 200000
#define IN_FLIGHT 1000
#define BYTES (10 * 1024 * 1024)
#define TICKS 3000

struct pile {
    uint64_t sum;
    size_t count;
    uint32_t values[];
};

static int empty(void *arg)
{
    (void)arg;
    return 0;
}

static int by_size(const void *a, const void *b)
{
    td_time x = *(const td_time *)a, y = *(const td_time *)b;

    return (x > y) - (x < y);
}

static void round_trips(td_pool *pool, const char *kind)
{
    static td_time took[ROUND_TRIPS];

    for (int i = 0; i < ROUND_TRIPS; i++) {
        td_time began = td_now();

        td_offload(pool, empty, NULL);
        took[i] = td_now() - began;
    }
    qsort(took, ROUND_TRIPS, sizeof *took, by_size);
    printf("%s_round_trip_p50_us %.2f\n", kind, (double)took[ROUND_TRIPS / 2] / 1e3);
}

struct feed {
    td_pool *pool;
    int left;
};

static int feeder(void *arg)
{
    struct feed *feed = arg;

    while (feed->left-- > 0)
        td_offload(feed->pool, empty, NULL);
    return 0;
}

static void jobs_a_second(td_pool *pool, const char *kind)
{
    struct feed feed = {pool, JOBS};
    td_time began = td_now();
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < IN_FLIGHT; i++)
        td_spawn(&scope, feeder, &feed);
    td_scope_join(&scope);
    printf("%s_jobs_per_s %.0f\n", kind, JOBS / ((double)(td_now() - began) / 1e9));
}

static int sum(void *arg)
{
    struct pile *pile = arg;

    pile->sum = 0;
    for (size_t i = 0; i < pile->count; i++)
        pile->sum += pile->values[i];
    return 0;
}

static void ten_megabytes(td_pool *pool, const char *kind)
{
    struct pile *pile = td_shared_alloc(sizeof *pile + BYTES);
    td_time best = TD_FOREVER;

    if (!pile)
        exit(1);
    pile->count = BYTES / sizeof pile->values[0];
    for (int run = 0; run < 20; run++) {
        td_time began;

        memset(pile->values, run, BYTES);
        began = td_now();
        td_offload(pool, sum, pile);
        if (td_now() - began < best)
            best = td_now() - began;
    }
    td_shared_free(pile);
    printf("%s_sum_10_mb_ms %.3f\n", kind, (double)best / 1e6);
}

static int burn(void *arg)
{
    td_time until = td_after(td_sec(2));

    (void)arg;
    while (td_now() < until)
        ;
    return 0;
}

static int burn_offloaded(void *arg)
{
    return td_offload(arg, burn, NULL);
}

/* A 1 ms ticker while four computations of 2 s hold all cores. */
static void ticker(td_pool *pool, const char *kind)
{
    static td_time late[TICKS];
    td_scope scope;
    int ticks = 0;
    td_time began = td_now(), end = td_after(td_sec(2));

    td_scope_open(&scope);
    for (int i = 0; i < 4; i++)
        td_spawn(&scope, burn_offloaded, pool);
    for (td_time next = began + td_ms(1); next < end && ticks < TICKS; next += td_ms(1)) {
        td_sleep(next - td_now());
        late[ticks++] = td_now() - next;
    }
    td_scope_join(&scope);
    qsort(late, (size_t)ticks, sizeof *late, by_size);
    printf("%s_ticker_late_p99_ms %.3f\n%s_ticker_late_max_ms %.3f\n", kind, (double)late[ticks * 99 / 100] / 1e6, kind,
           (double)late[ticks - 1] / 1e6);
}

static int measure(td_pool_kind kind, const char *name)
{
    td_pool *pool;
    int rc = td_pool_open(&pool, &(td_pool_opts){.kind = kind, .workers = 4, .queue = IN_FLIGHT});

    if (rc < 0)
        return rc;
    round_trips(pool, name);
    jobs_a_second(pool, name);
    ten_megabytes(pool, name);
    ticker(pool, name);
    return td_pool_close(pool);
}

static int all(void *arg)
{
    int rc = measure(TD_THREADS, "thread");

    (void)arg;
    return rc < 0 ? rc : measure(TD_PROCESSES, "process");
}

int main(void)
{
    return td_run(all, NULL) < 0;
}
