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
    worker_lower_weight();
    page_serve(worker->page, worker->pool->event_file.fd, true);
    return NULL;
}

static int thread_prepare(struct worker *worker)
{
    worker->page = aligned_alloc(64, (sizeof *worker->page + 63) / 64 * 64);
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
    pool_worker_up(worker);
    return 0;
}

static void thread_stop(struct worker *worker)
{
    struct worker_page *page = worker->page;

    page_move(page, atomic_load(&page->word), word_make(worker->generation, worker->index, JOB_STOP));
    page_ring(page, true);
    pthread_join(worker->thread, NULL);  /* it is idle, so this is a matter of microseconds */
    pool_worker_gone(worker);
}

static void thread_release(struct worker *worker)
{
    free(worker->page);
}

const struct worker_kind worker_thread = {
    .private = true,
    .prepare = thread_prepare,
    .start = thread_start,
    .stop = thread_stop,
    .release = thread_release,
};
