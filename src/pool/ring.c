/* SPDX-License-Identifier: MIT */
/*
 * Jobs on their way back from workers, and how those end that were given.
 *
 * Invariants: 1. given[t % PAGE_SLOTS] is a job for exactly those tickets t from head to tail that are neither over nor taken
 * back, and for the job at the head of a STUCK worker it is NULL. 2. A BUSY worker has at least one such job.
 */
#include "pool/pool.h"

#include <errno.h>

#include "loop/sim.h"
#include "pool/queue.h"

/* Times come from the worker: believes them within what we know. */
static void take_times(struct job *job, const struct job_slot *slot, td_time now)
{
    const struct loop *loop = job->pool->loop;
    td_time began = atomic_load_explicit(&slot->started, memory_order_relaxed);
    td_time ended = atomic_load_explicit(&slot->ended, memory_order_relaxed);

    if (began == 0)
        return;
    if (loop->virtual && !loop_is_simulated(loop)) {  /* the worker goes by the machine's clock; its job takes no time of ours */
        job->report.ran_ns = ended > began ? ended - began : 1;
        job->report.queued_ns = job->given_at - job->submitted_at;
        return;
    }
    if (began > now)
        return;
    if (began < job->given_at)  /* the worker's clock was read when its job before ended */
        began = job->given_at;
    job->report.ran_ns = (ended >= began && ended <= now ? ended : now) - began;
    job->report.ran_ns += job->report.ran_ns == 0;  /* 0 says that it never began */
    job->report.queued_ns = began - job->submitted_at;
}

/* The job at this ticket is over, or gone from here. */
static void let_go(struct worker *worker, uint64_t ticket)
{
    struct job *job = worker->given[ticket % PAGE_SLOTS];

    worker->given[ticket % PAGE_SLOTS] = NULL;
    worker->pool->given--;
    job->worker = NULL;
}

static void outcome(struct worker *worker, uint64_t ticket, int rc, td_time now)
{
    struct job *job = worker->given[ticket % PAGE_SLOTS];

    take_times(job, page_slot(worker->page, ticket), now);
    job->progress = atomic_load_explicit(&page_slot(worker->page, ticket)->progress, memory_order_relaxed);
    let_go(worker, ticket);
    job_finish(job, job->end_rc ? job->end_rc : rc);
}

/* Whether the word is what it can be for a job of ours that is not over. */
static bool plausible(const struct worker *worker, uint64_t ticket, uint64_t word)
{
    return word_generation(word) == ticket_generation(ticket) && (uint16_t)(word >> 16) == worker->index &&
           (word_state(word) == JOB_READY || word_state(word) == JOB_RUNNING);
}

static void no_more_in_a_row(td_pool *pool)
{
    pool->deaths_in_row = pool->losses_in_row = pool->breaks_in_row = 0;
}

static void collect_stuck(struct worker *worker)
{
    uint64_t word = atomic_load_explicit(&page_slot(worker->page, worker->head)->word, memory_order_acquire);

    if (word_state(word) != JOB_DONE)
        return;
    worker->head = worker->tail;  /* what was behind it has been taken back */
    worker_came_back(worker);
}

static void after_collecting(struct worker *worker)
{
    if (worker->head != worker->tail || worker->phase != WORKER_BUSY)
        return;
    timers_disarm(&worker->pool->loop->sched.timers, &worker->backoff);  /* the job that was asked to end did */
    worker_set_not_busy(worker);
    worker_idle(worker);
}

bool worker_collect(struct worker *worker)
{
    td_time now = 0;

    if (worker->phase == WORKER_STUCK)
        collect_stuck(worker);
    if (worker->phase != WORKER_BUSY)
        return false;
    while (worker->head != worker->tail) {
        uint64_t ticket = worker->head, word;
        struct job_slot *slot = page_slot(worker->page, ticket);

        if (!worker->given[ticket % PAGE_SLOTS]) {
            worker->head++;
            continue;
        }
        word = atomic_load_explicit(&slot->word, memory_order_acquire);
        if (word_state(word) != JOB_DONE || word_generation(word) != ticket_generation(ticket)) {
            if (!plausible(worker, ticket, word))
                worker_kill(worker, 0, TD_DEATH_CORRUPT);
            break;
        }
        now = now ? now : td_now();
        no_more_in_a_row(worker->pool);
        worker->slow = false;
        worker->unbegun = 0;
        worker->head++;  /* before the outcome: that may cancel other jobs of this worker, and bring us here again */
        outcome(worker, ticket, atomic_load_explicit(&slot->rc, memory_order_relaxed), now);
    }
    after_collecting(worker);
    return now != 0;
}

void worker_take_back(struct worker *worker)
{
    for (uint64_t ticket = worker->tail; ticket-- != worker->head;) {
        struct job *job = worker->given[ticket % PAGE_SLOTS];
        struct job_slot *slot = page_slot(worker->page, ticket);
        uint64_t word = atomic_load(&slot->word);

        if (!job || word_state(word) != JOB_READY || !slot_move(slot, word, word_with(word, JOB_TAKEN)))
            continue;
        let_go(worker, ticket);
        queue_put_back(job);
    }
    while (worker->head != worker->tail && !worker->given[worker->head % PAGE_SLOTS] && worker->phase != WORKER_STUCK)
        worker->head++;
    after_collecting(worker);
}

