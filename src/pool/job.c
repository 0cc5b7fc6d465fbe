/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>

#include "base/fail.h"
#include "pool/command.h"
#include "pool/queue.h"
#include "shared/arena.h"
#include "sync/cases.h"
#include "sync/waiters.h"
#include "tandem/log.h"

#define SHORT_NS 50000  /* of a job, on average */

_Static_assert(sizeof(struct job) <= sizeof(td_job), "the room in a td_job is too small");

static struct job *job_of(const td_job *job)
{
    return (struct job *)(uintptr_t)&job->room;
}

bool job_nested(void)
{
    return job_inside() && !task_running;
}

static const td_offload_opts defaults;

struct td_task *pool_user(const td_pool *pool, const char *function)
{
    struct td_task *self = task_self(function);

    if (loop_of(self) != pool->loop && !self->sched->forked)
        fail("%s: the pool belongs to another loop; each loop opens pools of its own", function);
    return self;
}

int pool_checkpoint(td_pool *pool, struct td_task *self)
{
    int rc;

    pool->callers++;
    rc = task_checkpoint(self);
    pool_caller_gone(pool);
    return rc;
}

void pool_caller_gone(td_pool *pool)
{
    if (--pool->callers == 0 && pool->closing)
        pool_wake_closer(pool);
}

int job_no_pool(const char *function)
{
    int rc = task_checkpoint(task_self(function));

    return rc < 0 ? rc : -ENOMEM;
}

/* Nobody waits for its result any more. */
static void no_longer_wanted(struct job *job, int rc)
{
    td_pool *pool = job->pool;

    if (job->place == PLACE_GIVEN && (pool->opts.on_cancel == TD_CANCEL_FINISH || !pool->kind->kill) &&
        !(pool->traits & POOL_LEAVES))
        job_let_finish(job, rc);
    else
        job_end(job, rc);
}

static void caller_cancelled(struct wait *wait)
{
    no_longer_wanted(container_of(wait, struct job, wait), -ECANCELED);
}

static void scope_cancelled(struct scope_guest *guest)
{
    struct job *job = container_of(guest, struct job, guest);

    if (job->place == PLACE_OUTSIDE)
        job->end_rc = -ECANCELED;  /* by what gave way for it; see enter */
    else
        no_longer_wanted(job, -ECANCELED);
}

static void deadline_passed(struct td_timer *timer)
{
    job_end(container_of(timer, struct job, deadline), -ETIMEDOUT);
}

void job_init(struct job *job, td_pool *pool, td_fn fn, void *items)
{
    *job = (struct job){.pool = pool, .fn = fn, .items = items, .count = 1, .lane = 1, .attempts = 1};
    list_init(&job->link);
    list_init(&job->waiters);
    timer_init(&job->deadline, deadline_passed);
    job->wait.abort = caller_cancelled;
    job->wait.what = "a job in a pool";
}

int job_pin(struct job *job, const void *at, size_t size)
{
    struct arena *arena;

    if (!at)
        return 0;
    arena = arena_current();
    if (arena && arena_covers(arena, at)) {
        job->bytes = arena_pin(arena, at, size, &job->pinned);
        if (job->bytes)
            return 0;
    }
    if (job->pool->kind->private || !arena)  /* no arena: a forked child, refused later */
        return 0;
    td_log(TD_LOG_ERROR, "td_offload: %p is not in shared memory, and a worker process could not see it: allocate what a job "
           "reads and writes with td_shared_alloc", at);
    return -EFAULT;
}

void job_unpin(struct job *job)
{
    if (job->pinned)
        arena_unpin(arena_current(), job->pinned);
    job->pinned = NULL;
}

/* What a caller asked to be told is told whatever comes of it. */
static void clear_answers(const td_offload_opts *opts)
{
    if (opts && opts->report)
        *opts->report = (td_job_report){0};
    if (opts && opts->output)
        *opts->output = NULL;
}

unsigned char job_lane(td_priority priority)
{
    return priority == TD_PRIORITY_HIGH ? 0 : priority == TD_PRIORITY_NORMAL ? 1 : 2;
}

