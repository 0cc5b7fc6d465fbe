/* SPDX-License-Identifier: MIT */
#include "pool/pool.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "base/fail.h"
#include "loop/sim.h"
#include "pool/command.h"
#include "pool/queue.h"
#include "shared/arena.h"
#include "tandem/log.h"

#define QUEUE_DEFAULT 64
#define WORKERS_MAX 4096
#define GROWTH_DELAY_NS 5000000   /* jobs that wait longer make a pool grow, as RFC 8289 has it */

struct pool_closer {
    struct wait wait;
    struct td_task *task;
    td_pool *pool;
};

const char *pool_name(const td_pool *pool)
{
    return pool->opts.name ? pool->opts.name : "pool";
}

bool pool_has_work(const td_pool *pool)
{
    return pool->queued + pool->given + pool->waiting > 0;
}

void pool_wake_closer(td_pool *pool)
{
    struct pool_closer *closer = pool->closer;

    pool->closer = NULL;
    if (closer)
        task_unpark(closer->task, 0);
}

unsigned pool_usable_cores(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static const char *wrong_with(const td_pool_opts *opts, unsigned workers)
{
    bool processes = opts->kind == TD_PROCESSES;

    if (opts->kind != TD_THREADS && !processes)
        return "kind is TD_THREADS or TD_PROCESSES";
    if (opts->workers > WORKERS_MAX || opts->workers_max > WORKERS_MAX || opts->stuck_max > WORKERS_MAX)
        return "there are 4096 workers at the most";
    if (opts->workers_max && opts->workers_max < workers)
        return "workers_max is less than workers";
    if (opts->workers_reserved >= workers && opts->workers_reserved > 0)
        return "workers_reserved leaves no worker for other jobs";
    if (opts->queue > (size_t)1 << 30 && opts->queue != TD_QUEUE_NONE)
        return "queue is larger than 2^30";
    if (opts->when_full > TD_DROP_OLDEST || opts->on_cancel > TD_CANCEL_FINISH)
        return "when_full or on_cancel is none of the constants";
    if (opts->deadline < 0 || opts->kill_grace_ns < 0 || opts->delay_target_ns < 0 || opts->cpu_max_ns < 0)
        return "a duration is negative";
    if (processes && opts->stuck_max)
        return "stuck_max is for threads: a worker process can be killed";
    if (!processes && (opts->strict || opts->memory_max || opts->cpu_max_ns || opts->command || opts->kill_grace_ns))
        return "strict, memory_max, cpu_max_ns, kill_grace_ns and command are for processes";
    if (opts->command && (opts->strict || opts->worker_init || opts->worker_exit))
        return "strict, worker_init and worker_exit are not for a command";
    if (opts->command && !command_bytes(opts->command))
        return "command is empty, or longer than 128 KiB";
    return NULL;
}

static int check_opts(const td_pool_opts *opts)
{
    const char *wrong = wrong_with(opts, opts->workers ? opts->workers : pool_usable_cores());
    struct arena *arena = arena_current();

    if (wrong) {
        td_log(TD_LOG_ERROR, "td_pool_open: %s", wrong);
        return -EINVAL;
    }
    if (opts->kind == TD_PROCESSES && opts->worker_arg && arena && !arena_has(arena, opts->worker_arg, 1)) {
        td_log(TD_LOG_ERROR, "td_pool_open: worker_arg is not in shared memory, and a worker process could not see it");
        return -EFAULT;
    }
    return 0;
}

static void release(td_pool *pool)
{
    for (unsigned i = 0; i < pool->slots; i++)
        if (pool->workers && pool->workers[i].page)
            pool->kind->release(&pool->workers[i]);
    free(pool->workers);
    free(pool);
}

static int build(td_pool *pool)
{
    pool->workers = calloc(pool->slots, sizeof *pool->workers);
    if (!pool->workers)
        return -ENOMEM;
    for (unsigned i = 0; i < pool->slots; i++) {
        struct worker *worker = &pool->workers[i];

        worker->pool = pool;
        worker->index = (uint16_t)i;
        worker->reserved = i < pool->opts.workers_reserved;
        list_init(&worker->link);
        timer_init(&worker->backoff, worker_backoff_over);
    }
    for (unsigned i = 0; i < pool->wanted; i++) {
        int rc = worker_prepare(pool, i);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static void init_lists(td_pool *pool)
{
    list_init(&pool->idle[0]);
    list_init(&pool->idle[1]);
    list_init(&pool->watched);
    list_init(&pool->poller.link);
    list_init(&pool->turn_end.link);
    for (int i = 0; i < PRIORITIES; i++) {
        list_init(&pool->lanes[i].queue);
        list_init(&pool->lanes[i].waiting);
    }
    timer_init(&pool->patience, pool_patience_over);
    timer_init(&pool->window, pool_window_over);
    timer_init(&pool->mending, pool_mended);
    pool->poller.look = pool_look;
    pool->poller.arm = pool_arm;
    pool->poller.expects = pool_expects;
}

static void init(td_pool *pool, struct loop *loop, const td_pool_opts *opts)
{
    struct arena *arena = arena_current();
    bool processes = opts->kind == TD_PROCESSES;
    td_shared_stats shared;

    pool->loop = loop;
    pool->opts = *opts;
    if (pool->opts.when_full == TD_POOL_DEFAULT)
        pool->opts.when_full = TD_WAIT;
    if (loop_is_simulated(loop))
        pool->kind = processes ? &worker_simulated_process : &worker_simulated_thread;
    else
        pool->kind = opts->command ? &worker_command : processes ? &worker_process : &worker_thread;
    pool->cores = pool_usable_cores();
    pool->opts.workers = opts->workers ? opts->workers : pool->cores;
    if (pool->opts.workers_max < pool->opts.workers)
        pool->opts.workers_max = pool->opts.workers;
    pool->wanted = pool->opts.workers;
    pool->slots = pool->opts.workers_max + opts->stuck_max;
    pool->queue_max = opts->queue == TD_QUEUE_NONE ? 0 : opts->queue ? opts->queue : QUEUE_DEFAULT;
    td_shared_statistics(&shared);
    pool->bytes_max = opts->queue_bytes ? opts->queue_bytes : shared.limit_bytes / 2;
    pool->arena_owner = arena ? arena_new_owner(arena) : 0;
    pool->busy_marked_at = td_now();
    codel_init(&pool->codel, opts->delay_target_ns ? opts->delay_target_ns
                             : pool->opts.workers_max > pool->opts.workers ? GROWTH_DELAY_NS : 0);
    growth_init(&pool->growth, pool->opts.workers, pool->opts.workers_max);
    init_lists(pool);
}

int pool_open(td_pool **out, const td_pool_opts *opts, unsigned traits)
{
    struct td_task *self = task_self("td_pool_open");
    td_pool *pool;
    int rc = check_opts(opts);

    if (rc < 0)
        return rc;
    if (self->sched->forked)
        return -EOWNERDEAD;
    if (opts->kind == TD_PROCESSES && (!arena_current() || (!loop_of(self)->zygote && !loop_is_simulated(loop_of(self)))))
        return -ENOSYS;  /* td_run has logged why */
    if (opts->command && loop_is_simulated(loop_of(self)))
        return -ENOSYS;
    pool = calloc(1, sizeof *pool);
    if (!pool)
        return -ENOMEM;
    init(pool, loop_of(self), opts);
    pool->traits = traits;
    rc = build(pool);
    if (rc < 0) {
        release(pool);
        return rc;
    }
    pool_start_wanted(pool);
    *out = pool;
    return 0;
}

int td_pool_open(td_pool **pool, const td_pool_opts *opts)
{
    return pool_open(pool, opts, 0);
}

void td_pool_cancel(td_pool *pool)
{
    if (pool_user(pool, __func__)->sched->forked)
        return;  /* a child would kill the parent's workers */
    for (unsigned i = 0; i < pool->slots; i++)
        if (pool->workers[i].phase == WORKER_BUSY)
            worker_take_back(&pool->workers[i]);
    queue_fail_all(pool, -ECANCELED, TD_REFUSED_NOT);
    for (unsigned i = 0; i < pool->slots; i++) {
        struct worker *worker = &pool->workers[i];

        if (worker->phase == WORKER_BUSY && worker->given[worker->head % PAGE_SLOTS])
            job_end_given(worker->given[worker->head % PAGE_SLOTS], -ECANCELED);
    }
}

static void close_hurried(struct wait *wait)
{
    struct pool_closer *closer = container_of(wait, struct pool_closer, wait);

    closer->pool->closer = NULL;
    task_unpark(closer->task, -ECANCELED);
}

/* Parks the closing task until somebody calls pool_wake_closer. */
static int close_wait(td_pool *pool, struct td_task *self, bool abortable)
{
    struct pool_closer closer = {{abortable ? close_hurried : NULL, "the end of a pool", 0}, self, pool};
    int rc;

    pool->closer = &closer;
    pool->loop->outside_pending++;  /* workers that end are an event to come */
    rc = task_park(self, &closer.wait);
    pool->loop->outside_pending--;
    return rc;
}

void pool_forget(td_pool *pool)
{
    struct timers *timers = &pool->loop->sched.timers;
    struct arena *arena = arena_current();

    timers_disarm(timers, &pool->patience);
    timers_disarm(timers, &pool->window);
    timers_disarm(timers, &pool->mending);
    list_remove(&pool->poller.link);
    list_remove(&pool->turn_end.link);
    if (arena && arena_reclaim(arena, pool->arena_owner) > 0)
        fail("td_pool_close: outputs of jobs are left over; this is a defect of the library");
    release(pool);
}

int td_pool_close(td_pool *pool)
{
    struct td_task *self = pool_user(pool, __func__);
    int rc = task_checkpoint(self);

    if (self->sched->forked)
        return rc;
    if (pool->traits & POOL_READY_MADE)
        fail("td_pool_close: %s is the loop's own and ends with it; close what td_pool_open has opened", pool_name(pool));
    if (pool->closing)
        fail("td_pool_close: the pool is being closed already");
    pool->closing = true;
    while (rc == 0 && pool_has_work(pool))
        rc = close_wait(pool, self, true);
    if (pool_has_work(pool))
        td_pool_cancel(pool);
    while (pool_has_work(pool))
        close_wait(pool, self, false);
    pool_retire_surplus(pool);
    while (pool->alive > 0 || pool->graves > 0 || pool->callers > 0)
        close_wait(pool, self, false);
    pool_forget(pool);
    return rc;
}

void td_pool_statistics(td_pool *pool, td_pool_stats *stats)
{
    td_time now = td_now();
    td_shared_stats shared;

    (void)pool_user(pool, __func__);
    td_shared_statistics(&shared);
    *stats = pool->stats;
    stats->workers = pool->alive - pool->stuck;
    stats->busy = pool->busy;
    stats->workers_min = pool->opts.workers;
    stats->workers_max = pool->opts.workers_max;
    stats->stuck = pool->stuck;
    stats->depth = queue_depth(pool);
    stats->queue = pool->queue_max;
    stats->bytes = pool->queued_bytes;
    stats->queue_bytes = pool->bytes_max;
    stats->oldest_age_ns = queue_oldest_age(pool, now);
    stats->mean_ran_ns = pool->estimates.mean;
    for (unsigned i = 0; i < pool->slots && !pool->loop->sched.forked; i++)  /* a child does not have the pages */
        if (pool->workers[i].page)
            stats->notices_sent += atomic_load(&pool->workers[i].page->notices);
    stats->wakes_suppressed = pool->jobs_given > stats->wakes_sent ? pool->jobs_given - stats->wakes_sent : 0;
    stats->notices_suppressed = pool->service.count > stats->notices_sent ? pool->service.count - stats->notices_sent : 0;
    stats->arena_used_bytes = shared.used_bytes;
    stats->arena_quarantined_bytes = shared.quarantined_bytes;
    stats->busy_share = pool_busy_share(pool, now);
    stats->broken = pool->broken;
}

void td_pool_histograms(td_pool *pool, td_histogram *sojourn, td_histogram *service)
{
    (void)pool_user(pool, __func__);
    if (sojourn)
        *sojourn = pool->sojourn;
    if (service)
        *service = pool->service;
}

const char *td_refusal_name(td_refusal refusal)
{
    static const char *const names[TD_REFUSALS] = {"", "queue", "bytes", "dropped", "deadline", "delay", "memory", "broken",
                                                   "closing"};

    return refusal < TD_REFUSALS ? names[refusal] : "unknown";
}

const char *td_death_name(td_death death)
{
    static const char *const names[TD_DEATHS] = {"crash", "killed", "exit", "deadline", "cancel", "cpu", "forbidden", "corrupt",
                                                 "stopped"};

    return death < TD_DEATHS ? names[death] : "unknown";
}
