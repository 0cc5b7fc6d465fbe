/* SPDX-License-Identifier: MIT */
/*
 * What a thread of this process is doing, as the kernel tells it.
 */
#ifndef TANDEM_DEBUG_THREAD_H
#define TANDEM_DEBUG_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "debug/unwind.h"

struct thread_look {
    char state;        /* the kernel's letter: R runs or wants to, S and D wait; '?' unknown */
    bool is_in_call;   /* it waits in a system call; then the rest is known */
    long call;         /* its number */
    uintptr_t sp, pc;
};

/* Any thread; allocates nothing. What the kernel does not tell (it may be configured so) stays unknown. */
void thread_look(int tid, struct thread_look *look);

/* A system call's name, NULL for those that hardly ever block. */
const char *call_name(long call);

/* The registers of a thread in a system call, as far as they are known: where it is, and its stack. */
void registers_of_look(struct registers *registers, const struct thread_look *look);

#endif
