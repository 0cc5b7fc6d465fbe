/* SPDX-License-Identifier: MIT */
/*
 * Worker threads: the page lies in private memory, and a thread cannot be killed.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pool/pool.h"
#include "pool/weight.h"
#include "shared/arena.h"

struct start {
    struct worker *worker;
    struct arena *arena;
};

static void *thread_main(void *arg)
{
    struct start *start = arg;
    struct worker *worker = start->worker;

    arena_adopt(start->arena);
    free(start);
    if (!(worker->pool->traits & POOL_WAITS))
        worker_lower_weight();
    (void)page_serve(worker->page, worker->pool->loop->wake_file.fd);
    return NULL;
}

static int thread_prepare(struct worker *worker)
{
    worker->page = aligned_alloc(_Alignof(struct worker_page), sizeof *worker->page);
    if (!worker->page)
        return -ENOMEM;
    memset(worker->page, 0, sizeof *worker->page);
    return 0;
}

static int thread_start(struct worker *worker)
{
    struct start *start = malloc(sizeof *start);
    sigset_t all, before;
    int rc;

    if (!start)
        return -ENOMEM;
    *start = (struct start){worker, arena_current()};
    sigfillset(&all);  /* signals are for the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = -pthread_create(&worker->thread, NULL, thread_main, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc < 0) {
        free(start);
        return rc;
    }
    pool_worker_born(worker);
    return 0;
}

static bool thread_ended(struct worker *worker)
{
    int up = atomic_load(&worker->page->up);

    if (up >= 0 && up != PAGE_ENDED)
        return false;
    pthread_join(worker->thread, NULL);  /* it does nothing any more, so this is a matter of microseconds */
    return true;
}

static void thread_release(struct worker *worker)
{
    free(worker->page);
}

const struct worker_kind worker_thread = {
    .private = true,
    .prepare = thread_prepare,
    .start = thread_start,
    .ended = thread_ended,
    .release = thread_release,
};
