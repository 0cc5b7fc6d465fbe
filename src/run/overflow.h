/* SPDX-License-Identifier: MIT */
/*
 * A task that overflows its stack hits the guard page; this names the task before the program dies of it.
 */
#ifndef TANDEM_RUN_OVERFLOW_H
#define TANDEM_RUN_OVERFLOW_H

#include <signal.h>

/* The handlers, which are the whole process's. */
struct overflow_guard {
    struct sigaction segv_before, bus_before;
};

/* Installs them, unless the program (or a sanitizer) has its own. Around all that follows. */
void overflow_guard_open(struct overflow_guard *guard);
void overflow_guard_close(struct overflow_guard *guard);

/* The alternate stack they run on: one for each thread that runs a loop. */
struct overflow_stack {
    stack_t before;
    void *memory;
};

/* For the calling thread. Without memory for it an overflow goes unnamed. */
void overflow_stack_open(struct overflow_stack *stack);
void overflow_stack_close(struct overflow_stack *stack);

#endif
