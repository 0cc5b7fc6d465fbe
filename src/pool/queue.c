/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A job is in a lane's `waiting`, or in its `queue`, or given to a worker; it leaves by job_finish, exactly once
 * (law 7). 2. queued + given never exceeds wanted + queue_max, but for jobs that were put back.
 */
#include "pool/queue.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/probe.h"
#include "shared/arena.h"
#include "sync/waiters.h"
#include "tandem/log.h"

#define PASSED_OVER_MAX 32  /* jobs of higher lanes that may be given while one of a lower lane waits */

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

static void let_memory_go(struct job *job, int rc)
{
    if (job->output_to)
        *job->output_to = rc >= 0 ? job->output : NULL;
    if (job->output && rc >= 0 && job->output_to)
        arena_give(arena_current(), job->output);
    else if (job->output)
        arena_take_back(arena_current(), job->output);
    job->output = NULL;
    if (job->pinned)
        job_unpin(job);
}

static void count_times(struct job *job)
{
    td_pool *pool = job->pool;
    td_time ran_ns = job->report.ran_ns;

    if (!job->report.queued_ns)
        job->report.queued_ns = (job->given_at ? job->given_at : td_now()) - job->submitted_at;
    if (!ran_ns)
        return;
    td_histogram_add(&pool->sojourn, job->report.queued_ns);
    td_histogram_add(&pool->service, ran_ns);
    pool->stats.ran_ns += ran_ns;
    pool->busy_ns += ran_ns;
    estimates_add(&pool->estimates, (uintptr_t)job->fn, ran_ns / (job->count ? job->count : 1));
}

static void tell(struct job *job, int rc)
{
    struct waiter *waiter;

    job->rc = rc;
    if (job->report_to)
        *job->report_to = job->report;
    if (!job->submitted) {
        job->place = PLACE_OUTSIDE;
        if (job->task)  /* else it was cancelled before it parked */
            task_unpark(job->task, rc);
        return;
    }
    job->place = PLACE_DONE;
    if (job->task)  /* in td_submit, where it waited for room: it is told there, and for the scope it never was */
        task_unpark(job->task, rc);
    scope_guest_done(&job->guest, job->task ? 0 : rc, job->alone);
    while (!list_empty(&job->waiters) && (waiter = waiters_wake(&job->waiters, rc)))
        ;
}

void job_finish(struct job *job, int rc)
{
    td_pool *pool = job->pool;

    assert(job->place != PLACE_OUTSIDE && job->place != PLACE_DONE);
    timers_disarm(&pool->loop->sched.timers, &job->deadline);
    count_times(job);
    count_outcome(&pool->stats, rc, job->report.ran_ns > 0);
    if (job->report.refusal)
        pool->stats.refused[job->report.refusal]++;
    let_memory_go(job, rc);
    pool->loop->outside_pending--;
    probe3(pool_done, pool, job, rc);
    tell(job, rc);
}

static bool has_room(const td_pool *pool, const struct job *job)
{
    return pool->queued + pool->given < pool->wanted + pool->queue_max &&
           (pool->queued_bytes == 0 || pool->queued_bytes + job->bytes <= pool->bytes_max);
}

/* Whoever comes now is behind those who wait for room already, or small jobs would pass a large one for ever. */
static bool somebody_waits(const td_pool *pool, unsigned lane)
{
    for (unsigned i = 0; pool->waiting > 0 && i <= lane; i++)
        if (!list_empty(&pool->lanes[i].waiting))
            return true;
    return false;
}

size_t queue_depth(const td_pool *pool)
{
    size_t held = pool->queued + pool->given;

    return held > pool->busy ? held - pool->busy : 0;
}

static void enqueue(td_pool *pool, struct job *job)
{
    size_t depth;

    job->place = PLACE_QUEUED;
    list_push_back(&pool->lanes[job->lane].queue, &job->link);
    pool->queued++;
    pool->queued_bytes += job->bytes;
    depth = pool->queued + pool->given > pool->wanted ? pool->queued + pool->given - pool->wanted : 0;
    if (depth > pool->stats.depth_peak)
        pool->stats.depth_peak = depth;
    if (pool->queued_bytes > pool->stats.bytes_peak)
        pool->stats.bytes_peak = pool->queued_bytes;
}

/* A submitted job has its place now; whoever parked for it goes on, and the scope has the job. */
static void accepted(struct job *job)
{
    struct td_task *task = job->task;

    if (!job->submitted || !task)
        return;
    job->task = NULL;
    task_unpark(task, 0);
}

void queue_admit_waiting(td_pool *pool)
{
    for (int i = 0; i < PRIORITIES; i++) {
        struct td_list *waiting = &pool->lanes[i].waiting;

        while (!list_empty(waiting)) {
            struct job *job = container_of(waiting->next, struct job, link);

            if (!has_room(pool, job))
                return;
            list_remove(&job->link);
            pool->waiting--;
            enqueue(pool, job);
            accepted(job);
        }
    }
}

