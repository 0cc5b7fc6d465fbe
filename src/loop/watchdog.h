/* SPDX-License-Identifier: MIT */
/*
 * The watchdog: one thread of the process that looks at every loop from outside. It says which task holds a loop (law 5),
 * and prints the tasks of all loops when asked to, by SIGQUIT or td_dump.
 */
#ifndef TANDEM_LOOP_WATCHDOG_H
#define TANDEM_LOOP_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "debug/inspect.h"
#include "loop/loop.h"

/* What is known about one loop. */
struct watchdog {
    struct td_list link;              /* in the process's list, while the loop is watched */
    struct inspected inspected;
    struct {                          /* at the last look: two looks at the same resumption, far enough apart, are a stall */
        uint64_t switches;
        td_time since, cpu_ns;
        bool is_reported;
    } sight;
    struct {                          /* of the present minute */
        td_time began;
        unsigned reports, suppressed;
    } minute;
};

/*
 * Called on the loop's thread: the loop is watched until watchdog_stop, and stalls longer than its stall_after are
 * reported. The first loop of the process starts the thread, and makes SIGQUIT print the tasks where the program has left
 * that signal alone, unless `.keep_signals` says that it is to stay so. Returns 0 or a negative errno.
 */
int watchdog_start(struct watchdog *dog, struct loop *loop);
void watchdog_stop(struct watchdog *dog);

/* A wish to see every loop's tasks. Its memory is the asker's until `done` is called, on the watchdog's thread. */
struct dump_request {
    struct dump_request *next;
    int fd;
    void (*done)(struct dump_request *request, int rc);  /* 0, or what writing failed with */
};

/* Hands the request to the thread. False: there is none, as no loop is watched. */
bool watchdog_dump(struct dump_request *request);

#endif
