/* SPDX-License-Identifier: MIT */
/*
 * Jobs that pools are tested with, and tasks that submit them. Each case runs on both backends, and with both kinds of workers
 * where that makes sense.
 */
#ifndef TANDEM_TESTS_POOL_JOBS_H
#define TANDEM_TESTS_POOL_JOBS_H

#include <stdatomic.h>

#include "run/harness.h"

#define CASE(backend, kind) ((uintptr_t)(backend) + 16 * (uintptr_t)(kind))
#define ON_BOTH_WITH(kind, label, test) \
    ON(CASE(TD_BACKEND_URING, kind), "uring, " label ": ", test), \
    ON(CASE(TD_BACKEND_EPOLL, kind), "epoll, " label ": ", test)
#define WITH_THREADS(test) ON_BOTH_WITH(TD_THREADS, "threads", test)
#define WITH_PROCESSES(test) ON_BOTH_WITH(TD_PROCESSES, "processes", test)
#define ON_ALL(test) WITH_THREADS(test), WITH_PROCESSES(test)

/* A case that a task tells; its `arg` is the case's state. A macro, since each takes two functions. */
#define STORY(name) \
    static int name##_in_task(void *arg); \
    static void name(void **state) \
    { \
        assert_int_equal(run(state, name##_in_task, state), 0); \
    } \
    static int name##_in_task(void *arg)

static td_pool_kind kind_of(void **state)
{
    return (td_pool_kind)((uintptr_t)*state / 16);
}

/* In shared memory: jobs go in, and stay until it is opened. */
struct gate {
    _Atomic int entered, left, pid;
    _Atomic bool open;
};

/* A job. Waits in the worker as a stuck one would: by polling, and not for ever. */
UNUSED static int stay_in_gate(void *arg)
{
    struct gate *gate = arg;

    atomic_store(&gate->pid, getpid());
    atomic_fetch_add(&gate->entered, 1);
    for (int i = 0; i < 300000 && !atomic_load(&gate->open); i++)
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    atomic_fetch_add(&gate->left, 1);
    return 0;
}

/* A job that is done at once, and counted. */
UNUSED static int pass_gate(void *arg)
{
    struct gate *gate = arg;

    atomic_fetch_add(&gate->entered, 1);
    atomic_fetch_add(&gate->left, 1);
    return 0;
}

/* A job that waits in the gate as well, but looks whether it is to end. */
UNUSED static int stay_until_asked(void *arg)
{
    struct gate *gate = arg;
    bool asked = false;

    atomic_store(&gate->pid, getpid());
    atomic_fetch_add(&gate->entered, 1);
    for (int i = 0; i < 300000 && !atomic_load(&gate->open) && !(asked = td_job_cancelled()); i++)
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    atomic_fetch_add(&gate->left, 1);
    return asked ? -ECANCELED : 0;
}

/* A job that returns what its argument says. */
UNUSED static int say_number(void *arg)
{
    return *(int *)arg;
}

/* A job that takes its worker process with it. */
UNUSED static int drop_dead(void *arg)
{
    raise(SIGKILL);
    return 0;
}

/* In shared memory: who came when. */
struct row {
    _Atomic int count;
    int who[120];
};

struct turn {
    struct row *row;
    int who;
};

/* A job that notes when it ran. */
UNUSED static int take_turn(void *arg)
{
    struct turn *turn = arg;

    turn->row->who[atomic_fetch_add(&turn->row->count, 1)] = turn->who;
    return 0;
}

struct world {
    void **state;
    td_pool *pool;
    struct gate *gate;
};

/* What a task submits, and what came of it. */
struct call {
    td_pool *pool;
    td_fn fn;
    void *arg;
    td_offload_opts opts;
    int rc, ends;
    td_job_report report;
};

UNUSED static int submit(void *arg)
{
    struct call *call = arg;

    call->opts.report = &call->report;
    call->rc = td_offload_with(call->pool, call->fn, call->arg, &call->opts);
    call->ends++;
    return 0;
}

/* Spawns a task that submits, and lets it do so. */
UNUSED static void spawn_call(struct world *w, td_scope *scope, struct call *call, td_fn fn)
{
    *call = (struct call){w->pool, fn, w->gate, {.when_full = TD_POOL_DEFAULT}, .rc = 1};
    expect_int(td_spawn(scope, submit, call), 0);
    settle();
}

/* What was handed to a pool as a job of its own. */
struct handed {
    td_job job;
    td_offload_opts opts;
    td_job_report report;
};

#define AS_THE_POOL ((td_offload_opts){.when_full = TD_POOL_DEFAULT})

/* td_submit with a report. */
UNUSED static int hand(struct world *w, td_scope *scope, struct handed *handed, td_fn fn, void *arg, td_offload_opts opts)
{
    *handed = (struct handed){.opts = opts, .report = {.queued_ns = -1, .ran_ns = -1}};
    handed->opts.report = &handed->report;
    return td_submit(scope, &handed->job, w->pool, fn, arg, &handed->opts);
}

/* A task that waits for a job. */
struct awaiter {
    td_job *job;
    int rc, ends;
};

UNUSED static int await(void *arg)
{
    struct awaiter *awaiter = arg;

    awaiter->rc = td_job_wait(awaiter->job);
    awaiter->ends++;
    return 0;
}

/* Another gate than the world's; to td_shared_free. */
UNUSED static struct gate *new_gate(void)
{
    struct gate *gate = td_shared_calloc(1, sizeof *gate);

    expect(gate != NULL);
    return gate;
}

UNUSED static void open_gate(struct world *w)
{
    atomic_store(&w->gate->open, true);
}

UNUSED static void wait_entered(struct world *w, int jobs)
{
    eventually(atomic_load(&w->gate->entered) >= jobs);
}

UNUSED static td_pool_stats stats_of(struct world *w)
{
    td_pool_stats stats;

    td_pool_statistics(w->pool, &stats);
    return stats;
}

UNUSED static unsigned long long outcomes(struct world *w)
{
    td_pool_stats s = stats_of(w);

    return s.ok + s.error + s.dropped + s.timeout + s.cancelled + s.died;
}

/* Law 7: each job that was submitted has ended in exactly one way, or was refused. */
UNUSED static void expect_accounted(struct world *w, unsigned long long submitted)
{
    td_pool_stats stats = stats_of(w);
    unsigned long long refused = 0, given_up;

    for (int i = TD_REFUSED_NOT + 1; i < TD_REFUSALS; i++)
        refused += stats.refused[i];
    expect_int((long long)(outcomes(w) + stats.rejected), (long long)submitted);
    given_up = refused - stats.rejected - stats.dropped;  /* by a pool that broke; they count among the dead */
    expect(given_up <= stats.died && given_up <= stats.refused[TD_REFUSED_BROKEN]);
    expect_int((long long)stats.refused[TD_REFUSED_NOT], 0);
    expect_int((long long)stats.depth, 0);
    expect_int((long long)stats.bytes, 0);
}

/* A job that ends when it is to end: a process is killed, and a thread looks. */
UNUSED static td_fn stay_to_be_ended(struct world *w)
{
    return kind_of(w->state) == TD_PROCESSES ? stay_in_gate : stay_until_asked;
}

UNUSED static void world_open(struct world *w, void **state, td_pool_opts opts)
{
    *w = (struct world){.state = state};
    opts.kind = kind_of(state);
    w->gate = td_shared_calloc(1, sizeof *w->gate);
    expect(w->gate != NULL);
    expect_int(td_pool_open(&w->pool, &opts), 0);
}

/* The arena's balance: no block is anybody's any more, not a worker's and not a stuck job's either. */
UNUSED static void expect_nothing_left(void)
{
    td_shared_stats left;

    td_shared_statistics(&left);
    expect_int((long long)left.blocks, 0);
    expect_int((long long)left.quarantined_blocks, 0);
    expect_int((long long)left.owned_bytes, 0);
}

UNUSED static void world_close(struct world *w)
{
    expect_int(td_pool_close(w->pool), 0);
    td_shared_free(w->gate);
    expect_nothing_left();
}

#endif
