/* SPDX-License-Identifier: MIT */
/*
 * Running: one loop or several, and the first task on each.
 *
 * Forks. A task may call fork. The parent goes on as if nothing had happened. The child is a copy of that one task and
 * of nothing that could wake it, so whatever waits or starts something answers -EOWNERDEAD there, scopes are joined
 * without their tasks, and the loop, the pools and the shared memory stay the parent's alone. The child is to do as little
 * as a child of a program with threads may, and to end with _exit or one of the exec calls; one that returns from its task
 * instead is aborted with a sentence. Through an exec goes no descriptor of the library's.
 *
 *     pid_t pid = fork();
 *     if (pid == 0) {
 *         execl("/usr/bin/sox", "sox", "-", "out.wav", (char *)NULL);
 *         _exit(127);
 *     }
 */
#ifndef TANDEM_RUN_H
#define TANDEM_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/scope.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum td_backend {
    TD_BACKEND_AUTO = 0,  /* uring where the kernel allows it, epoll otherwise; the log says why */
    TD_BACKEND_URING,     /* fails where the kernel does not allow it */
    TD_BACKEND_EPOLL,
    TD_BACKEND_SIM,       /* simulated: virtual time, an in-memory network with faults, everything from one seed */
} td_backend;

/*
 * Virtual time. The clock begins at one second, stands while tasks run and while completions come in, and jumps to the
 * next timer when nothing is ready: a program that sleeps for a day is done at once, and its sleeps come in the right
 * order. Before a jump the loop looks for completions without waiting. While jobs are under way in pools it waits
 * for them, and the clock stands, but not for longer than the next timer is away: a job that hangs still meets its
 * deadline. What happens outside of the loop (another process that answers, another thread that sends) is not in
 * virtual time, and is not waited for while there is a timer to jump to. Only td_now and what is built on it are
 * virtual, on the loop's thread; functions in pools read the machine's clock.
 */

/* Every field may be zero, for its default. */
typedef struct td_opts {
    td_backend backend;
    unsigned loops;           /* threads with a loop each; 0 is 1; fn(arg) runs as the first task of every one */
    size_t stack_size;        /* bytes of a task's stack, guard included; 0 is 64 KiB; at least 16 KiB */
    td_time stall_after;      /* the watchdog reports a task that holds the loop longer; 0 is 25 ms, TD_FOREVER is never */
    size_t shared_bytes_max;  /* bytes of shared memory at the most; 0: half of the machine's memory, or of the container's */
    uint64_t seed;            /* of td_random, and of all that the simulation decides; 0 asks the system for one */
    bool virtual_time;        /* the clock stands while tasks run and jumps to the next timer when all wait; so with sim */
    bool receive_one_shot;    /* streams receive one operation after the other, each with a buffer of its own: for comparing */
    bool keep_signals;        /* leave SIGINT, SIGTERM and SIGQUIT alone */
    const char *trace_path;   /* write what every task did, and when, to this file (Trace Event format); NULL: do not */
} td_opts;

/*
 * Runs a loop on the calling thread with fn(arg) as its first task, until that task and all it spawned are done.
 *
 * Thread: any that runs no loop yet. Start it before other threads exist where process pools are wanted: their
 * workers are forked from a helper process that is itself forked here.
 * Returns what fn returned; -EDEADLK when every task waited and nothing was pending (the log lists them; their
 * waits ended with -ECANCELED); -ENOMEM, -ENOSYS, -EPERM and the like when no loop could be set up (the log has a
 * sentence); -EBUSY inside a task, where a loop runs already.
 */
int td_run(td_fn fn, void *arg);

/*
 * Signals. SIGINT and SIGTERM cancel the root scopes of all loops: every wait answers -ECANCELED, shielded scopes have
 * their grace time, and td_run returns what fn returned then. A second one of the same kind acts as by default, and ends
 * the program. SIGQUIT prints the tasks, and the program goes on. All this only where the program had left the signal at
 * SIG_DFL, and not with .keep_signals; a program that blocks the signals to read them itself still does.
 */

/*
 * The same, with options; NULL stands for the defaults. Also -EINVAL for options out of range, and -EAGAIN when there
 * is no thread for a loop.
 *
 * With `.loops = N` there are N threads with a loop each; the calling thread is loop 0. fn(arg) runs as the first task of
 * every loop, once all of them are set up. Returns when all loops are done: the first failure of any, or what fn
 * returned on loop 0. The failure of one loop cancels the others, as td_scope_cancel would cancel a scope around all of
 * theirs. Virtual time is the time of one loop, and goes with one loop only.
 *
 * Loops share nothing but shared memory and mailboxes (tandem/mailbox.h): each opens its own listener
 * on the same port, its own pools, its own channels.
 *
 *     static int serve(void *arg)
 *     {
 *         td_listener *listener;
 *         int rc = td_listen(&listener, "127.0.0.1:8080", &(td_listen_opts){.share_port = true});
 *         ...
 *     }
 *
 *     td_run_with(&(td_opts){.loops = 4}, serve, NULL);
 *
 * Deadlock, with several loops. A loop whose tasks wait, with nothing under way that could wake one, is deadlocked:
 * -EDEADLK. But for those that wait in a mailbox, other loops count: while another loop is alive and waits for something
 * else, or an outsider holds a mailbox (td_mailbox_retain), they may still be sent something. When all that are left wait
 * for each other, it is a deadlock of them all.
 */
int td_run_with(const td_opts *opts, td_fn fn, void *arg);

/* The calling task's loop, from 0; and how many loops there are. Thread: a task. Not a checkpoint. */
unsigned td_loop_index(void);
unsigned td_loop_count(void);

/* What the calling task's loop has done so far. */
typedef struct td_loop_stats {
    const char *backend;         /* "uring", "epoll" or "sim" */
    size_t tasks;                /* alive now */
    unsigned long long turns;    /* of the loop */
    unsigned long long switches; /* task resumptions */
    unsigned long long stalls;   /* turns in which something held the loop longer than stall_after */
    td_time stalled_ns;          /* in those turns, altogether */
    td_time lag_sum_ns;          /* how long ready I/O and timers may have waited: the length of each turn, summed */
    unsigned long long lag_bucket[16]; /* turns no longer than 2^i * 64 microseconds; the last has all that were longer */
} td_loop_stats;

/* Thread: a task. Not a checkpoint. */
void td_loop_statistics(td_loop_stats *stats);

/*
 * The threads of the calling task's loop for calls that block in the kernel: of files where the backend has no
 * operation for them, of folders, the start of programs. What waits for a disk gets six of the eight threads at the most, so
 * that asking for a name or a state does not wait behind it.
 */
typedef struct td_blocking_stats {
    unsigned threads, threads_max, busy;  /* started (they stay), at the most, and those that do a call */
    size_t queued, queued_peak;           /* calls that wait for a thread: their tasks wait with them, and can be cancelled */
    td_time oldest_age_ns;                /* how long the one that waits longest has done so */
    td_time longest_ns;                   /* how long the longest call under way takes already: a dead disk or file server */
    unsigned long long calls;             /* so far */
    unsigned long long threads_refused;   /* how often the system refused a thread, so that calls waited for those there are */
} td_blocking_stats;

/* Thread: a task. Not a checkpoint. */
void td_blocking_statistics(td_blocking_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
