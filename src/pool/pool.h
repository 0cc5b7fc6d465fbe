/* SPDX-License-Identifier: MIT */
/*
 * A pool's inside: the queue, the jobs and the workers, all private to the loop's thread. What crosses to a worker is
 * its page only (pool/page.h).
 *
 * A job goes QUEUED -> GIVEN -> DONE; with TD_WAIT it may first be WAITING for room in the queue. Given, it lies in a worker's
 * ring; until the worker begins it, the pool can take it back. A worker is given one job at a time, and as many short
 * ones as fill CREDIT_NS.
 */
#ifndef TANDEM_POOL_POOL_H
#define TANDEM_POOL_POOL_H

#include <pthread.h>
#include <sys/types.h>

#include "loop/loop.h"
#include "loop/poller.h"
#include "pool/classes.h"
#include "pool/codel.h"
#include "pool/estimate.h"
#include "pool/growth.h"
#include "pool/page.h"
#include "pool/zygote.h"
#include "tandem/job.h"

#define PRIORITIES 3

enum job_place { PLACE_OUTSIDE, PLACE_WAITING, PLACE_QUEUED, PLACE_GIVEN, PLACE_DONE };

/* On the stack of the task that waits for it, or in a td_job. */
struct job {
    struct td_list link;        /* in a lane */
    td_pool *pool;
    struct worker *worker;      /* while given */
    uint64_t ticket;            /* there */
    td_fn fn;
    char *items;
    uint32_t count, size;
    char *extra;
    unsigned char place, lane, flags;  /* flags: enum job_flag */
    bool keeps_place;           /* submitted with TD_WAIT: it does not give way to others */
    bool unwanted;              /* its caller was cancelled, and waits for it to finish */
    bool submitted;             /* by td_submit: a scope has it, and tasks may wait for it */
    bool alone;                 /* cancelled by td_job_cancel: no failure */
    unsigned char attempts;     /* workers that may die of it */
    unsigned char lost_births;  /* workers that died before they began it, 255 at the most */
    int end_rc;                 /* its outcome, whatever its function returns: its deadline passed, say; 0: none yet */
    int rc;                     /* once done */
    struct td_task *task;       /* parked for its outcome, or for its room; NULL */
    struct wait wait;
    struct scope_guest guest;
    struct td_list waiters;     /* in td_job_wait */
    struct td_timer deadline;
    td_time submitted_at, given_at;
    td_time estimate_ns;        /* what it will take, as far as is known */
    size_t bytes;               /* of shared memory that it holds */
    void *pinned, *output, **output_to;
    unsigned progress;          /* that it told, once it is over */
    td_job_report report, *report_to;
};

enum worker_phase {
    WORKER_GONE,      /* there is none */
    WORKER_STARTING,  /* asked for, or its init runs */
    WORKER_IDLE,
    WORKER_BUSY,
    WORKER_STUCK,     /* a thread whose job was answered without it */
    WORKER_DYING,     /* killed; its death makes a new one */
    WORKER_PAUSED,    /* dead; replaced when its back-off timer fires */
    WORKER_RETIRING,  /* has the retire token */
};

enum worker_stage { STAGE_BIRTH, STAGE_BEGIN, STAGE_END, STAGE_DEAD };

struct worker {
    struct td_list link;        /* in pool->idle[], or pool->watched */
    td_pool *pool;
    uint16_t index;
    enum worker_phase phase;
    bool born;                  /* its kind has announced it; init may still run */
    bool reserved;              /* for jobs of TD_PRIORITY_HIGH */
    struct worker_page *page;
    uint64_t head, tail;        /* tickets: the oldest that is not over, and the next to be given */
    uint64_t head_seen;         /* when the patience timer last looked */
    bool slow;                  /* its head did not move since: nothing is given behind it */
    unsigned unbegun;           /* jobs in a row that were taken back past their deadlines, for it had not begun them */
    struct job *given[PAGE_SLOTS];
    int kill_rc;                /* why we killed it: its job's outcome; 0 when we did not */
    td_death kill_cause;
    struct td_timer backoff;    /* PAUSED: until it is replaced; else until a job or worker that is to end is killed */
    struct left {               /* STUCK: what the job at head still holds */
        void *pinned, *output;
    } left;
    /* A process: */
    struct zygote_request request;
    int page_fd;
    pid_t pid;
    struct io_file pid_file;    /* the pidfd */
    struct io_op pid_op;
    struct command *command;    /* of a program in another language, while there is one */
    /* A thread: */
    pthread_t thread;
    /* A simulated one: */
    struct td_timer simulated;
    enum worker_stage stage;    /* what happens when that fires */
    int simulated_rc;           /* of the job that ran, until it is over */
};

