/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A job is in `waiting`, or in `queue`, or has a worker; it leaves by job_finish, exactly once (law
 * 7). 2. queued + running never exceeds worker_count + queue_max. 3. A worker is in `idle` exactly in phase IDLE,
 * and has a job exactly in phase BUSY. 4. While a job waits or is queued with room before it, no worker is idle.
 */
#include "pool/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fail.h"
#include "loop/sim.h"
#include "tandem/error.h"
#include "pool/queue.h"
#include "shared/arena.h"

#define QUEUE_DEFAULT 64
#define WORKERS_MAX 4096
#define QUICK_RETRIES 10          /* of starting a worker, a few milliseconds apart: the zygote may have been killed */
#define QUICK_RETRY_NS 5000000
#define RETRY_NS 100000000
#define FAILURES_MAX 40           /* then whoever waits is told */
#define BACKOFF_FIRST_NS 10000000
#define BACKOFF_MAX_NS 1000000000
#define FREE_DEATHS 3             /* deaths in a row that are replaced at once */
#define ATTEMPTS 8                /* of workers to begin a job, after each of them may have been dead already */

static void start_worker(struct worker *worker);

struct pool_closer {
    struct wait wait;
    struct td_task *task;
    td_pool *pool;
};

static void wake_closer(td_pool *pool)
{
    struct pool_closer *closer = pool->closer;

    pool->closer = NULL;
    if (closer)
        task_unpark(closer->task, 0);
}

static bool pool_has_work(const td_pool *pool)
{
    return pool->queued + pool->running > 0 || !list_empty(&pool->waiting);
}

static const char *pool_name(const td_pool *pool)
{
    return pool->opts.name ? pool->opts.name : "pool";
}

/* Hands the job to the worker. False when the page is not as we left it: its process has scribbled over it. */
static bool give(struct worker *worker, struct job *job)
{
    struct worker_page *page = worker->page;

    page->fn = job->fn;
    page->items = job->items;
    page->count = job->count;
    page->item_size = job->item_size;
    atomic_store(&page->started, 0);
    atomic_store(&page->ended, 0);
    if (!page_move(page, word_make(worker->generation, worker->index, JOB_FREE),
                   word_make(worker->generation, worker->index, JOB_READY)))
        return false;
    job->place = PLACE_RUNNING;
    job->worker = worker;
    job->dispatched = td_now();
    worker->job = job;
    worker->phase = WORKER_BUSY;
    if (worker->pool->kind->ring)
        worker->pool->kind->ring(worker);
    else
        page_ring(page, worker->pool->kind->private);
    return true;
}

void pool_dispatch(td_pool *pool)
{
    queue_admit_waiting(pool);
    while (!list_empty(&pool->queue) && !list_empty(&pool->idle)) {
        struct worker *worker = container_of(list_pop_front(&pool->idle), struct worker, link);
        struct job *job = container_of(list_pop_front(&pool->queue), struct job, link);

        if (give(worker, job)) {
            pool->queued--;
            pool->running++;
            continue;
        }
        list_push_front(&pool->queue, &job->link);
        worker->phase = WORKER_STARTING;  /* neither idle nor busy until its death is noticed */
        pool->kind->kill(worker);
    }
    if (!pool_has_work(pool))
        wake_closer(pool);
}

static void outcome(td_pool *pool, struct worker *worker, int rc)
{
    struct job *job = worker->job;
    struct worker_page *page = worker->page;
    td_time began = atomic_load(&page->started), ended = atomic_load(&page->ended), now = td_now();

    /* Times come from the worker: believe them within what we know. */
    if (began >= job->dispatched && began <= now) {
        job->report.ran_ns = (ended >= began && ended <= now ? ended : now) - began;
        job->report.queued_ns = began - job->submitted;
    }
    pool->running--;
    worker->job = NULL;
    job_finish(job, job->end_rc ? job->end_rc : rc);
}

static void make_idle(struct worker *worker)
{
    worker->phase = WORKER_IDLE;
    list_push_front(&worker->pool->idle, &worker->link);
}

