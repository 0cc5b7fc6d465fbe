/* SPDX-License-Identifier: MIT */
/*
 * Looking into a running program.
 */
#ifndef TANDEM_DEBUG_H
#define TANDEM_DEBUG_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writes the tree of scopes and tasks of every loop of the process to a descriptor, as SIGQUIT does on standard error: for each
 * task what it does or waits for, since when, where it was spawned, its function, its stack and a backtrace; for each scope
 * its tasks, its deadline, and why it was cancelled. Tasks of a scope that are alike are told once, with their number.
 * The text is for people and may change; at most 1 MiB is written for a loop.
 *
 * Any thread, also when a loop is stuck: one that computes is interrupted for a moment, one that is in a system call is
 * read from outside. A calling task lets others run meanwhile, and is not cancelled by it: not a checkpoint.
 * Returns 0; -ENOENT when the process runs no loop; -ENOMEM; -EAGAIN when nobody read the descriptor for a second; what
 * write(2) failed with; -EOWNERDEAD in a forked child.
 */
int td_dump(int fd);

#ifdef __cplusplus
}
#endif
#endif
