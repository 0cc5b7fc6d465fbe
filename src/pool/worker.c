/* SPDX-License-Identifier: MIT */
/*
 * The lives of workers: birth, deaths and what follows from them.
 *
 * Invariants: 1. A worker is in idle[] exactly in phase IDLE, and in `watched` in phases BUSY, STUCK, RETIRING and, while its
 * init runs, STARTING. 2. `alive` counts those that are not GONE.
 */
#include "pool/pool.h"

#include <assert.h>
#include <errno.h>

#include "base/fail.h"
#include "pool/queue.h"
#include "tandem/error.h"
#include "tandem/log.h"

#define QUICK_RETRIES 10          /* of starting a worker, a few milliseconds apart: the zygote may have been killed */
#define QUICK_RETRY_NS 5000000
#define RETRY_NS 100000000
#define FAILURES_MAX 40           /* then whoever waits is told */
#define BACKOFF_FIRST_NS 10000000
#define BACKOFF_MAX_NS 1000000000
#define FREE_DEATHS 3             /* deaths in a row that are replaced at once */
#define DEATHS_MAX 10             /* that cost a job, in a row, without a finished job in between: the pool is broken */
#define MEND_FIRST_NS 1000000000
#define MEND_MAX_NS 60000000000
#define END_GRACE_NS 2000000000   /* for a worker that is to end; worker_exit may have something to do */

static struct timers *timers_of(td_pool *pool)
{
    return &pool->loop->sched.timers;
}

int worker_prepare(td_pool *pool, unsigned index)
{
    struct worker *worker = &pool->workers[index];
    struct worker_page *page;
    int rc;

    if (!worker->page && (rc = pool->kind->prepare(worker)) < 0)
        return rc;
    /* Each time anew: the worker before could write here, and must have no say in what the next one is. */
    page = worker->page;
    page->flags = (pool->kind->private ? PAGE_PRIVATE : 0u) | (pool->opts.strict ? PAGE_STRICT : 0u);
    page->owner = worker->index;
    page->memory_max = pool->opts.memory_max;
    page->cpu_max_ns = pool->opts.cpu_max_ns;
    page->init = pool->opts.worker_init;
    page->exit = pool->opts.worker_exit;
    page->arg = pool->opts.worker_arg;
    return 0;
}

void worker_watch(struct worker *worker)
{
    td_pool *pool = worker->pool;

    list_remove(&worker->link);
    list_push_back(&pool->watched, &worker->link);
    if (!list_linked(&pool->poller.link))
        list_push_back(&pool->loop->pollers, &pool->poller.link);
}

/* Where nothing is watched any more, the loop need not look. */
static void leave_list(struct worker *worker)
{
    td_pool *pool = worker->pool;

    list_remove(&worker->link);
    if (list_empty(&pool->watched))
        list_remove(&pool->poller.link);
}

void worker_idle(struct worker *worker)
{
    td_pool *pool = worker->pool;

    worker->phase = WORKER_IDLE;
    leave_list(worker);
    list_push_front(&pool->idle[worker->reserved], &worker->link);
    if (pool->alive - pool->stuck > pool->wanted || (pool->closing && !pool_has_work(pool)))
        pool_retire_surplus(pool);
}

void worker_gone(struct worker *worker)
{
    td_pool *pool = worker->pool;

    assert(worker->head == worker->tail && worker->phase != WORKER_GONE);
    timers_disarm(timers_of(pool), &worker->backoff);
    leave_list(worker);
    worker->phase = WORKER_GONE;
    if (worker->page)
        pool->stats.notices_sent += atomic_exchange(&worker->page->notices, 0);
    if (pool->warm == worker)
        pool->warm = NULL;
    if (--pool->alive == 0)
        pool_wake_closer(pool);
}

void pool_worker_gone(struct worker *worker)
{
    worker_gone(worker);
    pool_start_wanted(worker->pool);
}

void pool_grave_closed(td_pool *pool)
{
    if (--pool->graves == 0)
        pool_wake_closer(pool);
}

/* Its init is over, or it has none. */
static void now_up(struct worker *worker)
{
    worker->pool->failures_in_row = 0;
    timers_disarm(timers_of(worker->pool), &worker->backoff);
    worker_idle(worker);
    if (worker->phase == WORKER_IDLE)
        (void)pool_dispatch(worker->pool);
}