/* Takes the worker's result, if it is there. */
static bool collect(struct worker *worker)
{
    struct worker_page *page = worker->page;
    uint64_t done = word_make(worker->generation, worker->index, JOB_DONE);

    if (worker->phase != WORKER_BUSY || atomic_load(&page->word) != done)
        return false;
    outcome(worker->pool, worker, atomic_load(&page->rc));
    worker->generation++;
    if (page_move(page, done, word_make(worker->generation, worker->index, JOB_FREE)) && worker->kill_rc == 0) {
        worker->pool->deaths_in_row = 0;
        make_idle(worker);
    } else {
        worker->phase = WORKER_STARTING;  /* being killed, or corrupt: its death makes a new one */
        worker->pool->kind->kill(worker);
    }
    return true;
}

static int listen_events(td_pool *pool);

static void collect_all(td_pool *pool)
{
    for (unsigned i = 0; i < pool->worker_count; i++)
        collect(&pool->workers[i]);
    pool_dispatch(pool);
}

static void event_came(struct io_op *op, int result)
{
    td_pool *pool = container_of(op, td_pool, event_op);

    pool->event_listening = false;
    if (result == -ECANCELED || (pool->closing && pool->workers_alive == 0)) {
        wake_closer(pool);  /* a late worker's word may come before the cancel */
        return;
    }
    collect_all(pool);
    (void)listen_events(pool);  /* only its first time can fail: that is when epoll gets to know the descriptor */
}

/* Returns 0 or a negative errno. */
static int listen_events(td_pool *pool)
{
    pool->event_op = (struct io_op){.kind = IO_READ, .file = &pool->event_file, .done = event_came, .background = true,
                                    .buffer = {&pool->event_count, sizeof pool->event_count}};
    while (loop_io_start(pool->loop, &pool->event_op)) {
        if (pool->event_op.result < 0)
            return pool->event_op.result;
        collect_all(pool);
    }
    pool->event_listening = true;
    return 0;
}

void pool_end_running(struct job *job, int rc)
{
    struct worker *worker = job->worker;
    td_pool *pool = job->pool;

    if (collect(worker)) {  /* it finished first */
        pool_dispatch(pool);
        return;
    }
    if (!pool->kind->kill) {
        if (job->end_rc == 0)
            job->end_rc = rc;
        return;
    }
    if (worker->kill_rc == 0) {
        worker->kill_rc = rc;
        pool->kind->kill(worker);
    }
}

void pool_worker_up(struct worker *worker)
{
    worker->pool->failures_in_row = 0;
    if (worker->pool->closing && !pool_has_work(worker->pool)) {
        worker->phase = WORKER_IDLE;
        worker->pool->kind->stop(worker);
        return;
    }
    make_idle(worker);
    pool_dispatch(worker->pool);
}

void pool_worker_done(struct worker *worker)
{
    td_pool *pool = worker->pool;

    collect(worker);
    pool_dispatch(pool);
}

void pool_worker_gone(struct worker *worker)
{
    assert(!worker->job);
    list_remove(&worker->link);
    worker->phase = WORKER_GONE;
    if (--worker->pool->workers_alive == 0)
        wake_closer(worker->pool);
}

void pool_grave_closed(td_pool *pool)
{
    if (--pool->graves == 0)
        wake_closer(pool);
}

static void backoff_over(struct td_timer *timer)
{
    start_worker(container_of(timer, struct worker, backoff));
}

static void start_later(struct worker *worker, td_time wait_ns)
{
    worker->phase = WORKER_PAUSED;
    timers_arm(&worker->pool->loop->sched.timers, &worker->backoff, td_after(wait_ns));
}

static void start_worker(struct worker *worker)
{
    int rc;

    worker->phase = WORKER_STARTING;
    worker->kill_rc = 0;
    rc = worker->pool->kind->start(worker);
    if (rc < 0)
        pool_worker_failed(worker, rc);
}

