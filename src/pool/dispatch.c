/* SPDX-License-Identifier: MIT */
/*
 * Jobs on their way to workers: which worker, how many ahead, and what becomes of them where it does not get on.
 */
#include "pool/pool.h"

#include "loop/fleet.h"
#include "pool/queue.h"
#include "tandem/log.h"

#define CREDIT_NS 50000            /* of work a worker may have before it; one job at the least */
#define CREDIT_MAX (PAGE_SLOTS - 2)  /* the retire token has room, too */
#define WAKE_NS 30000              /* what it takes to wake another worker, about: for less it is not worth while */
#define HOLD_NS 1000000            /* and where no core is free for another, for less than this */
#define SPIN_NS 50000              /* two wake-ups take as long */
#define PATIENCE_NS 1000000        /* with jobs that stand behind others */
#define BEGIN_NS 100000000         /* and with a worker that does not begin */
#define UNBEGUN_MAX 8              /* jobs with shorter deadlines than that */

/* How many jobs a worker may have before it. */
static unsigned credit(const td_pool *pool)
{
    td_time mean = pool->estimates.mean;

    if (pool->kind->one_job || mean == 0 || mean >= CREDIT_NS)
        return 1;
    return mean < CREDIT_NS / CREDIT_MAX ? CREDIT_MAX : (unsigned)(CREDIT_NS / mean) + 1;
}

/* Cores that neither a loop nor a busy worker of this loop's pools occupies. */
int pool_cores_free(const td_pool *pool)
{
    unsigned loops = pool->loop->fleet ? pool->loop->fleet->count : 1;

    return (int)pool->cores - (int)loops - (int)pool->loop->workers_busy;
}

void worker_set_busy(struct worker *worker)
{
    worker->phase = WORKER_BUSY;
    worker->pool->busy++;
    worker->pool->loop->workers_busy += !(worker->pool->traits & POOL_WAITS);
    worker_watch(worker);
}

void worker_set_not_busy(struct worker *worker)
{
    worker->pool->busy--;
    worker->pool->loop->workers_busy -= !(worker->pool->traits & POOL_WAITS);
}

static void ring(struct worker *worker)
{
    td_pool *pool = worker->pool;
    uint32_t spin_ns = pool_cores_free(pool) >= 0 ? SPIN_NS : 0;  /* it is busy now, so it has been counted */

    if (worker->phase != WORKER_BUSY)
        return;  /* what was given has been taken back since */
    if (atomic_load_explicit(&worker->page->spin_ns, memory_order_relaxed) != spin_ns)
        atomic_store_explicit(&worker->page->spin_ns, spin_ns, memory_order_relaxed);
    if (pool->kind->ring)
        pool->kind->ring(worker);
    else if (page_ring(worker->page))
        pool->stats.wakes_sent++;
}

static void give(struct worker *worker, struct job *job, td_time now)
{
    td_pool *pool = worker->pool;
    struct job_slot *slot = page_slot(worker->page, worker->tail);

    slot->fn = job->fn;
    slot->items = job->items;
    slot->count = job->count;
    slot->size = job->size;
    slot->extra = job->extra;
    atomic_store_explicit(&slot->started, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->progress, 0, memory_order_relaxed);
    worker->given[worker->tail % PAGE_SLOTS] = job;
    job->place = PLACE_GIVEN;
    job->worker = worker;
    job->ticket = worker->tail;
    job->given_at = now;
    atomic_store_explicit(&slot->word, word_make(ticket_generation(worker->tail), worker->index, job->flags, JOB_READY),
                          memory_order_release);
    worker->tail++;
    pool->given++;
    pool->jobs_given++;
    if (worker->phase == WORKER_IDLE)
        worker_set_busy(worker);
}

static bool takes_more(const struct worker *worker, unsigned allowed)
{
    return worker->phase == WORKER_BUSY && !worker->slow && !worker->reserved &&
           worker_outstanding(worker) < allowed;
}

static struct worker *first_idle(td_pool *pool, unsigned which)
{
    struct td_list *list = &pool->idle[which];