static int configure(struct job *job, const td_offload_opts *opts)
{
    if (!command_fits(job->pool, job->fn) || opts->when_full > TD_DROP_OLDEST || opts->priority > TD_PRIORITY_LOW ||
        opts->deadline < 0 || opts->attempts > TD_ATTEMPTS_MAX || opts->output_bytes > UINT32_MAX)
        return -EINVAL;
    job->lane = job_lane(opts->priority);
    job->attempts = opts->attempts ? (unsigned char)opts->attempts : 1;
    job->report_to = opts->report;
    job->output_to = opts->output;
    return 0;
}

static int hold(struct job *job, const td_offload_opts *opts)
{
    struct arena *arena = arena_current();
    int rc = job_pin(job, job->items, 1);

    if (rc < 0 || opts->output_bytes == 0)
        return rc;
    job->output = arena ? arena_reserve(arena, opts->output_bytes, job->pool->arena_owner) : NULL;
    job->extra = job->output;
    job->size = (uint32_t)opts->output_bytes;
    job->bytes += opts->output_bytes;
    return job->output ? 0 : job_refuse(job, TD_REFUSED_MEMORY, -ENOMEM);
}

static void turn_over(struct turn_end *end)
{
    (void)pool_dispatch(container_of(end, td_pool, turn_end));
}

/*
 * An idle worker gets the job now, unless more short ones may follow. Else it is given with the others of this turn: one fence
 * and one look at the worker for all of them.
 */
static void kick(td_pool *pool)
{
    bool alone = !pool->loop->sched.ready || pool->estimates.mean >= SHORT_NS;

    pool->turn_end.run = turn_over;
    if (alone && pool->queued == 1 && (!list_empty(&pool->idle[0]) || !list_empty(&pool->idle[1])))
        (void)pool_dispatch(pool);
    else if (pool->queued > 0)
        loop_at_turn_end(pool->loop, &pool->turn_end);
    if (pool->opts.workers_max > pool->opts.workers)
        pool_arm_window(pool);
}

static td_when_full policy(const td_pool *pool, const td_offload_opts *opts)
{
    return opts->when_full == TD_POOL_DEFAULT ? pool->opts.when_full : opts->when_full;
}

td_time job_limit(const td_pool *pool, td_time deadline)
{
    return deadline > 0 ? deadline : pool->opts.deadline;
}

int job_run(struct td_task *self, struct job *job, td_when_full when_full, td_time limit_ns)
{
    int rc;

    job->submitted_at = td_now();
    rc = queue_admit(job, when_full, limit_ns);
    if (rc < 0)
        return rc;
    rc = task_verdict(self);  /* what gave way for it may have cancelled the caller */
    if (rc < 0) {
        job_end(job, rc);
        return rc;
    }
    job->task = self;
    kick(job->pool);
    return task_park(self, &job->wait);
}

int td_offload_with(td_pool *pool, td_fn fn, void *arg, const td_offload_opts *opts)
{
    struct td_task *self;
    struct job job;
    int rc;

    clear_answers(opts);
    if (job_nested())
        return -EDEADLK;
    if (!pool)
        return job_no_pool("td_offload");
    self = pool_user(pool, "td_offload");
    opts = opts ? opts : &defaults;
    job_init(&job, pool, fn, arg);
    rc = configure(&job, opts);
    if (rc == 0)
        rc = pool_checkpoint(pool, self);
    if (rc == 0)
        rc = hold(&job, opts);
    if (rc < 0)
        return rc;
    return job_run(self, &job, policy(pool, opts), job_limit(pool, opts->deadline));
}

int td_offload(td_pool *pool, td_fn fn, void *arg)
{
    return td_offload_with(pool, fn, arg, NULL);
}

/* It was refused: whoever waits for it all the same is told so. */
static int never_a_job(struct job *job, int rc)
{
    job->place = PLACE_DONE;
    job->rc = rc;
    return rc;
}

/*
 * Accepted at once, or parks until there is room. Behind the park the job's memory is not touched: its scope may have been
 * joined by then.
 */
