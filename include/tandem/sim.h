/* SPDX-License-Identifier: MIT */
/*
 * The simulation: td_run_with(&(td_opts){.backend = TD_BACKEND_SIM, .seed = 4711}, ...) runs a program on a network in
 * memory, in virtual time. Everything that luck decides elsewhere the seed decides here: which of the ready tasks
 * runs next, how long an operation takes, how many bytes a read or a write moves, which connection breaks, which
 * worker dies. The same seed makes the same run, so a failure that one seed in a thousand shows can be looked at as
 * often as need be.
 *
 * Without further asking the network only does what every network may do to a correct program: it delays, and it
 * moves fewer bytes than asked. td_sim_faults makes it worse, td_sim_partition cuts it, td_sim_fail lets the n-th
 * system call fail.
 *
 * What is simulated: listeners, streams and all that is built on them; pools (jobs run on the loop's thread, at a
 * moment and with a duration that the seed draws; see td_sim_faults for deaths); the clock; td_random. A file is read
 * and written for real, at once, and only its completion comes later. td_wait_readable waits for the real descriptor
 * when nothing else is left to do; other threads and processes are as real as ever, and what they do is not
 * repeated by a seed.
 *
 * Everything here is for tasks of a simulated loop; elsewhere it answers -ENOSYS. None of it is a checkpoint.
 */
#ifndef TANDEM_SIM_H
#define TANDEM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Probabilities are between 0 and 1, and each decision draws anew. */
typedef struct td_sim_fault_opts {
    td_time delay_min, delay_max; /* of an operation, or of bytes on their way; delay_max 0: 1 ms */
    double straggler;             /* that a delay is a hundred times as long */
    double partial;               /* that a read or write moves only part of what it could; negative: never; 0: 0.3 */
    double slow_peer;             /* that a connection has a window of a few bytes, and ten times the delays */
    double reset;                 /* an operation on a connection finds it reset, on both sides, bytes on their way lost */
    double refused;               /* a connect is refused, or finds no way */
    double aborted;               /* an accept finds a connection that is gone already */
    double interrupted;           /* -EINTR from the system */
    double shortage;              /* the system is short of descriptors, buffers or memory */
    double death;                 /* a worker dies while it runs a job (of processes only: threads do not die alone) */
} td_sim_fault_opts;

/* Sets what goes wrong from now on; all zero is the beginning's state. Returns 0; -EINVAL for what is out of range. */
int td_sim_faults(const td_sim_fault_opts *opts);

/*
 * Cuts (or, with `cut` false, mends) every way between two addresses, "10.0.0.1" for a host or "10.0.0.1:80" for one
 * listener; NULL is any. Connections that stand stay, and carry nothing; new ones time out as TCP's do. Up to 32 at a
 * time. Returns 0; -EINVAL; -ENOSPC; -ENOENT when nothing of the kind was cut.
 */
int td_sim_partition(const char *a, const char *b, bool cut);

/*
 * The host that td_connect connects from, until the next call: "10.0.0.7". Before the first it is the destination's own.
 * Returns 0 or -EINVAL.
 */
int td_sim_host(const char *host);

/* Calls of the system that can be made to fail. */
typedef enum td_sim_call {
    TD_SIM_SOCKET, TD_SIM_LISTEN, TD_SIM_ACCEPT, TD_SIM_CONNECT, TD_SIM_RECEIVE, TD_SIM_SEND, TD_SIM_FILE,
    TD_SIM_ANY,  /* whichever it is */
    TD_SIM_CALLS
} td_sim_call;

/*
 * Makes the nth call of this kind from now fail once with `error`, a negative errno; nth 1 is the next, 0 none. A test
 * counts n up from 1 until td_sim_statistics says that nothing failed any more: then every call has failed once.
 * Returns 0 or -EINVAL.
 */
int td_sim_fail(td_sim_call call, unsigned long long nth, int error);

typedef struct td_sim_stats {
    unsigned long long calls[TD_SIM_CALLS];  /* made so far */
    unsigned long long failed;               /* by td_sim_fail */
    unsigned long long resets, refused, aborted, interrupted, shortages, partials, deaths, slow_peers, dropped;
    unsigned long long events;               /* in the trace so far */
    uint64_t trace;                          /* a hash over them: equal for equal runs */
    unsigned long long sockets;              /* open now */
} td_sim_stats;

/* Returns 0. */
int td_sim_statistics(td_sim_stats *stats);

/*
 * Writes every further event to a file, a line each: when, what, which. Tasks and descriptors go by number, in the
 * order of their making, so that two runs of a seed can be compared with diff(1). Returns 0 or what opening it failed with.
 */
int td_sim_trace(const char *path);

#ifdef __cplusplus
}
#endif
#endif