void queue_put_back(struct job *job)
{
    td_pool *pool = job->pool;

    job->place = PLACE_QUEUED;
    job->given_at = 0;
    list_push_front(&pool->lanes[job->lane].queue, &job->link);
    pool->queued++;
    pool->queued_bytes += job->bytes;
}

/* Takes a job out of its lane. */
static void leave(struct job *job)
{
    td_pool *pool = job->pool;

    list_remove(&job->link);
    if (job->place == PLACE_QUEUED) {
        pool->queued--;
        pool->queued_bytes -= job->bytes;
    } else {
        pool->waiting--;
    }
}

static int refuse_queued(struct job *job, td_refusal refusal, int rc)
{
    leave(job);
    job->report.refusal = refusal;
    job_finish(job, rc);
    return rc;
}

void queue_fail_all(td_pool *pool, int rc, td_refusal refusal)
{
    pool->sweeping = true;
    for (int i = 0; i < PRIORITIES; i++) {
        struct td_list *lists[] = {&pool->lanes[i].queue, &pool->lanes[i].waiting};

        for (int j = 0; j < 2; j++)
            while (!list_empty(lists[j]))
                refuse_queued(container_of(lists[j]->next, struct job, link), refusal, rc);
    }
    pool->sweeping = false;
}

/* The lane whose turn it is: the highest, unless it has passed over a lower one too often. */
static struct lane *next_lane(td_pool *pool)
{
    struct lane *first = NULL;

    for (int i = 0; i < PRIORITIES; i++) {
        struct lane *lane = &pool->lanes[i];

        if (list_empty(&lane->queue))
            continue;
        if (!first)
            first = lane;
        else if (++lane->passed_over > PASSED_OVER_MAX)
            first = lane;
    }
    if (first)
        first->passed_over = 0;
    return first;
}

struct job *queue_next(td_pool *pool, bool high_only)
{
    while (pool->queued > 0) {
        struct lane *lane = high_only ? &pool->lanes[0] : next_lane(pool);
        td_time now, sojourn;
        struct job *job;

        if (list_empty(&lane->queue))
            return NULL;
        job = container_of(lane->queue.next, struct job, link);
        if (pool->codel.target == 0) {
            leave(job);
            return job;
        }
        now = td_now();
        sojourn = now - job->submitted_at;
        codel_job(&pool->codel, now, sojourn, pool->estimates.mean);
        if (!pool->opts.delay_target_ns || job->keeps_place || !codel_drops(&pool->codel, sojourn, pool->estimates.mean)) {
            leave(job);
            return job;
        }
        refuse_queued(job, TD_REFUSED_DELAY, -EBUSY);
    }
    return NULL;
}

td_time queue_oldest_age(const td_pool *pool, td_time now)
{
    td_time oldest = 0;

    for (int i = 0; i < PRIORITIES; i++) {
        const struct td_list *lists[] = {&pool->lanes[i].queue, &pool->lanes[i].waiting};

        for (int j = 0; j < 2; j++) {
            td_time age = list_empty(lists[j]) ? 0 : now - container_of(lists[j]->next, struct job, link)->submitted_at;

            oldest = age > oldest ? age : oldest;
        }
    }
    return oldest;
}

void job_end(struct job *job, int rc)
{
    td_pool *pool = job->pool;

    if (job->place == PLACE_GIVEN) {
        job_end_given(job, rc);
        return;
    }
    leave(job);
    job_finish(job, rc);
    (void)pool_dispatch(pool);
}

/* The queued job that waited longest, of those that may be dropped; NULL when there is none. */
static struct job *oldest_droppable(td_pool *pool)
{
    struct job *oldest = NULL;

    for (int i = 0; i < PRIORITIES; i++) {
        for (struct td_list *at = pool->lanes[i].queue.next; at != &pool->lanes[i].queue; at = at->next) {
            struct job *job = container_of(at, struct job, link);

            if (job->keeps_place)
                continue;
            if (!oldest || job->submitted_at < oldest->submitted_at)
                oldest = job;
            break;
        }
    }
    return oldest;
}

/* Jobs that were given ahead, behind others, are older than all in the queue. */
static void call_back_given(td_pool *pool)
{
    for (unsigned i = 0; pool->given > pool->busy && i < pool->slots; i++)
        if (pool->workers[i].phase == WORKER_BUSY)
            worker_take_back(&pool->workers[i]);
}