static int enter(struct td_task *self, struct job *job, td_when_full when_full, td_time limit_ns)
{
    int rc;

    scope_guest_enter(job->guest.scope, &job->guest);  /* from now on its cancellation reaches us, and its join waits */
    rc = queue_admit(job, when_full, limit_ns);
    if (rc < 0) {
        scope_guest_done(&job->guest, 0, true);
        return never_a_job(job, rc);
    }
    if (job->end_rc) {
        job_end(job, job->end_rc);
        return 0;
    }
    if (job->place == PLACE_WAITING && (rc = task_verdict(self)) < 0) {
        job->alone = true;  /* it was the caller that was cancelled: the scope never had the job */
        job_end(job, rc);
        return rc;
    }
    kick(job->pool);
    if (job->place != PLACE_WAITING)
        return 0;
    job->task = self;
    job->wait.what = "room in a pool's queue";
    return task_park(self, &job->wait);
}

int td_submit(td_scope *scope, td_job *out, td_pool *pool, td_fn fn, void *arg, const td_offload_opts *opts)
{
    struct job *job = job_of(out);
    struct td_task *self;
    int rc;

    clear_answers(opts);
    if (job_nested())
        return -EDEADLK;
    (void)scope_user(scope, __func__);
    if (!pool) {
        *job = (struct job){0};
        return never_a_job(job, job_no_pool(__func__));
    }
    self = pool_user(pool, __func__);
    opts = opts ? opts : &defaults;
    job_init(job, pool, fn, arg);
    job->submitted = true;
    job->guest.scope = scope;
    job->guest.cancel = scope_cancelled;
    rc = configure(job, opts);
    if (rc == 0)
        rc = pool_checkpoint(pool, self);
    if (rc == 0 && scope->cancelled)
        rc = -ECANCELED;
    if (rc == 0)
        rc = hold(job, opts);
    job->submitted_at = td_now();
    return rc < 0 ? never_a_job(job, rc) : enter(self, job, policy(pool, opts), job_limit(pool, opts->deadline));
}

bool td_job_done(const td_job *job)
{
    return job_of(job)->place == PLACE_DONE;
}

int td_job_wait(td_job *out)
{
    struct job *job = job_of(out);
    struct td_task *self = task_self(__func__);
    int rc = task_checkpoint(self);

    if (rc < 0 || job->place == PLACE_DONE)  /* the pool may be gone by then */
        return rc < 0 ? rc : job->rc;
    (void)pool_user(job->pool, __func__);
    return waiters_park(&job->waiters, self, "a submitted job", NULL);
}

void td_job_cancel(td_job *out)
{
    struct job *job = job_of(out);

    if (task_self(__func__)->sched->forked || job->place == PLACE_DONE)
        return;
    (void)pool_user(job->pool, __func__);
    job->alone = true;
    no_longer_wanted(job, -ECANCELED);
}

static bool done_already(const td_case *one)
{
    return ((const struct job *)one->on)->place == PLACE_DONE;
}

static int take_outcome(td_case *one)
{
    return ((const struct job *)one->on)->rc;
}

static struct td_list *among_waiters(td_case *one)
{
    return &((struct job *)one->on)->waiters;
}

td_case td_on_job(td_job *job)
{
    static const struct td_case_kind kind = {.ready = done_already, .happen = take_outcome, .queue = among_waiters};

    return (td_case){.kind = &kind, .on = job_of(job)};
}

unsigned td_job_progress_of(const td_job *out)
{
    const struct job *job = job_of(out);

    if (job->place == PLACE_GIVEN && job->pool->loop->sched.forked)
        return 0;  /* a child does not have the page */
    return job->place == PLACE_GIVEN ? atomic_load(&page_slot(job->worker->page, job->ticket)->progress) : job->progress;
}

bool td_job_cancelled(void)
{
    struct job_slot *slot = job_running();

    return slot && (word_flags(atomic_load_explicit(&slot->word, memory_order_relaxed)) & JOB_ASKED);
}

void td_job_progress(unsigned progress)
{
    struct job_slot *slot = job_running();

    if (slot)
        atomic_store_explicit(&slot->progress, progress, memory_order_relaxed);
}

void *td_job_output(size_t *size)
{
    struct job_slot *slot = job_running();
    bool some = slot && slot->extra && !(word_flags(atomic_load_explicit(&slot->word, memory_order_relaxed)) & JOB_ITEMS);

    if (size)
        *size = some ? slot->size : 0;
    return some ? slot->extra : NULL;
}

bool td_in_job(void)
{
    return job_inside();
}
