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

static uint64_t word(const struct worker *worker, enum job_state state)
{
    return word_make(worker->generation, worker->index, state);
}

/* The job begins. Its effects are there at once; that it is done is seen later. A death may come before or after them. */
static void begin(struct worker *worker)
{
    struct backend *sim = worker->pool->loop->backend;
    bool dies = worker->pool->kind->kill && sim_chance(sim, sim->faults.death, &sim->stats.deaths);
    struct worker_page *page = worker->page;

    if (dies && dice_below(&sim->net, 3) == 0) {  /* before it began: another worker gets the job */
        next_stage(worker, STAGE_DEAD, delay(worker));
        return;
    }
    page_move(page, word(worker, JOB_READY), word(worker, JOB_RUNNING));
    atomic_store(&page->started, td_now());
    if (!dies || dice_below(&sim->net, 2))
        atomic_store(&page->rc, page_run(page));
    next_stage(worker, dies ? STAGE_DEAD : STAGE_END, run_time(worker));
}

static void stage_over(struct td_timer *timer)
{
    struct worker *worker = container_of(timer, struct worker, simulated);

    sim_note(worker->pool->loop->backend, "worker", worker->index, worker->stage);
    switch (worker->stage) {
    case STAGE_BIRTH:
        pool_worker_up(worker);
        break;
    case STAGE_BEGIN:
        begin(worker);
        break;
    case STAGE_END:
        atomic_store(&worker->page->ended, td_now());
        page_move(worker->page, word(worker, JOB_RUNNING), word(worker, JOB_DONE));
        pool_worker_done(worker);
        break;
    case STAGE_DEAD:
        pool_worker_died(worker, SIGKILL, "died, as the simulation would have it");
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
    pool_worker_gone(worker);
}

static void simulated_release(struct worker *worker)
{
    timers_disarm(&worker->pool->loop->sched.timers, &worker->simulated);
    worker_thread.release(worker);
}

const struct worker_kind worker_simulated_thread = {
    .private = true,
    .prepare = simulated_prepare,
    .start = simulated_start,
    .ring = simulated_ring,
    .stop = simulated_stop,
    .release = simulated_release,
};

const struct worker_kind worker_simulated_process = {
    .private = false,
    .prepare = simulated_prepare,
    .start = simulated_start,
    .ring = simulated_ring,
    .kill = simulated_kill,
    .stop = simulated_stop,
    .release = simulated_release,
};
