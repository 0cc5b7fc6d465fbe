/* SPDX-License-Identifier: MIT */
/*
 * td_run: checks the options, and maps the arena, which comes before the first fork. The loops are in run/loops.c.
 */
#include "tandem/run.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "base/forks.h"
#include "loop/fleet.h"
#include "run/loops.h"
#include "run/signals.h"
#include "shared/arena.h"
#include "tandem/log.h"

/*
 * Runs in the child of every fork. Memory only, no lock and no log line: other threads may have held any lock at the
 * moment of the fork, and do not exist in the child.
 */
static void forked(void)
{
    forks_count_one();
    sched_forked();
    signals_forked();
}

__attribute__((constructor)) static void watch_forks(void)
{
    if (pthread_atfork(NULL, NULL, forked) != 0)
        td_log(TD_LOG_WARNING, "no memory to watch for forks: a forked child must not call the library");
}

/*
 * Where a program is started without standard descriptors, the first ones we open would get their numbers, and what somebody
 * prints would land in them: in shared memory, say.
 */
static void hold_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0)
            return;  /* no /dev here: as it was */
}

int td_run_with(const td_opts *opts, td_fn fn, void *arg)
{
    static const td_opts defaults;
    struct arena arena;
    bool has_arena;
    int rc;

    if (!opts)
        opts = &defaults;
    if (!fn || opts->backend > TD_BACKEND_SIM || opts->stall_after < 0 || opts->loops > LOOPS_MAX)
        return -EINVAL;
    if (opts->loops > 1 && (opts->virtual_time || opts->backend == TD_BACKEND_SIM)) {
        td_log(TD_LOG_ERROR, "virtual time is the time of one loop; choose one of .loops, and .virtual_time or the simulation");
        return -EINVAL;
    }
    if (sched_current() && sched_current()->forked)
        return -EOWNERDEAD;
    if (sched_current()) {
        td_log(TD_LOG_ERROR, "td_run was called inside a task; spawn a task instead");
        return -EBUSY;
    }
    hold_standard_descriptors();
    has_arena = arena_open(&arena, opts->shared_bytes_max) == 0;  /* else no process pools; the log says why */
    rc = loops_run(opts, has_arena ? &arena : NULL, fn, arg);
    if (has_arena && rc >= 0)
        arena_tell_left(&arena);
    if (has_arena)
        arena_close(&arena);
    return rc;
}

int td_run(td_fn fn, void *arg)
{
    return td_run_with(NULL, fn, arg);
}

unsigned td_loop_index(void)
{
    return loop_of(task_self(__func__))->index;
}

unsigned td_loop_count(void)
{
    const struct fleet *fleet = loop_of(task_self(__func__))->fleet;

    return fleet ? fleet->count : 1;
}