void pool_worker_failed(struct worker *worker, int rc)
{
    td_pool *pool = worker->pool;

    if (pool->closing && !pool_has_work(pool)) {
        pool_worker_gone(worker);
        return;
    }
    if (pool->failures_in_row++ == QUICK_RETRIES)
        td_log(TD_LOG_ERROR, "%s: no worker can be started: %s; trying on", pool_name(pool), td_strerror(rc));
    start_later(worker, pool->failures_in_row <= QUICK_RETRIES ? QUICK_RETRY_NS : RETRY_NS);
    if (pool->failures_in_row > FAILURES_MAX && pool->running == 0 && list_empty(&pool->idle))
        queue_fail_all(pool, rc);  /* nobody will run what waits: say so rather than never */
}

/* The death of a worker costs the job it had begun, and no other. */
static void job_of_the_dead(struct worker *worker, int signal)
{
    td_pool *pool = worker->pool;
    struct job *job = worker->job;
    uint64_t word = atomic_load(&worker->page->word);
    bool ours = word_generation(word) == worker->generation, unbegun = ours && word_state(word) == JOB_READY;

    if (ours && word_state(word) == JOB_DONE) {
        outcome(pool, worker, atomic_load(&worker->page->rc));
    } else if (unbegun && job->unwanted) {
        outcome(pool, worker, -ECANCELED);
    } else if (unbegun && worker->kill_rc == 0 && ++job->attempts <= pool->worker_count + ATTEMPTS) {
        worker->job = NULL;
        pool->running--;
        queue_put_back(pool, job);
    } else {
        job->report.signal = worker->kill_rc ? 0 : signal;
        outcome(pool, worker, worker->kill_rc ? worker->kill_rc : -EOWNERDEAD);
    }
}

void pool_worker_died(struct worker *worker, int signal, const char *how)
{
    td_pool *pool = worker->pool;
    td_time wait_ns = 0;

    list_remove(&worker->link);
    pool->stats.deaths++;
    if (worker->kill_rc == 0 && !pool->closing) {
        pool->deaths_in_row++;
        td_log(TD_LOG_WARNING, "%s: worker %u (pid %d) %s%s; starting another", pool_name(pool), worker->index,
               (int)worker->pid, how, worker->job ? " while it ran a job" : "");
    }
    if (worker->job)
        job_of_the_dead(worker, signal);
    worker->generation++;
    atomic_store(&worker->page->word, word_make(worker->generation, worker->index, JOB_FREE));
    atomic_store(&worker->page->sleeping, 0);
    if (pool->closing && !pool_has_work(pool)) {
        pool_worker_gone(worker);
        wake_closer(pool);
        return;
    }
    if (pool->deaths_in_row > FREE_DEATHS) {
        unsigned doublings = pool->deaths_in_row - FREE_DEATHS - 1;

        wait_ns = doublings > 6 ? BACKOFF_MAX_NS : (td_time)BACKOFF_FIRST_NS << doublings;
    }
    if (wait_ns)
        start_later(worker, wait_ns);
    else
        start_worker(worker);
    pool_dispatch(pool);
}