/* Whether there would be room if all gave way that may. */
static bool dropping_helps(const td_pool *pool, const struct job *job)
{
    size_t count = pool->queued + pool->given, bytes = pool->queued_bytes;

    for (int i = 0; i < PRIORITIES; i++) {
        for (const struct td_list *at = pool->lanes[i].queue.next; at != &pool->lanes[i].queue; at = at->next) {
            const struct job *other = container_of(at, struct job, link);

            count -= !other->keeps_place;
            bytes -= other->keeps_place ? 0 : other->bytes;
        }
    }
    return count < pool->wanted + pool->queue_max && (bytes == 0 || bytes + job->bytes <= pool->bytes_max);
}

/* It takes the places of others, and not the room that somebody else waits for. */
static bool drop_for(td_pool *pool, const struct job *job)
{
    bool owes_a_place = somebody_waits(pool, job->lane);

    call_back_given(pool);
    if (!dropping_helps(pool, job))
        return false;
    while (owes_a_place || !has_room(pool, job)) {
        struct job *oldest = oldest_droppable(pool);

        if (!oldest)
            return false;
        refuse_queued(oldest, TD_REFUSED_DROPPED, -EBUSY);
        owes_a_place = false;
    }
    return true;
}

/* What those before it will take, at the least, until it can begin. */
static td_time backlog(const td_pool *pool, const struct job *job, td_time now)
{
    td_time sum = 0;
    unsigned workers;

    for (int i = 0; i <= job->lane; i++)
        for (const struct td_list *at = pool->lanes[i].queue.next; at != &pool->lanes[i].queue; at = at->next)
            sum += container_of(at, struct job, link)->estimate_ns;
    for (unsigned i = 0; i < pool->slots; i++) {
        const struct worker *worker = &pool->workers[i];

        if (worker->reserved && job->lane > 0)
            continue;
        if (worker->phase == WORKER_IDLE)
            return 0;
        for (uint64_t ticket = worker->head; worker->phase == WORKER_BUSY && ticket != worker->tail; ticket++) {
            const struct job *before = worker->given[ticket % PAGE_SLOTS];
            td_time ran = before && ticket == worker->head ? now - before->given_at : 0;

            if (before && before->estimate_ns > ran)
                sum += before->estimate_ns - ran;
        }
    }
    workers = pool->wanted - (job->lane > 0 ? pool->opts.workers_reserved : 0);
    return workers ? sum / (td_time)workers : sum;
}

/* The reasons to refuse a job although there may be room. */
static td_refusal overload(td_pool *pool, struct job *job, td_time limit_ns)
{
    td_time now = job->submitted_at;

    if (job->flags & JOB_ITEMS)
        return TD_REFUSED_NOT;  /* a map waits for room, whatever happens */
    if (pool->opts.admit_by_deadline) {
        job->estimate_ns = estimates_of(&pool->estimates, (uintptr_t)job->fn) * (td_time)job->count;
        if (limit_ns > 0 && pool->busy > 0 && backlog(pool, job, now) > limit_ns)
            return TD_REFUSED_DEADLINE;
    }
    if (pool->opts.delay_target_ns &&
        codel_refuses(&pool->codel, now, queue_oldest_age(pool, now), pool->estimates.mean))
        return TD_REFUSED_DELAY;
    return TD_REFUSED_NOT;
}

int job_refuse(struct job *job, td_refusal refusal, int rc)
{
    job->report.refusal = refusal;
    job->pool->stats.refused[refusal]++;
    job->pool->stats.rejected++;
    let_memory_go(job, rc);
    if (job->report_to)
        *job->report_to = job->report;
    return rc;
}

int queue_admit(struct job *job, td_when_full when_full, td_time limit_ns)
{
    td_pool *pool = job->pool;
    td_refusal refusal;

    if (pool->closing)
        return job_refuse(job, TD_REFUSED_CLOSING, -EPIPE);
    if (pool->broken)
        return job_refuse(job, TD_REFUSED_BROKEN, -EOWNERDEAD);
    job->keeps_place = when_full == TD_WAIT;
    refusal = overload(pool, job, limit_ns);
    if (refusal)
        return job_refuse(job, refusal, -EBUSY);
    if ((has_room(pool, job) && !somebody_waits(pool, job->lane)) ||
        (when_full == TD_DROP_OLDEST && drop_for(pool, job))) {
        enqueue(pool, job);
    } else if (when_full == TD_WAIT) {
        job->place = PLACE_WAITING;
        list_push_back(&pool->lanes[job->lane].waiting, &job->link);
        pool->waiting++;
    } else {
        bool slots = pool->queued + pool->given >= pool->wanted + pool->queue_max;

        return job_refuse(job, slots ? TD_REFUSED_QUEUE : TD_REFUSED_BYTES, -EBUSY);
    }
    pool->loop->outside_pending++;
    probe2(pool_submit, pool, job);
    if (limit_ns > 0 && limit_ns < TD_FOREVER - job->submitted_at)
        timers_arm(&pool->loop->sched.timers, &job->deadline, job->submitted_at + limit_ns);
    return 0;
}