    return list_empty(list) ? NULL : container_of(list->next, struct worker, link);
}

static struct worker *busy_with_room(td_pool *pool, unsigned allowed)
{
    for (unsigned i = 0; i < pool->slots; i++) {
        struct worker *worker = &pool->workers[pool->cursor];

        if (takes_more(worker, allowed))
            return worker;
        pool->cursor = (pool->cursor + 1) % pool->slots;
    }
    return NULL;
}

/*
 * The worker for the next job. Short jobs go behind others rather than wake a worker, and rather than make one compete
 * with the loop for its core; whoever is given jobs that way is looked after (patience).
 */
static struct worker *choose_worker(td_pool *pool)
{
    struct worker *idle = first_idle(pool, 0), *warm = pool->warm;
    unsigned allowed = credit(pool);
    bool warm_takes = warm && takes_more(warm, allowed);
    td_time mean = pool->estimates.mean;

    if (allowed == 1)
        return idle;
    if (idle && !(warm && warm->phase == WORKER_BUSY && !warm->slow))
        return idle;
    if (!idle)
        return warm_takes ? warm : busy_with_room(pool, allowed);
    if (pool_cores_free(pool) > 0 ? (td_time)worker_outstanding(warm) * mean < WAKE_NS : (td_time)pool->queued * mean < HOLD_NS)
        return warm_takes ? warm : NULL;
    return idle;
}

/* Looks after jobs that were given, at the latest in so long. */
static void keep_patience(td_pool *pool, td_time now, td_time for_ns)
{
    struct timers *timers = &pool->loop->sched.timers;

    if (pool->patience.armed && pool->patience.at <= now + for_ns)
        return;
    timers_disarm(timers, &pool->patience);
    timers_arm(timers, &pool->patience, now + for_ns);
}

/*
 * A worker process may be stopped, or have written over what it shares with us, and then it does not tell us of anything: it is
 * looked at now and then. Not in virtual time, which would go on with each look.
 */
static bool needs_looking_after(const td_pool *pool)
{
    return pool->kind->lost && !pool->loop->virtual;
}

/* High jobs first have the workers that are reserved for them. */
static struct worker *reserved_for_next(td_pool *pool)
{
    return list_empty(&pool->lanes[0].queue) ? NULL : first_idle(pool, 1);
}

bool pool_dispatch(td_pool *pool)
{
    struct worker *given = NULL;
    td_time now = 0;

    if (pool->sweeping)
        return false;
    if (pool->waiting > 0)
        queue_admit_waiting(pool);
    while (pool->queued > 0) {
        struct worker *worker = reserved_for_next(pool);
        struct job *job;

        if (!worker && !(worker = choose_worker(pool)))
            break;
        job = queue_next(pool, worker->reserved);
        if (!job)
            break;
        if (worker->phase != WORKER_IDLE && !takes_more(worker, credit(pool))) {  /* others gave way: that had consequences */
            queue_put_back(job);
            continue;
        }
        now = now ? now : td_now();
        if (given && given != worker)
            ring(given);
        given = worker;
        give(worker, job, now);
        if (!worker->reserved)
            pool->warm = worker;
        if (worker_outstanding(worker) > 1)
            keep_patience(pool, now, PATIENCE_NS);
        else if (needs_looking_after(pool))
            keep_patience(pool, now, BEGIN_NS);
        if (pool->waiting > 0)
            queue_admit_waiting(pool);
    }
    if (given)
        ring(given);
    if ((pool->traits & POOL_READY_MADE) && pool->queued > 0 && !first_idle(pool, 0))
        classes_grow(pool);
    if (pool->codel.target && pool->queued == 0)
        codel_idle(&pool->codel, now ? now : td_now());
    if (pool->queued > 0 && first_idle(pool, 0))
        keep_patience(pool, now ? now : td_now(), PATIENCE_NS);  /* they are held back for a worker that is at work */
    if (pool->closer && !pool_has_work(pool))
        pool_wake_closer(pool);
    return given != NULL;
}

