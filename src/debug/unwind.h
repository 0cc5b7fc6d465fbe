/* SPDX-License-Identifier: MIT */
/*
 * Backtraces of stacks that nobody runs on: of a parked task from the registers it left behind, of an interrupted thread
 * from those a signal handler was given. It reads the unwind tables (.eh_frame) that every program carries, and the stack,
 * and nothing else: it allocates nothing, locks nothing, opens nothing, so a signal handler may use it
 * (docs/decisions/0016-own-unwinder.md).
 */
#ifndef TANDEM_DEBUG_UNWIND_H
#define TANDEM_DEBUG_UNWIND_H

#include <stddef.h>
#include <stdint.h>

#include "debug/cfi.h"
#include "task/context.h"

#if defined(__x86_64__)
enum { UNWIND_SP = 7, UNWIND_PC = 16, UNWIND_REGISTERS = CFI_REGISTERS };
#else
enum { UNWIND_SP = 31, UNWIND_PC = 32, UNWIND_REGISTERS = CFI_REGISTERS };
#endif

#define FRAMES_MAX 32

/* Where a stack stands: enough to walk it. */
struct registers {
    uintptr_t at[UNWIND_REGISTERS];
    uint64_t known;       /* a bit for each register whose value is known */
    int pc_is_exact;      /* interrupted there; otherwise it is where a call will return to */
};

/* The registers of a context that is not running, and whose stack pointer is sound. */
void registers_of_context(struct registers *registers, const struct context *context);

/* Those of a thread that a signal handler interrupted; the handler's third argument. */
void registers_of_signal(struct registers *registers, const void *ucontext);

/*
 * Writes the code addresses of the stack's frames to frames[0..count), the innermost first, each inside the instruction that
 * is running or calling. Reads stack words of [low, high) only. Returns how many; the walk ends early, without
 * harm, where a table is missing or what it reads makes no sense. Any thread, and signal handlers.
 */
size_t unwind(const struct registers *registers, const void *low, const void *high, uintptr_t *frames, size_t count);

#endif
