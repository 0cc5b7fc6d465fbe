/* SPDX-License-Identifier: MIT */
/*
 * The order that works: the zygotes are forked before rings and threads exist, one for each loop, so that loops share
 * no socket. Then each thread opens its loop and its ring (a ring belongs to the thread that made it). When all
 * are open they start together; when all have ended they are closed.
 */
#include "run/loops.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "debug/trace.h"
#include "loop/fleet.h"
#include "loop/watchdog.h"
#include "pool/classes.h"
#include "pool/zygote.h"
#include "run/gate.h"
#include "run/overflow.h"
#include "run/signals.h"
#include "shared/arena.h"
#include "tandem/error.h"
#include "tandem/log.h"

struct runner;

/* A loop and its thread. Lines of the cache are not shared between them. */
struct member {
    _Alignas(64) struct loop loop;
    struct runner *runner;
    unsigned index;
    struct zygote zygote;
    bool has_zygote;
    pthread_t thread;
    int rc;       /* what fn returned here, or the loop */
};

struct runner {
    td_opts opts;
    td_fn fn;
    void *arg;
    struct arena *arena;
    struct fleet fleet;
    struct loop **loops;
    struct member *members;
    struct gate start, end, close;
    struct trace *trace;   /* NULL: nobody traces */
};

static int run_loop(struct member *member)
{
    struct loop *loop = &member->loop;
    struct overflow_stack stack;
    struct watchdog dog;
    int rc = watchdog_start(&dog, loop);

    if (rc < 0) {
        td_log(TD_LOG_ERROR, "cannot start the watchdog's thread: %s", td_strerror(rc));
        return rc;
    }
    overflow_stack_open(&stack);
    if (member->runner->trace)
        rc = trace_attach(member->runner->trace, loop);
    if (rc == 0)
        rc = sched_start(&loop->sched, member->runner->fn, member->runner->arg, &member->rc, "td_run");
    if (rc == 0) {
        rc = loop_run(loop);
        rc = rc < 0 ? rc : member->rc;
    }
    trace_detach(loop);
    overflow_stack_close(&stack);
    watchdog_stop(&dog);
    return rc;
}

static int open_loop(struct member *member)
{
    struct runner *runner = member->runner;
    td_opts opts = runner->opts;
    int rc;

    if (opts.seed && member->index)  /* each loop has its own numbers */
        opts.seed ^= member->index * UINT64_C(0x9e3779b97f4a7c15);
    rc = loop_open(&member->loop, &opts);
    if (rc < 0)
        return rc;
    fleet_enlist(&runner->fleet, &member->loop, member->index);
    if (member->has_zygote)
        zygote_attach(&member->zygote, &member->loop);
    arena_adopt(runner->arena);
    return 0;
}

static void close_loop(struct member *member)
{
    classes_close(&member->loop);
    arena_adopt(NULL);
    if (member->has_zygote)
        zygote_detach(&member->zygote);
    loop_close(&member->loop);
}

static void *live(void *arg)
{
    struct member *member = arg;
    struct runner *runner = member->runner;
    int opened = open_loop(member), rc = gate_pass(&runner->start, opened);

    if (rc == 0) {
        if (member->index == 0 && !runner->opts.keep_signals)
            signals_watch(&runner->fleet);
        member->rc = run_loop(member);
        fleet_leave(&member->loop, member->rc);
        gate_pass(&runner->end, 0);
        if (member->index == 0)
            signals_unwatch(&runner->fleet);
        gate_pass(&runner->close, 0);
    }
    if (opened == 0)
        close_loop(member);
    return NULL;
}

/* Starts the threads of loops 1 and up; returns how many loops there are with the caller's. */
static unsigned start_threads(struct runner *runner)
{
    unsigned count = runner->fleet.count;

    for (unsigned i = 1; i < count; i++) {
        struct member *member = &runner->members[i];
        char name[24];  /* of which the kernel keeps 15 */
        int rc = -pthread_create(&member->thread, NULL, live, member);

        if (rc < 0) {
            td_log(TD_LOG_ERROR, "cannot start a thread for loop %u: %s", i, td_strerror(rc));
            gate_expect_fewer(&runner->start, count - i, rc);
            return i;
        }
        snprintf(name, sizeof name, "tandem-loop-%u", i);
        (void)pthread_setname_np(member->thread, name);
    }
    return count;
}

static int run_members(struct runner *runner)
{
    struct overflow_guard guard;
    unsigned started;

    gate_init(&runner->start, runner->fleet.count);
    gate_init(&runner->end, runner->fleet.count);
    gate_init(&runner->close, runner->fleet.count);
    overflow_guard_open(&guard);
    started = start_threads(runner);
    live(&runner->members[0]);
    for (unsigned i = 1; i < started; i++)
        pthread_join(runner->members[i].thread, NULL);
    overflow_guard_close(&guard);
    gate_destroy(&runner->close);
    gate_destroy(&runner->end);
    gate_destroy(&runner->start);
    if (runner->start.rc < 0)
        return runner->start.rc;
    return runner->fleet.failure ? runner->fleet.failure : runner->members[0].rc;
}

/* After the zygotes: the trace has a thread. */
static int run_traced(struct runner *runner)
{
    const char *path = runner->opts.trace_path;
    int rc = path ? trace_open(&runner->trace, path) : 0;

    if (rc < 0) {
        td_log(TD_LOG_ERROR, "cannot write the trace to %s: %s", path, td_strerror(rc));
        return rc;
    }
    rc = run_members(runner);
    if (runner->trace)
        trace_close(runner->trace);
    return rc;
}

static void fork_zygotes(struct runner *runner)
{
    for (unsigned i = 0; i < runner->fleet.count; i++) {
        struct member *member = &runner->members[i];
        int rc = zygote_open(&member->zygote, runner->arena);

        member->has_zygote = rc == 0;
        if (rc < 0) {
            td_log(TD_LOG_WARNING, "cannot fork the process that would fork workers, so there are no process pools: %s",
                   td_strerror(rc));
            return;
        }
    }
}

static struct member *members_new(struct runner *runner, unsigned count)
{
    struct member *members = aligned_alloc(_Alignof(struct member), count * sizeof *members);

    if (!members)
        return NULL;
    memset(members, 0, count * sizeof *members);
    for (unsigned i = 0; i < count; i++) {
        members[i].runner = runner;
        members[i].index = i;
    }
    return members;
}

int loops_run(const td_opts *opts, struct arena *arena, td_fn fn, void *arg)
{
    unsigned count = opts->loops ? opts->loops : 1;
    struct runner runner = {.opts = *opts, .fn = fn, .arg = arg, .arena = arena};
    int rc = -ENOMEM;

    runner.loops = calloc(count, sizeof(struct loop *));
    runner.members = members_new(&runner, count);
    if (runner.loops && runner.members) {
        fleet_init(&runner.fleet, runner.loops, count);
        if (arena && opts->backend != TD_BACKEND_SIM)  /* whose worker processes are simulated, too */
            fork_zygotes(&runner);
        rc = run_traced(&runner);
        for (unsigned i = 0; i < count; i++)
            if (runner.members[i].has_zygote)
                zygote_close(&runner.members[i].zygote);
        fleet_destroy(&runner.fleet);
    }
    free(runner.members);
    free(runner.loops);
    return rc;
}