struct command;

/* What differs between threads and processes. */
struct worker_kind {
    bool private;                                /* the page lies in memory of this process only */
    bool one_job;                                /* is given one job at a time whatever it takes */
    int (*prepare)(struct worker *worker);       /* makes the page; 0 or a negative errno */
    int (*start)(struct worker *worker);         /* 0: pool_worker_born will be or was called; or a negative errno */
    void (*ring)(struct worker *worker);         /* tells it of a job in its page; NULL: by the page's doorbell */
    void (*kill)(struct worker *worker);         /* NULL: cannot be killed */
    void (*stop)(struct worker *worker);         /* ends it, idle; NULL: by the retire token */
    /* Whether it is stopped; with `asleep`, or asleep, although it was rung. NULL: that cannot be. */
    bool (*lost)(struct worker *worker, bool asleep);
    bool (*ended)(struct worker *worker);        /* whether it has ended by itself, after the token; NULL: it says so */
    void (*release)(struct worker *worker);      /* frees the page, and what prepare made */
};

extern const struct worker_kind worker_thread, worker_process, worker_command, worker_simulated_thread, worker_simulated_process;

struct lane {
    struct td_list queue, waiting;
    unsigned passed_over;       /* jobs of higher lanes given since one of this lane could have been */
};

struct td_pool {
    struct loop *loop;
    td_pool_opts opts;
    const struct worker_kind *kind;
    struct worker *workers;
    unsigned slots;             /* in `workers` */
    unsigned wanted;            /* workers there should be, stuck ones apart */
    unsigned alive;             /* not GONE */
    unsigned stuck, busy;
    struct td_list idle[2];     /* most recently idle first, for its caches are warm; [1]: reserved ones */
    struct td_list watched;     /* workers of which something is to be expected: pages that are looked at */
    struct worker *warm;        /* to which jobs were last given */
    unsigned cursor;            /* where the search for a busy worker with room begins */
    struct lane lanes[PRIORITIES];  /* highest first */
    size_t queued, waiting, given, queue_max;
    size_t queued_bytes, bytes_max;
    struct loop_poller poller;
    struct turn_end turn_end;   /* jobs to be given when the turn ends */
    struct td_timer patience;   /* looks after jobs that were given behind others */
    struct td_timer window;     /* growth */
    struct td_timer mending;    /* broken: until then */
    struct codel codel;
    struct estimates estimates;
    struct growth growth;
    unsigned deaths_in_row;     /* since a job last finished */
    unsigned losses_in_row;     /* of them, those that cost a job, or came before a worker's init was over */
    unsigned failures_in_row;   /* to start a worker */
    unsigned breaks_in_row;
    unsigned callers;           /* tasks that are about to submit: the pool must not go meanwhile */
    unsigned graves;            /* pages left to workers that were never announced: process.c */
    unsigned cores;
    unsigned traits;            /* enum pool_trait, of a ready-made pool */
    uint32_t arena_owner;
    bool armed, closing, broken, growing;
    bool sweeping;              /* all jobs are being ended: none is given */
    td_time busy_ns, busy_mark_ns, busy_marked_at;  /* of all workers; and when the share was last computed */
    double busy_share;
    struct pool_closer *closer; /* the task in td_pool_close, while it is parked */
    unsigned long long jobs_given;
    td_pool_stats stats;
    td_histogram sojourn, service;
};

