/* SPDX-License-Identifier: MIT */
/*
 * A pool's inside: the queue, the jobs and the workers, all private to the loop's thread. What crosses to a worker is
 * its page only (pool/page.h).
 */
#ifndef TANDEM_POOL_POOL_H
#define TANDEM_POOL_POOL_H

#include <pthread.h>
#include <sys/types.h>

#include "loop/loop.h"
#include "pool/page.h"
#include "pool/zygote.h"
#include "tandem/pool.h"

enum job_place { PLACE_OUTSIDE, PLACE_WAITING, PLACE_QUEUED, PLACE_RUNNING };

/* On the stack of the task that waits for it. */
struct job {
    struct td_list link;
    struct wait wait;
    struct td_task *task;
    td_pool *pool;
    struct worker *worker;      /* while running */
    struct td_timer deadline;
    td_fn fn;
    char *items;
    size_t count, item_size;
    enum job_place place;
    bool keeps_place;           /* submitted with TD_WAIT: it does not give way to others */
    bool unwanted;              /* its caller was cancelled, and waits for it to finish */
    int end_rc;                 /* its outcome, whatever a thread's function returns: its deadline passed, say; 0: none yet */
    unsigned attempts;          /* workers that died before they began it */
    td_time submitted, dispatched;
    td_job_report report;
};

enum worker_phase {
    WORKER_STARTING,  /* asked for, not there yet */
    WORKER_IDLE,
    WORKER_BUSY,
    WORKER_PAUSED,    /* dead; replaced when its back-off timer fires */
    WORKER_GONE,      /* stopped for good */
};

enum worker_stage { STAGE_BIRTH, STAGE_BEGIN, STAGE_END, STAGE_DEAD };

struct worker {
    struct td_list link;        /* in pool->idle */
    td_pool *pool;
    uint16_t index;
    enum worker_phase phase;
    struct worker_page *page;
    uint32_t generation;
    struct job *job;
    int kill_rc;                /* why we killed it: its job's outcome; 0 when we did not */
    struct td_timer backoff;
    /* A process: */
    struct zygote_request request;
    int page_fd;
    pid_t pid;
    struct io_file pid_file;    /* the pidfd */
    struct io_op pid_op;
    /* A thread: */
    pthread_t thread;
    /* A simulated one: */
    struct td_timer simulated;
    enum worker_stage stage;    /* what happens when that fires */
};

/* What differs between threads and processes. */
struct worker_kind {
    bool private;                                /* the page lies in memory of this process only */
    int (*prepare)(struct worker *worker);       /* makes the page; 0 or a negative errno */
    int (*start)(struct worker *worker);         /* 0: pool_worker_up will be or was called; or a negative errno */
    void (*ring)(struct worker *worker);         /* tells it of a job in its page; NULL: by the page's doorbell */
    void (*kill)(struct worker *worker);         /* NULL: cannot be killed */
    void (*stop)(struct worker *worker);         /* ends it, idle; pool_worker_gone will be or was called */
    void (*release)(struct worker *worker);      /* frees the page, and what prepare made */
};

extern const struct worker_kind worker_thread, worker_process, worker_simulated_thread, worker_simulated_process;

struct td_pool {
    struct loop *loop;
    td_pool_opts opts;
    const struct worker_kind *kind;
    struct worker *workers;
    unsigned worker_count, workers_alive;  /* alive: not GONE */
    struct td_list idle;        /* most recently idle first: its caches are warm */
    struct td_list queue, waiting;
    size_t queued, running, queue_max;
    unsigned deaths_in_row;     /* since a job last finished */
    unsigned failures_in_row;   /* to start a worker */
    unsigned graves;            /* pages left to workers that were never announced: process.c */
    struct io_file event_file;
    struct io_op event_op;
    uint64_t event_count;
    bool event_listening, closing;
    struct pool_closer *closer; /* the task in td_pool_close, while it is parked */
    td_pool_stats stats;
};

/* Called by the kinds. */
void pool_grave_closed(td_pool *pool);
void pool_worker_up(struct worker *worker);
void pool_worker_done(struct worker *worker);                 /* its page says that the job is done */
void pool_worker_gone(struct worker *worker);                 /* after stop */
void pool_worker_died(struct worker *worker, int signal, const char *how);  /* it is dead and waited for */
void pool_worker_failed(struct worker *worker, int rc);       /* it could not be started */

#endif