static unsigned usable_cores(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static int check_opts(const td_pool_opts *opts)
{
    if (opts->workers > WORKERS_MAX || (opts->kind != TD_THREADS && opts->kind != TD_PROCESSES) || opts->deadline < 0 ||
        opts->when_full > TD_DROP_OLDEST || opts->on_cancel > TD_CANCEL_FINISH ||
        (opts->queue > (size_t)1 << 30 && opts->queue != TD_QUEUE_NONE))
        return -EINVAL;
    return 0;
}

static void release(td_pool *pool)
{
    for (unsigned i = 0; i < pool->worker_count; i++)
        if (pool->workers[i].page)
            pool->kind->release(&pool->workers[i]);
    if (pool->event_file.fd >= 0)
        close(pool->event_file.fd);
    free(pool->workers);
    free(pool);
}

static int build(td_pool *pool)
{
    int fd = eventfd(0, EFD_CLOEXEC | pool->loop->table->file_flags);

    int rc = -errno;

    io_file_init(&pool->event_file, fd);
    if (fd < 0) {
        pool->worker_count = 0;
        return rc;
    }
    pool->workers = calloc(pool->worker_count, sizeof *pool->workers);
    if (!pool->workers) {
        pool->worker_count = 0;
        return -ENOMEM;
    }
    for (unsigned i = 0; i < pool->worker_count; i++) {
        struct worker *worker = &pool->workers[i];

        worker->pool = pool;
        worker->index = (uint16_t)i;
        worker->phase = WORKER_GONE;
        list_init(&worker->link);
        timer_init(&worker->backoff, backoff_over);
        rc = pool->kind->prepare(worker);
        if (rc < 0)
            return rc;
        atomic_store(&worker->page->word, word_make(0, worker->index, JOB_FREE));
    }
    return 0;
}

int td_pool_open(td_pool **out, const td_pool_opts *opts)
{
    struct td_task *self = task_self(__func__);
    td_pool *pool;
    int rc = check_opts(opts);

    if (rc < 0)
        return rc;
    if (self->sched->forked)
        return -EOWNERDEAD;
    if (opts->kind == TD_PROCESSES && (!arena_current() || (!loop_of(self)->zygote && !loop_is_simulated(loop_of(self)))))
        return -ENOSYS;  /* td_run has logged why */
    pool = calloc(1, sizeof *pool);
    if (!pool)
        return -ENOMEM;
    pool->loop = loop_of(self);
    pool->opts = *opts;
    if (loop_is_simulated(pool->loop))
        pool->kind = opts->kind == TD_PROCESSES ? &worker_simulated_process : &worker_simulated_thread;
    else
        pool->kind = opts->kind == TD_PROCESSES ? &worker_process : &worker_thread;
    pool->worker_count = opts->workers ? opts->workers : usable_cores();
    pool->queue_max = opts->queue == TD_QUEUE_NONE ? 0 : opts->queue ? opts->queue : QUEUE_DEFAULT;
    list_init(&pool->idle);
    list_init(&pool->queue);
    list_init(&pool->waiting);
    rc = build(pool);
    if (rc == 0)
        rc = listen_events(pool);
    if (rc < 0) {
        release(pool);
        return rc;
    }
    pool->workers_alive = pool->worker_count;
    for (unsigned i = 0; i < pool->worker_count; i++)
        start_worker(&pool->workers[i]);
    *out = pool;
    return 0;
}

void td_pool_cancel(td_pool *pool)
{
    if (task_self(__func__)->sched->forked)
        return;  /* a child would kill the parent's workers */
    queue_fail_all(pool, -ECANCELED);
    for (unsigned i = 0; i < pool->worker_count; i++)
        if (pool->workers[i].phase == WORKER_BUSY)
            pool_end_running(pool->workers[i].job, -ECANCELED);
}

static void close_hurried(struct wait *wait)
{
    struct pool_closer *closer = container_of(wait, struct pool_closer, wait);

    closer->pool->closer = NULL;
    task_unpark(closer->task, -ECANCELED);
}

/* Parks the closing task until somebody calls wake_closer. */
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

int td_pool_close(td_pool *pool)
{
    struct td_task *self = task_self(__func__);
    int rc = task_checkpoint(self);

    if (self->sched->forked)
        return rc;
    if (pool->closing)
        fail("td_pool_close: the pool is being closed already");
    pool->closing = true;
    while (rc == 0 && pool_has_work(pool))
        rc = close_wait(pool, self, true);
    if (pool_has_work(pool))
        td_pool_cancel(pool);
    while (pool_has_work(pool))
        close_wait(pool, self, false);
    for (unsigned i = 0; i < pool->worker_count; i++) {
        struct worker *worker = &pool->workers[i];

        if (worker->phase == WORKER_PAUSED) {
            timers_disarm(&pool->loop->sched.timers, &worker->backoff);
            pool_worker_gone(worker);
        } else if (worker->phase == WORKER_IDLE) {
            pool->kind->stop(worker);
        }
    }
    while (pool->workers_alive > 0 || pool->graves > 0)
        close_wait(pool, self, false);
    loop_io_cancel(pool->loop, &pool->event_op);
    while (pool->event_listening)
        close_wait(pool, self, false);
    loop_forget(pool->loop, &pool->event_file);
    release(pool);
    return rc;
}