const char *pool_name(const td_pool *pool);
bool pool_has_work(const td_pool *pool);
void pool_wake_closer(td_pool *pool);
unsigned pool_usable_cores(void);

/* td_pool_open, for classes.c; and the end of a pool that holds no job and whose workers have ended. */
int pool_open(td_pool **out, const td_pool_opts *opts, unsigned traits);
void pool_forget(td_pool *pool);

/* How many jobs it has been given, those included that it is done with and we do not know yet. */
static inline unsigned worker_outstanding(const struct worker *worker)
{
    return (unsigned)(worker->tail - worker->head);
}

/* dispatch.c: to the workers' rings. */

/* Gives jobs to workers while there are both; true when it gave one. */
bool pool_dispatch(td_pool *pool);
void pool_patience_over(struct td_timer *timer);

/* Looks, a while from now and again, whether a worker that has to come up is stopped. */
void worker_await(struct worker *worker);

/* The job is past its deadline, and its worker has not begun it: whether that is the worker's fault, which ends it. */
bool worker_is_lost(struct worker *worker, const struct job *job);
void worker_end_lost(struct worker *worker);

void worker_set_busy(struct worker *worker);
void worker_set_not_busy(struct worker *worker);

/* Cores that neither a loop nor a busy worker of this loop's pools occupies. */
int pool_cores_free(const td_pool *pool);

/* ring.c: from there. */

/* Takes the results that are there; true when there were any. */
bool worker_collect(struct worker *worker);

/* Ends a job that was given: takes it back, or asks or kills its worker. */
void job_end_given(struct job *job, int rc);

/* The same, but when it runs it is asked only, and has the outcome that it has. */
void job_let_finish(struct job *job, int rc);

/* Kills the worker that runs this job, which ends with rc then; no other job suffers. */
void worker_kill_over(struct job *job, int rc);

/* Takes back all that the worker has not begun, to the front of the queue. */
void worker_take_back(struct worker *worker);

/* What comes of the jobs of a dead worker. */
void worker_recover(struct worker *worker, int signal);

/* look.c: the loop's looks. */
bool pool_look(struct loop_poller *poller);
bool pool_arm(struct loop_poller *poller);
td_time pool_expects(struct loop_poller *poller);

/* worker.c: their lives. */
int worker_prepare(td_pool *pool, unsigned index);
void worker_start(struct worker *worker);
void worker_idle(struct worker *worker);
void worker_watch(struct worker *worker);     /* its page is looked at from now on */
void worker_kill(struct worker *worker, int rc, td_death cause);
bool worker_check_birth(struct worker *worker);
bool worker_check_end(struct worker *worker);
void worker_gone(struct worker *worker);      /* nothing follows from it; pool_worker_gone may start another */
void worker_end_within_grace(struct worker *worker);
void worker_backoff_over(struct td_timer *timer);
void pool_mended(struct td_timer *timer);

/* crew.c: how many there are. */
unsigned pool_in_service(const td_pool *pool);  /* workers that work, or soon will */
void worker_send_token(struct worker *worker);  /* the retire token: it ends when it comes to it */
void worker_free_left(struct worker *worker);   /* what a job still held that was answered without its thread */
void pool_start_wanted(td_pool *pool);
void pool_retire_surplus(td_pool *pool);
void worker_left_behind(struct job *job);       /* a thread: its job is answered without it */
void worker_came_back(struct worker *worker);   /* such a job has returned */
void pool_window_over(struct td_timer *timer);
void pool_arm_window(td_pool *pool);
double pool_busy_share(td_pool *pool, td_time now);  /* over the last second or so */

/* Called by the kinds. */
void pool_grave_closed(td_pool *pool);
void pool_worker_born(struct worker *worker);
void pool_worker_done(struct worker *worker);                 /* its page says that a job is done */
void pool_worker_gone(struct worker *worker);                 /* it has ended in peace */
void pool_worker_died(struct worker *worker, int signal, td_death cause, const char *how);  /* it is dead and waited for */
void pool_worker_failed(struct worker *worker, int rc);       /* it could not be started */

#endif
