/* SPDX-License-Identifier: MIT */
#include "run/overflow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "debug/symbols.h"
#include "debug/unwind.h"
#include "loop/fleet.h"

#define SIGNAL_STACK_BYTES (256 * 1024)  /* a dump of a stuck loop is put together on it; untouched pages cost nothing */
#define FRAMES_SHOWN 12

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        /* Nobody is left to tell. */
    }
}

/* Only what is safe in a signal handler: write(2), and reading what this thread itself wrote. */
static void report(const struct sched *sched, const struct stack *stack)
{
    const struct td_task *task = container_of(stack, struct td_task, stack);
    const struct loop *loop = container_of(sched, struct loop, sched);
    char size[24];
    size_t value = stack_size(stack) / 1024;
    char *at = size + sizeof size - 1;

    *at = '\0';
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    say("tandem: stack overflow in the task spawned at ");
    say(task->site);
    if (loop->fleet && loop->fleet->count > 1) {
        say(" on ");
        say(loop->name);
    }
    say(": its stack has ");
    say(at);
    say(" KiB; give it less to keep there, or td_run_with or td_spawn_with a larger stack_size\n");
}

/* The innermost calls: they show who recurses. Nothing here allocates or locks; the alternate stack has room for it. */
static void report_frames(const struct stack *stack, const void *context)
{
    const struct td_task *task = container_of(stack, struct td_task, stack);
    uintptr_t frames[FRAMES_SHOWN];
    struct registers registers;
    struct symbols symbols;
    size_t n;

    registers_of_signal(&registers, context);
    n = unwind(&registers, stack->low, task, frames, FRAMES_SHOWN);
    symbols_open(&symbols);
    for (size_t i = 0; i < n; i++) {
        say("        at ");
        say(symbols_name(&symbols, frames[i]));
        say("\n");
    }
    symbols_close(&symbols);
}

static void faulted(int signal, siginfo_t *info, void *context)
{
    struct sched *sched = sched_current();
    const struct stack *stack = sched ? sched_guard_owner(sched, info->si_addr) : NULL;
    struct sigaction standard = {.sa_handler = SIG_DFL};

    if (stack) {
        report(sched, stack);
        report_frames(stack, context);
    }
    /* Return to the faulting instruction: it faults again, and the program dies as it would have. */
    sigaction(signal, &standard, NULL);
    if (info->si_code <= 0)
        raise(signal);  /* somebody sent it: no instruction would repeat it */
}

static bool is_default(const struct sigaction *action)
{
    return action->sa_handler == SIG_DFL && !(action->sa_flags & SA_SIGINFO);
}

void overflow_guard_open(struct overflow_guard *guard)
{
    struct sigaction action = {.sa_sigaction = faulted, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigaction(SIGSEGV, NULL, &guard->segv_before);
    sigaction(SIGBUS, NULL, &guard->bus_before);
    if (is_default(&guard->segv_before))
        sigaction(SIGSEGV, &action, NULL);
    if (is_default(&guard->bus_before))
        sigaction(SIGBUS, &action, NULL);
}

void overflow_guard_close(struct overflow_guard *guard)
{
    sigaction(SIGSEGV, &guard->segv_before, NULL);
    sigaction(SIGBUS, &guard->bus_before, NULL);
}

void overflow_stack_open(struct overflow_stack *stack)
{
    stack_t alternate = {.ss_size = SIGNAL_STACK_BYTES};

    stack->memory = malloc(SIGNAL_STACK_BYTES);
    if (!stack->memory)
        return;
    alternate.ss_sp = stack->memory;
    sigaltstack(&alternate, &stack->before);
}

void overflow_stack_close(struct overflow_stack *stack)
{
    if (!stack->memory)
        return;
    sigaltstack(&stack->before, NULL);
    free(stack->memory);
}
