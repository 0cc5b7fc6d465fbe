/* SPDX-License-Identifier: MIT */
/*
 * Forks: what belongs to a parent process is not to be touched by its child. Whatever is shared with the kernel or
 * with other threads keeps the count of the process that made it, and compares.
 */
#ifndef TANDEM_BASE_FORKS_H
#define TANDEM_BASE_FORKS_H

/* How many calls of fork lie between this process and the program's start. Any thread; safe in a signal handler. */
unsigned forks_count(void);

/* Only the handler that fork runs in the child calls this (src/run/run.c). */
void forks_count_one(void);

#endif
