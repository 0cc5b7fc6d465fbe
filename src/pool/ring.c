/* SPDX-License-Identifier: MIT */
/*
 * Jobs on their way to workers and back.
 *
 * Invariants: 1. given[t % PAGE_SLOTS] is a job for exactly those tickets t from head to tail that are neither over nor taken
 * back, and for the job at the head of a STUCK worker it is NULL. 2. A BUSY worker has at least one such job.
 */
#include "pool/pool.h"

#include <assert.h>
#include <errno.h>

#include "base/probe.h"
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

static unsigned outstanding(const struct worker *worker)
{
    return (unsigned)(worker->tail - worker->head);
}

/* How many jobs a worker may have before it. */
static unsigned credit(const td_pool *pool)
{
    td_time mean = pool->estimates.mean;

    if (pool->kind->one_job || mean == 0 || mean >= CREDIT_NS)
        return 1;
    return mean < CREDIT_NS / CREDIT_MAX ? CREDIT_MAX : (unsigned)(CREDIT_NS / mean) + 1;
}

/* Cores that neither a loop nor a busy worker of this loop's pools occupies. */
static int cores_free(const td_pool *pool)
{
    unsigned loops = pool->loop->fleet ? pool->loop->fleet->count : 1;

    return (int)pool->cores - (int)loops - (int)pool->loop->workers_busy;
}

static void set_busy(struct worker *worker)
{
    worker->phase = WORKER_BUSY;
    worker->pool->busy++;
    worker->pool->loop->workers_busy += !(worker->pool->traits & POOL_WAITS);
    worker_watch(worker);
}

static void set_not_busy(struct worker *worker)
{
    worker->pool->busy--;
    worker->pool->loop->workers_busy -= !(worker->pool->traits & POOL_WAITS);
}

static void ring(struct worker *worker)
{
    td_pool *pool = worker->pool;
    uint32_t spin_ns = cores_free(pool) >= 0 ? SPIN_NS : 0;  /* it is busy now, so it has been counted */

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
        set_busy(worker);
}

static bool takes_more(const struct worker *worker, unsigned allowed)
{
    return worker->phase == WORKER_BUSY && !worker->slow && worker->kill_rc == 0 && !worker->reserved &&
           outstanding(worker) < allowed;
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
    if (cores_free(pool) > 0 ? (td_time)outstanding(warm) * mean < WAKE_NS : (td_time)pool->queued * mean < HOLD_NS)
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

/* High jobs first have the workers that are reserved for them. */
static struct worker *reserved_for_next(td_pool *pool)
{
    return list_empty(&pool->lanes[0].queue) ? NULL : first_idle(pool, 1);
}

bool pool_dispatch(td_pool *pool)
{
    struct worker *given = NULL;
    td_time now = 0;

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
        if (worker->phase != WORKER_IDLE && worker->phase != WORKER_BUSY) {  /* others gave way, and that had consequences */
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
        if (outstanding(worker) > 1)
            keep_patience(pool, now, PATIENCE_NS);
        else if (pool->kind->stopped)
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

/* Times come from the worker: believes them within what we know. */
static void take_times(struct job *job, const struct job_slot *slot, td_time now)
{
    td_time began = atomic_load_explicit(&slot->started, memory_order_relaxed);
    td_time ended = atomic_load_explicit(&slot->ended, memory_order_relaxed);

    if (began == 0 || began > now)
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
    set_not_busy(worker);
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
        if (!take_back_one(job)) {
            ask_to_end(job);
            return false;
        }
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
    if (worker->phase == WORKER_BUSY && pool->opts.kill_grace_ns == 0) {
        worker_kill_over(job, rc);
        return;
    }
    if (job->end_rc)
        return;  /* it had to end before */
    job->end_rc = rc;
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
        set_not_busy(worker);
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

/*
 * A worker that is stopped, and has not begun the job it was given, would keep it for ever, or for its deadline, though others
 * are there to run it. Nothing is lost with this one.
 */
static bool kill_if_stopped(struct worker *worker, td_time now)
{
    td_pool *pool = worker->pool;
    struct job *job = worker->given[worker->head % PAGE_SLOTS];

    if (!pool->kind->stopped || !job ||
        word_state(atomic_load(&page_slot(worker->page, worker->head)->word)) != JOB_READY)
        return false;
    keep_patience(pool, now, BEGIN_NS);
    if (now - job->given_at < BEGIN_NS || !pool->kind->stopped(worker))
        return false;
    worker->phase = WORKER_DYING;  /* not idle, though it will have nothing */
    worker_take_back(worker);
    worker->phase = WORKER_BUSY;
    if (worker->head != worker->tail)
        return false;  /* somebody let it go on, and it began */
    td_log(TD_LOG_WARNING, "%s: worker %u (pid %d) is stopped, and has not begun its job: ending it", pool_name(pool),
           worker->index, (int)worker->pid);
    worker_kill(worker, 0, TD_DEATH_STOPPED);
    return true;
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

        if (worker->phase != WORKER_BUSY)
            continue;
        (void)worker_collect(worker);
        if (worker->phase != WORKER_BUSY)
            continue;
        worker->slow = worker->head == worker->head_seen;
        worker->head_seen = worker->head;
        if (kill_if_stopped(worker, now))
            continue;
        if (outstanding(worker) > 1 && worker->slow)
            worker_take_back(worker);
        else if (outstanding(worker) > 1)
            keep_patience(pool, now, PATIENCE_NS);
    }
    (void)pool_dispatch(pool);
}

static void disarm(td_pool *pool)
{
    pool->armed = false;
    for (struct td_list *at = pool->watched.next; at != &pool->watched; at = at->next)
        atomic_store_explicit(&container_of(at, struct worker, link)->page->notify, 0, memory_order_relaxed);
}

bool pool_look(struct loop_poller *poller)
{
    td_pool *pool = container_of(poller, td_pool, poller);
    struct td_list todo, *at;
    bool some = false;

    if (pool->armed)
        disarm(pool);
    list_move_all(&todo, &pool->watched);  /* an outcome may cancel jobs of other workers, and so change either list */
    while ((at = list_pop_front(&todo))) {
        struct worker *worker = container_of(at, struct worker, link);

        list_push_back(&pool->watched, at);
        if (worker->phase == WORKER_STARTING)
            worker_check_birth(worker);
        else if (worker->phase == WORKER_RETIRING)
            worker_check_end(worker);
        else
            some |= worker_collect(worker);
    }
    if (!list_empty(&pool->watched) && !list_linked(&poller->link))
        list_push_back(&pool->loop->pollers, &poller->link);
    if (some || (pool->queued > 0 && !list_empty(&pool->idle[0])) || (pool->closer && !pool_has_work(pool)))
        some |= pool_dispatch(pool);
    return some;
}

bool pool_arm(struct loop_poller *poller)
{
    td_pool *pool = container_of(poller, td_pool, poller);
    bool some;

    pool->armed = false;
    for (struct td_list *at = pool->watched.next; at != &pool->watched; at = at->next)
        atomic_store_explicit(&container_of(at, struct worker, link)->page->notify, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);  /* page_ring has the other half of the proof */
    some = pool_look(poller);
    pool->armed = true;
    return some;
}

td_time pool_expects(struct loop_poller *poller, td_time now)
{
    td_pool *pool = container_of(poller, td_pool, poller);

    (void)now;
    if (pool->busy == 0 || cores_free(pool) < 0 || pool->kind->one_job)
        return TD_FOREVER;
    return pool->estimates.mean ? pool->estimates.mean : SPIN_NS;
}