/* Takes back one job; false when it has begun. */
static bool take_back_one(struct job *job)
{
    struct worker *worker = job->worker;
    struct job_slot *slot = page_slot(worker->page, job->ticket);
    uint64_t word = atomic_load(&slot->word);

    if (word_state(word) != JOB_READY || !slot_move(slot, word, word_with(word, JOB_TAKEN)))
        return false;
    let_go(worker, job->ticket);
    while (worker->head != worker->tail && !worker->given[worker->head % PAGE_SLOTS])
        worker->head++;
    after_collecting(worker);
    return true;
}

static void ask_to_end(struct job *job)
{
    struct job_slot *slot = page_slot(job->worker->page, job->ticket);
    uint64_t word = atomic_load(&slot->word);

    if (word_state(word) == JOB_RUNNING)
        (void)slot_move(slot, word, word | (uint64_t)JOB_ASKED << 8);  /* else it is over */
}

/* Ends a job that is over, or has not begun; asks it to end otherwise, and returns false. */
static bool end_gently(struct job *job, int rc)
{
    td_pool *pool = job->pool;

    (void)worker_collect(job->worker);
    if (job->place == PLACE_GIVEN) {  /* else it finished first */
        struct worker *worker = job->worker;
        bool lost = rc == -ETIMEDOUT && worker_is_lost(worker, job);

        if (!take_back_one(job)) {
            ask_to_end(job);
            return false;
        }
        if (lost)
            worker_end_lost(worker);
        job_finish(job, rc);
    }
    (void)pool_dispatch(pool);
    return true;
}

void job_let_finish(struct job *job, int rc)
{
    if (!end_gently(job, rc))
        job->unwanted = true;
}

void job_end_given(struct job *job, int rc)
{
    struct worker *worker = job->worker;
    td_pool *pool = job->pool;

    if (end_gently(job, rc))
        return;
    if (!pool->kind->kill) {
        if (job->end_rc == 0)
            job->end_rc = rc;
        worker_left_behind(job);
        return;
    }
    if (job->end_rc)
        return;  /* it had to end before */
    if (rc == -ETIMEDOUT || pool->opts.kill_grace_ns > 0 || worker->phase != WORKER_BUSY)
        job->end_rc = rc;  /* also when it looks (td_job_cancelled), and ends by itself before it is killed */
    if (worker->phase == WORKER_BUSY && pool->opts.kill_grace_ns == 0) {
        worker_kill_over(job, rc);
        return;
    }
    if (worker->phase == WORKER_BUSY) {  /* else it is being killed */
        timers_disarm(&pool->loop->sched.timers, &worker->backoff);
        timers_arm(&pool->loop->sched.timers, &worker->backoff, td_after(pool->opts.kill_grace_ns));
    }
}

/* Kills the worker that runs this job, and makes sure that no other job suffers. */
void worker_kill_over(struct job *job, int rc)
{
    struct worker *worker = job->worker;

    worker_take_back(worker);      /* from here on it can begin no other */
    (void)worker_collect(worker);  /* and it may have ended this one before that */
    if (job->place == PLACE_GIVEN)
        worker_kill(worker, rc, rc == -ETIMEDOUT ? TD_DEATH_DEADLINE : TD_DEATH_CANCEL);
    (void)pool_dispatch(worker->pool);
}

/* A worker died while it ran the job. */
static void lost_with(struct worker *worker, uint64_t ticket, int signal)
{
    td_pool *pool = worker->pool;
    struct job *job = worker->given[ticket % PAGE_SLOTS];

    if (worker->kill_rc == 0) {
        pool->losses_in_row++;
        job->report.deaths++;
        if (job->report.deaths < job->attempts && job->end_rc == 0 && !job->unwanted) {
            let_go(worker, ticket);
            job->keeps_place = true;  /* it has begun: nobody may say any more that it was refused */
            queue_put_back(job);
            return;
        }
        job->report.signal = signal;
        pool->stats.quarantined += job->report.deaths >= TD_ATTEMPTS_MAX;
    }
    outcome(worker, ticket, worker->kill_rc ? worker->kill_rc : -EOWNERDEAD, td_now());
}

/* It never began there: another worker gets it, unless worker after worker dies before it begins. */
static void not_begun(struct worker *worker, uint64_t ticket)
{
    struct job *job = worker->given[ticket % PAGE_SLOTS];
    unsigned lost_max = worker->pool->wanted < 64 ? 8 + worker->pool->wanted : 72;

    let_go(worker, ticket);
    if (job->unwanted || job->end_rc)
        job_finish(job, job->end_rc ? job->end_rc : -ECANCELED);
    else if (++job->lost_births > lost_max)
        job_finish(job, -EOWNERDEAD);
    else
        queue_put_back(job);
}

void worker_recover(struct worker *worker, int signal)
{
    uint64_t head = worker->head;

    if (worker->phase == WORKER_BUSY || worker->phase == WORKER_DYING)
        worker_set_not_busy(worker);
    worker->phase = WORKER_DYING;  /* an outcome may cancel others of its jobs: nothing is collected from it meanwhile */
    for (uint64_t ticket = worker->tail; ticket-- != head;) {  /* backwards: what is put back keeps its order */
        struct job_slot *slot = page_slot(worker->page, ticket);
        uint64_t word = atomic_load(&slot->word);
        bool ours = word_generation(word) == ticket_generation(ticket);

        if (!worker->given[ticket % PAGE_SLOTS])
            continue;
        if (ours && word_state(word) == JOB_DONE) {
            no_more_in_a_row(worker->pool);
            outcome(worker, ticket, atomic_load(&slot->rc), td_now());
        } else if (ours && word_state(word) == JOB_READY) {
            not_begun(worker, ticket);
        } else {
            lost_with(worker, ticket, signal);
        }
    }
    worker->head = worker->tail;
    worker->slow = false;
}