/* Whether a worker that is born may yet fail to come up, and says so in its page. */
static bool has_to_report(const td_pool *pool)
{
    const td_pool_opts *opts = &pool->opts;

    if (pool->kind->ring && !opts->command)  /* simulated */
        return false;
    return opts->worker_init || opts->command || opts->strict || opts->memory_max || opts->cpu_max_ns;
}

/* Nobody waits for ever for a worker that is to end, or for one that is not needed any more to come up. */
void worker_end_within_grace(struct worker *worker)
{
    if (worker->pool->kind->kill && !worker->backoff.armed)
        timers_arm(timers_of(worker->pool), &worker->backoff, td_after(END_GRACE_NS));
}

void pool_worker_born(struct worker *worker)
{
    td_pool *pool = worker->pool;

    worker->born = true;
    if (!has_to_report(pool)) {
        now_up(worker);
        return;
    }
    if (pool->closing && !pool_has_work(pool))
        worker_end_within_grace(worker);
    worker_watch(worker);
    worker_await(worker);
    (void)worker_check_birth(worker);
}

bool worker_check_birth(struct worker *worker)
{
    int up = atomic_load(&worker->page->up);

    if (!worker->born || up == 0)
        return false;
    if (up > 0)
        now_up(worker);
    else if (worker->pool->kind->ended && worker->pool->kind->ended(worker))
        pool_worker_failed(worker, up);  /* of a process the death will be told */
    return worker->phase != WORKER_STARTING;
}

bool worker_check_end(struct worker *worker)
{
    if (!worker->pool->kind->ended || !worker->pool->kind->ended(worker))
        return false;
    pool_worker_gone(worker);
    return true;
}

void pool_worker_done(struct worker *worker)
{
    td_pool *pool = worker->pool;

    (void)worker_collect(worker);
    (void)pool_dispatch(pool);
}

void worker_kill(struct worker *worker, int rc, td_death cause)
{
    if (!worker->pool->kind->kill)
        fail("%s: the program wrote over what a pool shares with its threads", pool_name(worker->pool));
    if (worker->phase == WORKER_IDLE)
        worker_set_busy(worker);  /* it is given nothing any more */
    if (worker->phase != WORKER_BUSY)
        return;
    timers_disarm(timers_of(worker->pool), &worker->backoff);
    worker->unbegun = 0;
    worker->phase = WORKER_DYING;
    worker->kill_rc = rc;
    worker->kill_cause = cause;
    worker->pool->kind->kill(worker);
}

static void start_later(struct worker *worker, td_time wait_ns)
{
    worker->phase = WORKER_PAUSED;
    leave_list(worker);
    timers_arm(timers_of(worker->pool), &worker->backoff, td_after(wait_ns));
}

/* PAUSED: time to be replaced. BUSY: the job that was asked to end had its time. STARTING, RETIRING: so had the worker. */
void worker_backoff_over(struct td_timer *timer)
{
    struct worker *worker = container_of(timer, struct worker, backoff);
    td_pool *pool = worker->pool;

    if (worker->phase == WORKER_PAUSED) {
        if (pool_in_service(pool) > pool->wanted)
            pool_worker_gone(worker);
        else
            worker_start(worker);
        return;
    }
    if (worker->phase == WORKER_STARTING || worker->phase == WORKER_RETIRING) {
        td_log(TD_LOG_WARNING, "%s: worker %u (pid %d) does not end by itself; killing it", pool_name(pool), worker->index,
               (int)worker->pid);
        worker->phase = WORKER_RETIRING;
        pool->kind->kill(worker);
        return;
    }
    (void)worker_collect(worker);
    if (worker->phase == WORKER_BUSY && worker->head != worker->tail && worker->given[worker->head % PAGE_SLOTS]->end_rc)
        worker_kill_over(worker->given[worker->head % PAGE_SLOTS], worker->given[worker->head % PAGE_SLOTS]->end_rc);
}

void worker_start(struct worker *worker)
{
    td_pool *pool = worker->pool;
    uint64_t first = (worker->tail + PAGE_SLOTS) / PAGE_SLOTS * PAGE_SLOTS;
    int rc;

    assert(worker->head == worker->tail);
    if (worker->phase == WORKER_GONE)
        pool->alive++;
    worker->phase = WORKER_STARTING;
    worker->born = worker->slow = false;
    worker->kill_rc = 0;
    if (pool->warm == worker)
        pool->warm = NULL;
    rc = worker_prepare(pool, worker->index);
    if (rc == 0) {
        pool->stats.notices_sent += atomic_load(&worker->page->notices);
        worker->head = worker->tail = worker->head_seen = first;
        page_reset(worker->page, first);
        rc = pool->kind->start(worker);
    }
    if (rc < 0)
        pool_worker_failed(worker, rc);
}

