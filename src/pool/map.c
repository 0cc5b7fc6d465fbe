/* SPDX-License-Identifier: MIT */
/*
 * A map is tasks that each hand in one chunk after the other: as many as chunks may be under way. Guided chunks (Polychronopoulos
 * and Kuck, 1987): half of an even share of what is left, so that the last ones are small and end together.
 */
#include <errno.h>

#include "pool/command.h"
#include "pool/queue.h"

struct map {
    td_pool *pool;
    td_fn fn;
    char *items;
    size_t left, item_size, chunk_max;
    int *results;
    td_map_opts opts;
    int failure;   /* the first; with `collect` it is told at the end */
    bool refused;  /* the last chunk that came back was not taken */
};

static size_t next_chunk(const struct map *map)
{
    size_t count = map->left / (2 * (size_t)map->pool->wanted);

    count = count < map->chunk_max ? count : map->chunk_max;
    return count ? count : 1;
}

static int run_chunk(struct map *map, struct td_task *self)
{
    struct job job;
    int rc = pool_checkpoint(map->pool, self);

    if (rc < 0 || map->left == 0)  /* others may have run meanwhile */
        return rc;
    job_init(&job, map->pool, map->fn, map->items);
    job.count = (uint32_t)next_chunk(map);
    job.size = (uint32_t)map->item_size;
    job.extra = (char *)map->results;
    job.flags = JOB_ITEMS | (map->opts.collect ? JOB_COLLECT : 0);
    job.lane = job_lane(map->opts.priority);
    map->items += job.count * map->item_size;
    map->left -= job.count;
    map->results = map->results ? map->results + job.count : NULL;
    rc = job_pin(&job, job.items, job.count * map->item_size);
    job.bytes = job.pinned ? job.count * map->item_size : 0;
    if (rc == 0)
        rc = job_run(self, &job, TD_WAIT, job_limit(map->pool, map->opts.deadline));
    map->refused = job.report.refusal != TD_REFUSED_NOT;
    return rc;
}

/* Collecting, a map goes on without a chunk that was begun and lost; not where the pool takes no more of them. */
static bool lost_while_collecting(struct map *map, int rc)
{
    if (!map->opts.collect || map->refused || (rc != -EOWNERDEAD && rc != -ETIMEDOUT))
        return false;
    map->failure = map->failure ? map->failure : rc;
    return true;
}

static int map_feeder(void *arg)
{
    struct map *map = arg;

    while (map->left > 0) {
        int rc = run_chunk(map, task_self(__func__));

        if (rc < 0 && !lost_while_collecting(map, rc))
            return rc;
    }
    return 0;
}

static int run_feeders(struct map *map, size_t feeders)
{
    td_scope scope;
    int rc, joined;

    td_scope_open(&scope);
    rc = td_spawn(&scope, map_feeder, map);
    for (size_t i = 1; i < feeders; i++)
        if (td_spawn(&scope, map_feeder, map) < 0)
            break;  /* fewer feeders do the same work */
    joined = td_scope_join(&scope);
    return joined < 0 ? joined : rc < 0 ? rc : map->failure;
}

/* The whole of what a worker reads and writes is in shared memory. */
static int check_memory(td_pool *pool, struct map *map, size_t count, size_t bytes)
{
    struct job probe;
    int rc;

    job_init(&probe, pool, map->fn, map->items);
    rc = job_pin(&probe, map->items, bytes);
    job_unpin(&probe);
    if (rc == 0 && map->results) {
        rc = job_pin(&probe, map->results, count * sizeof *map->results);
        job_unpin(&probe);
    }
    return rc;
}

static const td_map_opts defaults;

int td_pool_map_with(td_pool *pool, td_fn fn, void *items, size_t count, size_t item_size, const td_map_opts *opts)
{
    struct map map;
    size_t feeders, bytes;
    struct td_task *self;
    int rc;

    if (job_nested())
        return -EDEADLK;
    if (!pool)
        return job_no_pool("td_pool_map");
    self = pool_user(pool, "td_pool_map");
    rc = pool_checkpoint(pool, self);
    if (rc < 0)
        return rc;
    opts = opts ? opts : &defaults;
    map = (struct map){pool, fn, items, count, item_size, opts->chunk_max, opts->results, *opts, 0, false};
    if (!command_fits(pool, fn) || !item_size || item_size > UINT32_MAX || (count && !items) ||
        opts->priority > TD_PRIORITY_LOW || opts->deadline < 0 || __builtin_mul_overflow(count, item_size, &bytes) ||
        (opts->results && (count > SIZE_MAX / sizeof *opts->results || pool->opts.strict)))  /* workers could not write them */
        return -EINVAL;
    if (count == 0)
        return 0;
    if (map.chunk_max == 0 || map.chunk_max > UINT32_MAX)
        map.chunk_max = UINT32_MAX;
    rc = check_memory(pool, &map, count, bytes);
    if (rc < 0)
        return rc;
    for (size_t i = 0; opts->results && i < count; i++)
        opts->results[i] = -ECANCELED;
    feeders = opts->window ? opts->window : 2 * (size_t)pool->wanted;
    pool->callers++;
    rc = run_feeders(&map, feeders < count ? feeders : count);
    pool_caller_gone(pool);
    return rc;
}

int td_pool_map(td_pool *pool, td_fn fn, void *items, size_t count, size_t item_size)
{
    return td_pool_map_with(pool, fn, items, count, item_size, NULL);
}
