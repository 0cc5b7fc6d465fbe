/* SPDX-License-Identifier: MIT */
/*
 * How many workers there are: growth, retirement, threads that are left behind.
 */
#include "pool/pool.h"

#include <errno.h>

#include "pool/classes.h"
#include "pool/queue.h"
#include "shared/arena.h"
#include "tandem/log.h"

static struct timers *timers_of(td_pool *pool)
{
    return &pool->loop->sched.timers;
}

unsigned pool_in_service(const td_pool *pool)
{
    unsigned count = 0;

    for (unsigned i = 0; i < pool->slots; i++) {
        enum worker_phase phase = pool->workers[i].phase;

        count += phase != WORKER_GONE && phase != WORKER_RETIRING && phase != WORKER_STUCK;
    }
    return count;
}

void worker_send_token(struct worker *worker)
{
    struct job_slot *slot = page_slot(worker->page, worker->tail);

    atomic_store(&slot->word, word_make(ticket_generation(worker->tail), worker->index, 0, JOB_STOP));
    (void)page_ring(worker->page);
}

static void retire(struct worker *worker)
{
    td_pool *pool = worker->pool;

    if (worker->phase == WORKER_PAUSED) {
        timers_disarm(timers_of(pool), &worker->backoff);
        worker_gone(worker);
        return;
    }
    worker->phase = WORKER_RETIRING;
    worker_watch(worker);
    worker_end_within_grace(worker);
    if (pool->kind->stop) {
        pool->kind->stop(worker);
        return;
    }
    worker_send_token(worker);
}

/* The one that has been idle longest goes first: its caches are cold. */
static struct worker *to_retire(td_pool *pool)
{
    for (int which = 0; which < 2; which++)
        if (!list_empty(&pool->idle[which]) && (which == 0 || pool->closing))
            return container_of(pool->idle[which].prev, struct worker, link);
    for (unsigned i = 0; i < pool->slots; i++)
        if (pool->workers[i].phase == WORKER_PAUSED)
            return &pool->workers[i];
    return NULL;
}

/* Only who has nothing to do is retired; one that is busy will be, when it is idle. */
void pool_retire_surplus(td_pool *pool)
{
    unsigned wanted = pool->closing && !pool_has_work(pool) ? 0 : pool->wanted;
    unsigned have = pool_in_service(pool);
    struct worker *worker;

    while (have-- > wanted && (worker = to_retire(pool)))
        retire(worker);
    for (unsigned i = 0; wanted == 0 && i < pool->slots; i++)
        if (pool->workers[i].phase == WORKER_STARTING && pool->workers[i].born)
            worker_end_within_grace(&pool->workers[i]);
}

void pool_start_wanted(td_pool *pool)
{
    unsigned have = pool_in_service(pool);

    if (pool->closing && !pool_has_work(pool))
        return;
    for (unsigned i = 0; i < pool->slots && have < pool->wanted; i++) {
        if (pool->workers[i].phase != WORKER_GONE)
            continue;
        have++;
        worker_start(&pool->workers[i]);
    }
}

void worker_left_behind(struct job *job)
{
    struct worker *worker = job->worker;
    td_pool *pool = job->pool;

    if ((job->end_rc != -ETIMEDOUT && !(pool->traits & POOL_LEAVES)) || pool->stuck >= pool->opts.stuck_max ||
        (job->items && !job->pinned) || (job->flags & JOB_ITEMS && job->extra) || worker->phase != WORKER_BUSY)
        return;  /* nobody would keep the memory for it */
    worker_take_back(worker);
    (void)worker_collect(worker);  /* it may have ended before that, and another have begun */
    if (job->place != PLACE_GIVEN)
        return;
    worker->left = (struct left){job->pinned, job->output};
    job->pinned = job->output = NULL;
    worker->given[job->ticket % PAGE_SLOTS] = NULL;
    job->worker = NULL;
    pool->given--;
    worker_set_not_busy(worker);
    worker->phase = WORKER_STUCK;
    pool->stuck++;
    if (job->end_rc == -ETIMEDOUT)
        td_log(TD_LOG_WARNING, "%s: a job is past its deadline and goes on: its thread is left behind (%u of %u)",
               pool_name(pool), pool->stuck, pool->opts.stuck_max);
    job_finish(job, job->end_rc);
    pool_start_wanted(pool);
    (void)pool_dispatch(pool);
}

void worker_free_left(struct worker *worker)
{
    if (worker->left.pinned)
        arena_unpin(arena_current(), worker->left.pinned);
    if (worker->left.output)
        arena_take_back(arena_current(), worker->left.output);
    worker->left = (struct left){0};
}

void worker_came_back(struct worker *worker)
{
    td_pool *pool = worker->pool;

    worker_free_left(worker);
    pool->stuck--;
    worker_idle(worker);
    if (worker->phase == WORKER_IDLE)
        (void)pool_dispatch(pool);
}

static td_time busy_total(const td_pool *pool, td_time now)
{
    td_time total = pool->busy_ns;

    for (unsigned i = 0; i < pool->slots; i++) {
        const struct worker *worker = &pool->workers[i];
        const struct job *job = worker->phase == WORKER_BUSY ? worker->given[worker->head % PAGE_SLOTS] : NULL;

        if (job)
            total += now - job->given_at;
    }
    return total;
}

double pool_busy_share(td_pool *pool, td_time now)
{
    td_time total = busy_total(pool, now), length = now - pool->busy_marked_at;
    unsigned have = pool_in_service(pool);

    if (length < GROWTH_WINDOW_NS)
        return pool->busy_share;
    pool->busy_share = have ? (double)(total - pool->busy_mark_ns) / ((double)length * have) : 0;
    if (pool->busy_share > 1)
        pool->busy_share = 1;
    if (pool->busy_share < 0)
        pool->busy_share = 0;
    pool->busy_mark_ns = total;
    pool->busy_marked_at = now;
    return pool->busy_share;
}

void pool_arm_window(td_pool *pool)
{
    if (pool->opts.workers_max > pool->opts.workers && !pool->window.armed && !pool->closing) {
        if (pool->wanted == pool->opts.workers) {  /* it was quiet: begin anew */
            pool->busy_marked_at = td_now();
            pool->busy_mark_ns = busy_total(pool, pool->busy_marked_at);
        }
        timers_arm(timers_of(pool), &pool->window, td_after(GROWTH_WINDOW_NS));
    }
}

void pool_window_over(struct td_timer *timer)
{
    td_pool *pool = container_of(timer, td_pool, window);
    td_time now = td_now();
    double share = pool_busy_share(pool, now);
    int change = growth_window(&pool->growth, now, pool->wanted, share, pool->codel.overloaded);

    if (change > 0) {
        pool->stats.grown += (unsigned)change;
        pool->wanted += (unsigned)change;
        pool_start_wanted(pool);
    } else if (change < 0) {
        pool->stats.shrunk += (unsigned)-change;
        pool->wanted -= (unsigned)-change;
        pool_retire_surplus(pool);
    }
    if (pool_has_work(pool) || pool->wanted > pool->opts.workers)
        timers_arm(timers_of(pool), timer, td_after(GROWTH_WINDOW_NS));
}
