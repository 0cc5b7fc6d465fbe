/* SPDX-License-Identifier: MIT */
/*
 * td_run: puts a runtime together in the one order that works. The arena is mapped before the first fork, the
 * zygote forked before rings and threads exist, then come the loop and its watchdog.
 */
#include "tandem/run.h"

#include <errno.h>
#include <pthread.h>

#include "base/forks.h"
#include "loop/loop.h"
#include "loop/watchdog.h"
#include "pool/zygote.h"
#include "run/overflow.h"
#include "shared/arena.h"
#include "tandem/error.h"
#include "tandem/log.h"

/*
 * Runs in the child of every fork. Memory only, no lock and no log line: other threads may have held any lock at the
 * moment of the fork, and do not exist in the child.
 */
static void forked(void)
{
    forks_count_one();
    sched_forked();
}

__attribute__((constructor)) static void watch_forks(void)
{
    if (pthread_atfork(NULL, NULL, forked) != 0)
        td_log(TD_LOG_WARNING, "no memory to watch for forks: a forked child must not call the library");
}

struct first {
    td_fn fn;
    void *arg;
    int rc;
};

static int first_task(void *arg)
{
    struct first *first = arg;

    first->rc = first->fn(first->arg);
    return 0;
}

static int run_loop(struct loop *loop, td_fn fn, void *arg)
{
    struct first first = {fn, arg, 0};
    struct overflow_guard guard;
    struct watchdog dog;
    int rc = watchdog_start(&dog, loop);

    if (rc < 0) {
        td_log(TD_LOG_ERROR, "cannot start the watchdog's thread: %s", td_strerror(rc));
        return rc;
    }
    overflow_guard_open(&guard);
    rc = sched_start(&loop->sched, first_task, &first, "td_run");
    if (rc == 0) {
        rc = loop_run(loop);
        rc = rc < 0 ? rc : first.rc;
    }
    overflow_guard_close(&guard);
    watchdog_stop(&dog);
    return rc;
}

static int run_in_arena(const td_opts *opts, struct arena *arena, td_fn fn, void *arg)
{
    struct loop loop;
    struct zygote zygote;
    bool forked = false;
    int rc;

    if (arena) {
        rc = zygote_open(&zygote);
        forked = rc == 0;
        if (rc < 0)
            td_log(TD_LOG_WARNING, "cannot fork the process that would fork workers, so there are no process pools: %s",
                   td_strerror(rc));
    }
    rc = loop_open(&loop, opts);
    if (rc == 0) {
        if (forked)
            zygote_attach(&zygote, &loop);
        arena_adopt(arena);
        rc = run_loop(&loop, fn, arg);
        arena_adopt(NULL);
        if (forked)
            zygote_detach(&zygote);
        loop_close(&loop);
    }
    if (forked)
        zygote_close(&zygote);
    return rc;
}

int td_run_with(const td_opts *opts, td_fn fn, void *arg)
{
    static const td_opts defaults;
    struct arena arena;
    bool has_arena;
    int rc;

    if (!opts)
        opts = &defaults;
    if (!fn || opts->backend > TD_BACKEND_SIM || opts->stall_after < 0)
        return -EINVAL;
    if (sched_current() && sched_current()->forked)
        return -EOWNERDEAD;
    if (sched_current()) {
        td_log(TD_LOG_ERROR, "td_run was called inside a task; spawn a task instead");
        return -EBUSY;
    }
    has_arena = arena_open(&arena, opts->shared_bytes_max) == 0;  /* else no process pools; the log says why */
    rc = run_in_arena(opts, has_arena ? &arena : NULL, fn, arg);
    if (has_arena)
        arena_close(&arena);
    return rc;
}

int td_run(td_fn fn, void *arg)
{
    return td_run_with(NULL, fn, arg);
}
