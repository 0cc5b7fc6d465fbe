/* SPDX-License-Identifier: MIT */
/*
 * What every task did, and when, as a file in the Trace Event format, which ui.perfetto.dev and chrome://tracing open.
 * There is a track for each loop, with a slice for each time that a task ran, arrows from who spawned it, and the number
 * of ready tasks; and an asynchronous track for each task with its waits, named by what it waited for.
 *
 * A loop puts events into a ring of its own, and a thread writes them out: memory is bounded, and what finds the ring full is
 * dropped, counted, and told in the file and in the log. Every event stands for itself, so that a dropped one tears no pair.
 */
#ifndef TANDEM_DEBUG_TRACE_H
#define TANDEM_DEBUG_TRACE_H

#include "loop/loop.h"

struct trace;

/* Creates the file and starts the thread. Returns 0; -ENOMEM; or what open(2) or the thread failed with. */
int trace_open(struct trace **trace, const char *path);

/* Writes what is left and ends the file. No loop is attached any more. */
void trace_close(struct trace *trace);

/* On the loop's thread, before its first task and after its last. Returns 0 or -ENOMEM. */
int trace_attach(struct trace *trace, struct loop *loop);
void trace_detach(struct loop *loop);

#endif
