/* SPDX-License-Identifier: MIT */
/*
 * One function over many items, on all cores: map(square, [1, 2, 3, 4]), and then a million items.
 *
 * The items lie in shared memory, so the worker processes find them where they are and write their results there: nothing
 * is copied, and the order is kept because nothing moves. Items go out in chunks, large ones first and small ones in
 * the end, so that all workers finish together; only a few chunks are under way at a time, however many items there are.
 *
 *     cc map.c $(pkg-config --cflags --libs tandem) && ./a.out
 */
#include <stdint.h>
#include <stdio.h>
#include <tandem.h>

#define MILLION 1000000

/* Runs in a worker process, on one item. */
static int square(void *arg)
{
    int64_t *item = arg;

    *item *= *item;
    return 0;
}

static int four_squares(td_pool *pool)
{
    int64_t *items = td_shared_alloc(4 * sizeof *items);
    int rc;

    if (!items)
        return -ENOMEM;
    for (int i = 0; i < 4; i++)
        items[i] = i + 1;
    rc = td_pool_map(pool, square, items, 4, sizeof *items);  /* the first error ends the rest, and is returned */
    if (rc == 0)
        printf("map(square, [1, 2, 3, 4]) = [%lld, %lld, %lld, %lld]\n", (long long)items[0], (long long)items[1],
               (long long)items[2], (long long)items[3]);
    td_shared_free(items);
    return rc;
}

static int a_million_squares(td_pool *pool)
{
    int64_t *items = td_shared_alloc(MILLION * sizeof *items);
    int right = 0, rc;

    if (!items)
        return -ENOMEM;
    for (int64_t i = 0; i < MILLION; i++)
        items[i] = i;
    rc = td_pool_map(pool, square, items, MILLION, sizeof *items);
    for (int64_t i = 0; i < MILLION; i++)
        right += items[i] == i * i;
    td_shared_free(items);
    printf("%d of %d squares are right, each in its place\n", right, MILLION);
    return rc;
}

static int kitchen(void *arg)
{
    td_pool *pool;
    td_pool_stats stats;
    int rc = td_pool_open(&pool, &(td_pool_opts){.kind = TD_PROCESSES});  /* a worker for each core */

    (void)arg;
    if (rc < 0)
        return rc;
    rc = four_squares(pool);
    if (rc == 0)
        rc = a_million_squares(pool);
    td_pool_statistics(pool, &stats);
    printf("%llu chunks in all, never more than %zu waiting for a worker\n", stats.ok, stats.depth_peak);
    td_pool_close(pool);
    return rc;
}

int main(void)
{
    return td_run(kitchen, NULL) < 0;
}
