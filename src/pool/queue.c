/* SPDX-License-Identifier: MIT */
#include "pool/queue.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/fail.h"
#include "shared/arena.h"

static void count_outcome(td_pool_stats *stats, int rc, bool began)
{
    if (rc >= 0)
        stats->ok++;
    else if (rc == -ETIMEDOUT)
        stats->timeout++;
    else if (rc == -ECANCELED)
        stats->cancelled++;
    else if (rc == -EOWNERDEAD)
        stats->died++;
    else if (rc == -EBUSY && !began)
        stats->dropped++;
    else
        stats->error++;
}

void job_finish(struct job *job, int rc)
{
    td_pool *pool = job->pool;

    assert(job->place != PLACE_OUTSIDE);
    timers_disarm(&pool->loop->sched.timers, &job->deadline);
    if (!job->report.queued_ns)
        job->report.queued_ns = (job->dispatched ? job->dispatched : td_now()) - job->submitted;
    if (job->report.ran_ns) {
        pool->stats.ran_ns += job->report.ran_ns;
        if (pool->stats.mean_ran_ns == 0)
            pool->stats.mean_ran_ns = job->report.ran_ns;
        pool->stats.mean_ran_ns += (job->report.ran_ns - pool->stats.mean_ran_ns) / 8;
    }
    count_outcome(&pool->stats, rc, job->place == PLACE_RUNNING);
    job->place = PLACE_OUTSIDE;
    pool->loop->outside_pending--;
    probe3(pool_done, pool, job, rc);
    task_unpark(job->task, rc);
}

static bool has_room(const td_pool *pool)
{
    return pool->queued + pool->running < pool->worker_count + pool->queue_max;
}

static void enqueue(td_pool *pool, struct job *job)
{
    size_t depth;

    job->place = PLACE_QUEUED;
    list_push_back(&pool->queue, &job->link);
    pool->queued++;
    depth = pool->queued + pool->running > pool->worker_count ? pool->queued + pool->running - pool->worker_count : 0;
    if (depth > pool->stats.depth_peak)
        pool->stats.depth_peak = depth;
}

void queue_admit_waiting(td_pool *pool)
{
    while (has_room(pool) && !list_empty(&pool->waiting))
        enqueue(pool, container_of(list_pop_front(&pool->waiting), struct job, link));
}

void queue_put_back(td_pool *pool, struct job *job)
{
    job->place = PLACE_QUEUED;
    job->worker = NULL;
    job->dispatched = 0;
    list_push_front(&pool->queue, &job->link);
    pool->queued++;
}

/* Takes a job out of its list. */
static void leave(struct job *job)
{
    list_remove(&job->link);
    if (job->place == PLACE_QUEUED)
        job->pool->queued--;
}

void queue_fail_all(td_pool *pool, int rc)
{
    struct td_list *lists[] = {&pool->queue, &pool->waiting};

    for (int i = 0; i < 2; i++) {
        while (!list_empty(lists[i])) {
            struct job *job = container_of(lists[i]->next, struct job, link);

            leave(job);
            job_finish(job, rc);
        }
    }
}

static void end_job(struct job *job, int rc)
{
    td_pool *pool = job->pool;

    if (job->place == PLACE_RUNNING) {
        pool_end_running(job, rc);
        return;
    }
    leave(job);
    job_finish(job, rc);
    pool_dispatch(pool);
}

static void deadline_passed(struct td_timer *timer)
{
    end_job(container_of(timer, struct job, deadline), -ETIMEDOUT);
}

static void caller_cancelled(struct wait *wait)
{
    struct job *job = container_of(wait, struct job, wait);

    if (job->place == PLACE_RUNNING && (job->pool->opts.on_cancel == TD_CANCEL_FINISH || !job->pool->kind->kill)) {
        job->unwanted = true;
        return;
    }
    end_job(job, -ECANCELED);
}

/* The queued job that waited longest, of those that may be dropped; NULL when there is none. */
static struct job *oldest_droppable(td_pool *pool)
{
    for (struct td_list *at = pool->queue.next; at != &pool->queue; at = at->next) {
        struct job *job = container_of(at, struct job, link);

        if (!job->keeps_place)
            return job;
    }
    return NULL;
}

/* Finds the job a place, by the policy. Returns 0 or -EBUSY. */
static int admit(td_pool *pool, struct job *job, td_when_full when_full)
{
    struct job *oldest;

    job->keeps_place = when_full == TD_WAIT;
    if (has_room(pool)) {
        enqueue(pool, job);
        return 0;
    }
    if (when_full == TD_WAIT) {
        job->place = PLACE_WAITING;
        list_push_back(&pool->waiting, &job->link);
        return 0;
    }
    oldest = when_full == TD_DROP_OLDEST ? oldest_droppable(pool) : NULL;
    if (!oldest) {
        pool->stats.rejected++;
        return -EBUSY;
    }
    leave(oldest);
    job_finish(oldest, -EBUSY);
    enqueue(pool, job);
    return 0;
}