void pool_worker_failed(struct worker *worker, int rc)
{
    td_pool *pool = worker->pool;

    if ((pool->closing && !pool_has_work(pool)) || pool_in_service(pool) > pool->wanted) {
        worker_gone(worker);
        return;
    }
    if (pool->failures_in_row++ == QUICK_RETRIES)
        td_log(TD_LOG_ERROR, "%s: no worker can be started: %s; trying on", pool_name(pool), td_strerror(rc));
    start_later(worker, pool->failures_in_row <= QUICK_RETRIES ? QUICK_RETRY_NS : RETRY_NS);
    if (pool->failures_in_row > FAILURES_MAX && pool->given == 0 && list_empty(&pool->idle[0]) && list_empty(&pool->idle[1]))
        queue_fail_all(pool, rc, TD_REFUSED_NOT);  /* nobody will run what waits: say so rather than never */
}

static void break_down(td_pool *pool)
{
    unsigned doublings = pool->breaks_in_row < 6 ? pool->breaks_in_row : 6;
    td_time wait_ns = (td_time)MEND_FIRST_NS << doublings;

    pool->breaks_in_row++;
    pool->broken = true;
    td_log(TD_LOG_ERROR, "%s: %u workers died in a row, and no job was finished in between: refusing work for %.0f s",
           pool_name(pool), pool->losses_in_row, (double)(wait_ns < MEND_MAX_NS ? wait_ns : MEND_MAX_NS) / 1e9);
    timers_arm(timers_of(pool), &pool->mending, td_after(wait_ns < MEND_MAX_NS ? wait_ns : MEND_MAX_NS));
    queue_fail_all(pool, -EOWNERDEAD, TD_REFUSED_BROKEN);
}

/* Half open: one more death breaks it again, a finished job mends it. */
void pool_mended(struct td_timer *timer)
{
    td_pool *pool = container_of(timer, td_pool, mending);

    pool->broken = false;
    pool->losses_in_row = DEATHS_MAX - 1;
}

static td_time backoff_of(const td_pool *pool)
{
    unsigned doublings;

    if (pool->deaths_in_row <= FREE_DEATHS)
        return 0;
    doublings = pool->deaths_in_row - FREE_DEATHS - 1;
    return doublings > 6 ? BACKOFF_MAX_NS : (td_time)BACKOFF_FIRST_NS << doublings;
}

static void count_death(struct worker *worker, td_death cause, const char *how)
{
    td_pool *pool = worker->pool;

    pool->stats.deaths++;
    pool->stats.deaths_by[cause]++;
    if (worker->phase == WORKER_DYING && cause != TD_DEATH_CORRUPT)
        return;  /* it was our decision */
    pool->deaths_in_row++;
    td_log(TD_LOG_WARNING, "%s: worker %u (pid %d) %s%s; starting another", pool_name(pool), worker->index, (int)worker->pid,
           how, worker->head != worker->tail ? " while it ran a job" : "");
}

void pool_worker_died(struct worker *worker, int signal, td_death cause, const char *how)
{
    td_pool *pool = worker->pool;
    int up = atomic_load(&worker->page->up);
    td_time wait_ns;

    timers_disarm(timers_of(pool), &worker->backoff);
    if (worker->phase == WORKER_RETIRING) {
        pool_worker_gone(worker);
        return;
    }
    leave_list(worker);
    if (worker->phase == WORKER_STARTING && up < 0) {
        pool_worker_failed(worker, up);
        return;
    }
    count_death(worker, worker->phase == WORKER_DYING ? worker->kill_cause : cause, how);
    pool->losses_in_row += worker->phase == WORKER_STARTING && has_to_report(pool);
    worker_recover(worker, signal);
    if (pool->losses_in_row >= DEATHS_MAX && !pool->broken && !pool->closing)
        break_down(pool);
    if ((pool->closing && !pool_has_work(pool)) || pool_in_service(pool) > pool->wanted) {
        worker_gone(worker);
        pool_wake_closer(pool);
        return;
    }
    wait_ns = backoff_of(pool);
    if (wait_ns)
        start_later(worker, wait_ns);
    else
        worker_start(worker);
    (void)pool_dispatch(pool);
}