/* The worker has not begun what it was given first. Asked only while that is so: one that was rung is not asleep. */
static bool not_begun_and_lost(struct worker *worker)
{
    struct job_slot *slot = page_slot(worker->page, worker->head);
    const struct worker_kind *kind = worker->pool->kind;

    return kind->lost && word_state(atomic_load(&slot->word)) == JOB_READY && kind->lost(worker, true);
}

bool worker_is_lost(struct worker *worker, const struct job *job)
{
    if (job->ticket != worker->head || (++worker->unbegun < UNBEGUN_MAX && td_now() - job->given_at < BEGIN_NS))
        return false;
    return not_begun_and_lost(worker);
}

/*
 * Ends a worker that is stopped, or asleep although it was rung (it wrote over what it shares with us, or forked and is not
 * itself any more): it would keep what it is given for ever, or for its deadline, though others are there to run it. Nothing
 * is lost with this one, because it has begun nothing.
 */
void worker_end_lost(struct worker *worker)
{
    if (worker->phase == WORKER_IDLE)
        worker_set_busy(worker);
    if (worker->phase != WORKER_BUSY)
        return;
    worker->phase = WORKER_DYING;  /* not idle, though it will have nothing */
    worker_take_back(worker);
    worker->phase = WORKER_BUSY;
    if (worker->head != worker->tail)
        return;  /* somebody let it go on, and it began */
    td_log(TD_LOG_WARNING, "%s: worker %u (pid %d) is stopped or lost, and has not begun its job: ending it",
           pool_name(worker->pool), worker->index, (int)worker->pid);
    worker_kill(worker, 0, TD_DEATH_STOPPED);
}

static bool ended_as_lost(struct worker *worker, td_time now)
{
    struct job *job = worker->given[worker->head % PAGE_SLOTS];

    if (!job || !worker->pool->kind->lost ||
        word_state(atomic_load(&page_slot(worker->page, worker->head)->word)) != JOB_READY)
        return false;
    if (now - job->given_at < BEGIN_NS || !not_begun_and_lost(worker))
        return false;
    worker_end_lost(worker);
    return worker->phase == WORKER_DYING;
}

void worker_await(struct worker *worker)
{
    if (needs_looking_after(worker->pool))
        keep_patience(worker->pool, td_now(), BEGIN_NS);
}

/* Its init may take as long as it likes, but one that is stopped is not at it. Its death makes another. */
static void end_if_stopped_at_birth(struct worker *worker)
{
    td_pool *pool = worker->pool;

    worker_await(worker);
    if (!pool->kind->lost || !pool->kind->lost(worker, false))
        return;
    td_log(TD_LOG_WARNING, "%s: worker %u (pid %d) is stopped before it is ready: ending it", pool_name(pool), worker->index,
           (int)worker->pid);
    pool->kind->kill(worker);
}

/*
 * Jobs that were given behind one that takes long, against all expectation, are given to somebody else; and idle workers
 * are not kept waiting for a worker that turns out to be slow.
 */
void pool_patience_over(struct td_timer *timer)
{
    td_pool *pool = container_of(timer, td_pool, patience);
    td_time now = td_now();

    for (unsigned i = 0; i < pool->slots; i++) {
        struct worker *worker = &pool->workers[i];

        if (worker->phase == WORKER_STARTING && worker->born)
            end_if_stopped_at_birth(worker);
        if (worker->phase != WORKER_BUSY)
            continue;
        (void)worker_collect(worker);
        if (worker->phase != WORKER_BUSY)
            continue;
        if (needs_looking_after(pool))
            keep_patience(pool, now, BEGIN_NS);
        worker->slow = worker->head == worker->head_seen;
        worker->head_seen = worker->head;
        if (ended_as_lost(worker, now))
            continue;
        if (worker_outstanding(worker) <= 1)
            continue;
        if (worker->slow)
            worker_take_back(worker);
        keep_patience(pool, now, PATIENCE_NS);  /* also for what ends, untold, while a longer one begins */
    }
    (void)pool_dispatch(pool);
}