int queue_submit(td_pool *pool, struct td_task *self, struct job *job, const td_offload_opts *opts)
{
    td_time limit = opts->deadline > 0 ? opts->deadline : pool->opts.deadline;
    int rc = task_checkpoint(self);

    if (rc == 0 && pool->closing)
        rc = -EPIPE;
    if (rc < 0)
        return rc;
    list_init(&job->link);
    job->wait = (struct wait){caller_cancelled, "a job in a pool", td_now()};
    job->task = self;
    job->pool = pool;
    job->submitted = job->wait.since;
    timer_init(&job->deadline, deadline_passed);
    rc = admit(pool, job, opts->when_full == TD_POOL_DEFAULT ? pool->opts.when_full : opts->when_full);
    if (rc < 0)
        return rc;
    pool->loop->outside_pending++;
    probe2(pool_submit, pool, job);
    if (limit > 0)
        timers_arm(&pool->loop->sched.timers, &job->deadline, td_after(limit));
    pool_dispatch(pool);
    return task_park(self, &job->wait);
}

static int check_memory(td_pool *pool, const void *at, size_t size)
{
    struct arena *arena = arena_current();

    if (pool->kind->private || !at || !arena || arena_has(arena, at, size))  /* no arena: a forked child, refused later */
        return 0;
    td_log(TD_LOG_ERROR, "td_offload: %p is not in shared memory, and a worker process could not see it: allocate what a job "
           "reads and writes with td_shared_alloc", at);
    return -EFAULT;
}

int td_offload_with(td_pool *pool, td_fn fn, void *arg, const td_offload_opts *opts)
{
    struct td_task *self = task_self("td_offload");
    struct job job = {.fn = fn, .items = arg, .count = 1};
    int rc;

    if (!fn)
        return -EINVAL;
    rc = check_memory(pool, arg, 1);
    if (rc == 0)
        rc = queue_submit(pool, self, &job, opts);
    if (opts->report)
        *opts->report = job.report;
    return rc;
}

int td_offload(td_pool *pool, td_fn fn, void *arg)
{
    return td_offload_with(pool, fn, arg, &(td_offload_opts){.when_full = TD_POOL_DEFAULT});
}

struct map {
    td_pool *pool;
    td_fn fn;
    char *items;
    size_t left, item_size;
    unsigned workers;
};

/* Guided chunks: half of an even share of what is left, so that the last ones are small and end together. */
static int map_feeder(void *arg)
{
    struct map *map = arg;
    td_offload_opts opts = {.when_full = TD_WAIT};
    int rc = 0;

    while (rc >= 0 && map->left > 0) {
        size_t count = map->left / (2 * map->workers);
        struct job job = {.fn = map->fn, .items = map->items, .item_size = map->item_size};

        job.count = count ? count : 1;
        map->items += job.count * map->item_size;
        map->left -= job.count;
        rc = queue_submit(map->pool, task_self(__func__), &job, &opts);
    }
    return rc < 0 ? rc : 0;
}

int td_pool_map(td_pool *pool, td_fn fn, void *items, size_t count, size_t item_size)
{
    struct td_task *self = task_self(__func__);
    struct map map = {pool, fn, items, count, item_size, pool->worker_count};
    size_t feeders = 2 * (size_t)pool->worker_count, bytes;
    td_scope scope;
    int rc = task_checkpoint(self), joined;

    if (rc < 0)
        return rc;
    if (!fn || !item_size || (count && !items) || __builtin_mul_overflow(count, item_size, &bytes))
        return -EINVAL;
    if (count == 0)
        return 0;
    rc = check_memory(pool, items, bytes);
    if (rc < 0)
        return rc;
    td_scope_open(&scope);
    rc = td_spawn(&scope, map_feeder, &map);
    for (size_t i = 1; i < feeders && i < count; i++)
        if (td_spawn(&scope, map_feeder, &map) < 0)
            break;  /* fewer feeders do the same work */
    joined = td_scope_join(&scope);
    return joined < 0 ? joined : rc;
}

void td_pool_statistics(td_pool *pool, td_pool_stats *stats)
{
    *stats = pool->stats;
    stats->workers = pool->worker_count;
    stats->busy = (unsigned)pool->running;
    stats->depth = pool->queued;
    stats->queue = pool->queue_max;
    if (!list_empty(&pool->queue))
        stats->oldest_age_ns = td_now() - container_of(pool->queue.next, struct job, link)->submitted;
}
