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

UNUSED static void world_open(struct world *w, void **state, td_pool_opts opts)
{
    *w = (struct world){.state = state};
    opts.kind = kind_of(state);
    w->gate = td_shared_calloc(1, sizeof *w->gate);
    expect(w->gate != NULL);
    expect_int(td_pool_open(&w->pool, &opts), 0);
}

UNUSED static void world_close(struct world *w)
{
    td_shared_stats left;

    expect_int(td_pool_close(w->pool), 0);
    td_shared_free(w->gate);
    td_shared_statistics(&left);
    expect_int((long long)left.blocks, 0);
}

#endif
