/* SPDX-License-Identifier: MIT */
/*
 * Invariant: when a loop has run, its pools hold no job but those left behind: every other one had a task that waited for it,
 * or a scope.
 */
#include "pool/classes.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/fail.h"
#include "loop/fleet.h"
#include "pool/pool.h"
#include "shared/arena.h"
#include "tandem/log.h"

#define WAITING_THREADS_MAX 8  /* of a class that waits: more of them would only wait for the same disk, or server */
#define NAME_SECONDS 30        /* a resolver that asks two servers twice, as it does by default, takes 20 */

struct classes {
    td_pool *pools[TD_CLASSES];
};

static unsigned cores_of(const struct loop *loop)
{
    unsigned loops = loop->fleet ? loop->fleet->count : 1, cores = pool_usable_cores() / loops;

    return cores ? cores : 1;
}

static int open_class(struct loop *loop, td_class of, td_pool **pool)
{
    static const char *const names[TD_CLASSES] = {"the CPU class", "the files class", "the names class"};
    static const unsigned traits[TD_CLASSES] = {POOL_READY_MADE, POOL_READY_MADE | POOL_WAITS,
                                                POOL_READY_MADE | POOL_WAITS | POOL_LEAVES};
    bool waits = traits[of] & POOL_WAITS;

    return pool_open(pool, &(td_pool_opts){.kind = TD_THREADS, .workers = 1, .name = names[of],
                                           .workers_max = waits ? WAITING_THREADS_MAX : cores_of(loop),
                                           .stuck_max = waits ? WAITING_THREADS_MAX : 0,
                                           .deadline = of == TD_CLASS_NAMES ? td_sec(NAME_SECONDS) : 0}, traits[of]);
}

td_pool *td_pool_of(td_class of)
{
    struct loop *loop = loop_of(task_self(__func__));
    int rc;

    if ((unsigned)of >= TD_CLASSES)
        fail("td_pool_of: there is no class %d; choose TD_CLASS_CPU, TD_CLASS_FILES or TD_CLASS_NAMES", (int)of);
    if (loop->classes && loop->classes->pools[of])
        return loop->classes->pools[of];
    if (!loop->classes) {
        struct classes *classes = calloc(1, sizeof *classes);

        if (!classes)
            return NULL;
        loop->classes = classes;
    }
    rc = open_class(loop, of, &loop->classes->pools[of]);
    return rc < 0 ? NULL : loop->classes->pools[of];
}

/* Threads on their way: each will take a job of those that are queued. */
static unsigned coming(const td_pool *pool)
{
    unsigned count = 0;

    for (unsigned i = 0; i < pool->slots; i++)
        count += pool->workers[i].phase == WORKER_STARTING || pool->workers[i].phase == WORKER_PAUSED;
    return count;
}

/* A thread that has started takes a job, and tries to grow the pool again from inside: that is the loop's here. */
void classes_grow(td_pool *pool)
{
    if (pool->growing || pool->closing)
        return;
    pool->growing = true;
    while (pool->wanted < pool->opts.workers_max && pool->queued > coming(pool)) {
        size_t queued = pool->queued;

        pool->wanted++;
        pool->stats.grown++;
        pool_start_wanted(pool);
        if (pool->queued == queued)
            break;  /* no thread could be started, or it takes a while */
    }
    pool->growing = false;
}

/* Has the thread end when it has done what it does, and waits for that. */
static void end_thread(struct worker *worker)
{
    if (worker->phase != WORKER_RETIRING)
        worker_send_token(worker);
    pthread_join(worker->thread, NULL);
}

static void end_worker(struct worker *worker)
{
    bool simulated = worker->pool->kind->stop;

    timers_disarm(&worker->pool->loop->sched.timers, &worker->backoff);
    if (!simulated && worker->phase != WORKER_GONE && worker->phase != WORKER_PAUSED)
        end_thread(worker);
    worker_free_left(worker);
}

static void end_pool(td_pool *pool)
{
    assert(!pool_has_work(pool));
    pool->closing = true;
    if (pool->stuck > 0)
        td_log(TD_LOG_WARNING, "%s: the program ends, and waits for %u of its threads that were left behind in jobs past their "
               "deadlines", pool_name(pool), pool->stuck);
    for (unsigned i = 0; i < pool->slots; i++)
        end_worker(&pool->workers[i]);
    pool_forget(pool);
}

void classes_close(struct loop *loop)
{
    struct classes *classes = loop->classes;

    for (int i = 0; classes && i < TD_CLASSES; i++)
        if (classes->pools[i])
            end_pool(classes->pools[i]);
    loop->classes = NULL;
    free(classes);
}
