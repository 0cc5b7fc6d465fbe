/* SPDX-License-Identifier: MIT */
/*
 * Workers of a simulated loop: a job runs on the loop's thread, outside of any task, at a moment that the seed draws, and
 * is done a drawn while later. What the program sees is what it would see of threads and processes: order, times,
 * deadlines, kills, deaths. What it does not see: two jobs at once, and a process that lacks the program's memory.
 */
#include <errno.h>
#include <signal.h>

#include "loop/sim.h"
#include "pool/pool.h"

#define RUN_DELAYS 20  /* a job takes up to so many times as long as an operation */

static void next_stage(struct worker *worker, enum worker_stage stage, td_time after_ns)
{
    struct loop *loop = worker->pool->loop;

    worker->stage = stage;
    timers_arm(&loop->sched.timers, &worker->simulated, td_after(after_ns));
}

static td_time delay(const struct worker *worker)
{
    return sim_delay(worker->pool->loop->backend, false);
}

static td_time run_time(const struct worker *worker)
{
    struct backend *sim = worker->pool->loop->backend;

    return delay(worker) * (td_time)(1 + dice_below(&sim->net, RUN_DELAYS));
}

/* The job begins. Its effects are there at once; that it is done is seen later. A death may come before or after them. */
static void begin(struct worker *worker)
{
    struct backend *sim = worker->pool->loop->backend;
    bool dies = worker->pool->kind->kill && sim_chance(sim, sim->faults.death, &sim->stats.deaths);
    struct job_slot *slot = page_slot(worker->page, worker->head);
    uint64_t ready = atomic_load(&slot->word);

    if (dies && dice_below(&sim->net, 3) == 0) {  /* before it began: another worker gets the job */
        next_stage(worker, STAGE_DEAD, delay(worker));
        return;
    }
    if (word_state(ready) != JOB_READY || !slot_begin(slot, ready))
        return;  /* taken back */
    atomic_store(&slot->started, td_now());
    worker->simulated_rc = -ECANCELED;
    if (!dies || dice_below(&sim->net, 2))
        worker->simulated_rc = slot_run(slot);
    next_stage(worker, dies ? STAGE_DEAD : STAGE_END, run_time(worker));
}

static void end(struct worker *worker)
{
    struct job_slot *slot = page_slot(worker->page, worker->head);
    uint64_t word = atomic_load(&slot->word);

    atomic_store(&slot->ended, td_now());
    slot_end(slot, word_with(word & ~((uint64_t)JOB_ASKED << 8), JOB_READY), worker->simulated_rc);
    pool_worker_done(worker);
}

/* Its init runs here and now, as its jobs do. */
static void birth(struct worker *worker)
{
    struct worker_page *page = worker->page;
    int rc = page_init(page);

    if (rc < 0)
        pool_worker_failed(worker, rc);
    else
        pool_worker_born(worker);
}

static void stage_over(struct td_timer *timer)
{
    struct worker *worker = container_of(timer, struct worker, simulated);

    sim_note(worker->pool->loop->backend, "worker", worker->index, worker->stage);
    switch (worker->stage) {
    case STAGE_BIRTH:
        birth(worker);
        break;
    case STAGE_BEGIN:
        begin(worker);
        break;
    case STAGE_END:
        end(worker);
        break;
    case STAGE_DEAD:
        pool_worker_died(worker, SIGKILL, TD_DEATH_KILLED, "died, as the simulation would have it");
        break;
    }
}

static int simulated_prepare(struct worker *worker)
{
    timer_init(&worker->simulated, stage_over);
    return worker_thread.prepare(worker);
}

static int simulated_start(struct worker *worker)
{
    struct backend *sim = worker->pool->loop->backend;

    if (sim_chance(sim, sim->faults.shortage, &sim->stats.shortages))
        return -EAGAIN;
    next_stage(worker, STAGE_BIRTH, delay(worker));
    return 0;
}

static void simulated_ring(struct worker *worker)
{
    timers_disarm(&worker->pool->loop->sched.timers, &worker->simulated);  /* of a job that was taken back */
    next_stage(worker, STAGE_BEGIN, delay(worker));
}

static void simulated_kill(struct worker *worker)
{
    timers_disarm(&worker->pool->loop->sched.timers, &worker->simulated);
    next_stage(worker, STAGE_DEAD, delay(worker));
}

static void simulated_stop(struct worker *worker)
{
    timers_disarm(&worker->pool->loop->sched.timers, &worker->simulated);
    if (worker->page->exit)
        worker->page->exit(worker->page->arg);
    pool_worker_gone(worker);
}

static void simulated_release(struct worker *worker)
{
    timers_disarm(&worker->pool->loop->sched.timers, &worker->simulated);
    worker_thread.release(worker);
}

const struct worker_kind worker_simulated_thread = {
    .private = true,
    .one_job = true,
    .prepare = simulated_prepare,
    .start = simulated_start,
    .ring = simulated_ring,
    .stop = simulated_stop,
    .release = simulated_release,
};

const struct worker_kind worker_simulated_process = {
    .private = false,
    .one_job = true,
    .prepare = simulated_prepare,
    .start = simulated_start,
    .ring = simulated_ring,
    .kill = simulated_kill,
    .stop = simulated_stop,
    .release = simulated_release,
};
