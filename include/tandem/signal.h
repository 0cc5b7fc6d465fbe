/* SPDX-License-Identifier: MIT */
/*
 * Signals as something a task waits for.
 *
 * A stream takes some signals of the process over, from its opening to its close; then their dispositions are what they
 * were before. Several streams, of several loops too, may take the same signal: each gets it. While a stream has SIGINT or
 * SIGTERM, these do not cancel the run.
 *
 * A handler writes what came into the stream's pipe; signalfd would need the signals blocked in every thread of the
 * program, and a library cannot see to that. So the other side of it: a signal that all threads have blocked does not
 * come. A forked child that has not called exec gets none.
 */
#ifndef TANDEM_SIGNAL_H
#define TANDEM_SIGNAL_H

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_signals td_signals;

typedef struct td_signal_info {
    int signal;
    pid_t process;   /* who sent it, and as which user; 0 when the kernel did */
    uid_t user;
    int value;       /* with sigqueue: what was sent along */
    unsigned lost;   /* signals before this one that found the stream full: thousands wait in it, hundreds at least */
} td_signal_info;

/*
 * Opens a stream of the signals in a list that ends with 0: `td_signals_open(&signals, (const int[]){SIGHUP, SIGTERM, 0})`.
 *
 * Not a checkpoint; a task, whose loop the stream then belongs to.
 * Returns 0 and *signals; -EINVAL for an empty list, or for a signal that cannot be waited for (SIGKILL, SIGSTOP) or that
 * says that the program is broken (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS); -EBUSY when the process has
 * 32 streams; -EMFILE, -ENFILE, -ENOMEM. On an error no disposition has changed.
 */
int td_signals_open(td_signals **signals, const int *list);

/*
 * Waits for the next signal of the stream. Signals of one kind that come in quick succession may be one, as always; one
 * that came before the call is not lost. One task at a time.
 *
 * Checkpoint: yes. Returns 0 and *info (which may be NULL); -ECANCELED, and then no signal was taken.
 */
int td_signals_wait(td_signals *signals, td_signal_info *info);

/* Closes it; no task may be waiting. Signals that nobody took are dropped. Not a checkpoint. */
void td_signals_close(td_signals *signals);

#ifdef __cplusplus
}
#endif
#endif
