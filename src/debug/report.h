/* SPDX-License-Identifier: MIT */
/*
 * What people read: the report of a stall, and the dumps of loops.
 */
#ifndef TANDEM_DEBUG_REPORT_H
#define TANDEM_DEBUG_REPORT_H

#include "debug/inspect.h"

/* Logs who holds the loop since wall_ns, of which its thread computed cpu_ns, with a backtrace. Not the loop's thread. */
void report_stall(struct inspected *inspected, td_time wall_ns, td_time cpu_ns);

/* Writes the trees of all watched loops (a list of struct watchdog) to a descriptor. Returns 0 or a negative errno. */
int report_all(struct td_list *dogs, int fd);

/* Logs the tree of the caller's own loop, between two tasks, a line each. */
void report_to_log(struct loop *loop);

#endif
