/* SPDX-License-Identifier: MIT */
/*
 * Ready-made thread pools, by what their jobs wait for. One that computes, one that waits for a disk and one that waits for a
 * name server have nothing in common but that they hold their thread; so each kind has threads of its own, and a lookup
 * never waits behind compression:
 *
 *     rc = td_offload(td_pool_of(TD_CLASS_FILES), load_catalogue, catalogue);
 *
 * Each loop has its own three. One opens at its first use and ends with the loop. A job that finds no idle thread gets a new
 * one at once, up to the maximum; what is idle for a minute ends, but for one. A full queue (64 jobs) makes the caller wait.
 *
 *     class   threads at most                      for
 *     CPU     cores, divided by the loops          what computes; at a lower scheduling weight than loops
 *     FILES   8, and 8 left behind                 calls that wait for a disk or a file server, of any library
 *     NAMES   8, and 8 left behind; 30 s a job     getaddrinfo and its like (td_lookup_opts.system)
 *
 * Left behind are threads in FILES and NAMES whose job is past its deadline, as with td_pool_opts.stuck_max: it hangs on a
 * server that does not answer, so its caller is told -ETIMEDOUT and another thread takes its place. This needs a job whose `arg`
 * is NULL or lies in shared memory. In NAMES it holds for a job whose caller was cancelled, too. With eight left
 * behind, a caller waits for its job's end after all. td_run waits for them before it returns, and says so in the log.
 *
 * The library's own calls of files do not come here: they have threads of their own (td_blocking_statistics).
 */
#ifndef TANDEM_CLASSES_H
#define TANDEM_CLASSES_H

#include "tandem/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum td_class { TD_CLASS_CPU = 0, TD_CLASS_FILES, TD_CLASS_NAMES, TD_CLASSES } td_class;

/*
 * The calling task's loop's pool for a class: for td_offload, td_submit, td_pool_map, statistics and histograms. It is
 * the loop's; td_pool_close of it aborts.
 *
 * Not a checkpoint.  Thread: a task. NULL when there was no memory for it at its first use: the calling functions answer
 * that with -ENOMEM. For what is no class it aborts.
 */
td_pool *td_pool_of(td_class of);

#ifdef __cplusplus
}
#endif
#endif
