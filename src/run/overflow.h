/* SPDX-License-Identifier: MIT */
/*
 * A task that overflows its stack hits the guard page; this names the task before the program dies of it.
 */
#ifndef TANDEM_RUN_OVERFLOW_H
#define TANDEM_RUN_OVERFLOW_H

#include <signal.h>

struct overflow_guard {
    stack_t before;
    struct sigaction segv_before, bus_before;
    void *stack;
};

/* Installs the handlers and an alternate signal stack for the calling thread. Without memory for it, does nothing. */
void overflow_guard_open(struct overflow_guard *guard);
void overflow_guard_close(struct overflow_guard *guard);

#endif
