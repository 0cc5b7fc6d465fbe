/* SPDX-License-Identifier: MIT */
#include "run/overflow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "task/task.h"

#define SIGNAL_STACK_BYTES (64 * 1024)

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        /* Nobody is left to tell. */
    }
}

/* Only what is safe in a signal handler: write(2), and reading what this thread itself wrote. */
static void report(const struct stack *stack)
{
    const struct td_task *task = container_of(stack, struct td_task, stack);
    char size[24];
    size_t value = stack_size(stack) / 1024;
    char *at = size + sizeof size - 1;

    *at = '\0';
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    say("tandem: stack overflow in the task spawned at ");
    say(task->site);
    say(": its stack has ");
    say(at);
    say(" KiB; give it less to keep there, or td_run_with or td_spawn_with a larger stack_size\n");
}

static void faulted(int signal, siginfo_t *info, void *context)
{
    struct sched *sched = sched_current();
    const struct stack *stack = sched ? sched_guard_owner(sched, info->si_addr) : NULL;
    struct sigaction standard = {.sa_handler = SIG_DFL};

    (void)context;
    if (stack)
        report(stack);
    /* Return to the faulting instruction: it faults again, and the program dies as it would have. */
    sigaction(signal, &standard, NULL);
    if (info->si_code <= 0)
        raise(signal);  /* somebody sent it: no instruction would repeat it */
}

void overflow_guard_open(struct overflow_guard *guard)
{
    struct sigaction action = {.sa_sigaction = faulted, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t stack = {.ss_size = SIGNAL_STACK_BYTES};

    memset(guard, 0, sizeof *guard);
    guard->stack = malloc(SIGNAL_STACK_BYTES);
    if (!guard->stack)
        return;
    stack.ss_sp = guard->stack;
    sigaltstack(&stack, &guard->before);
    sigaction(SIGSEGV, NULL, &guard->segv_before);
    sigaction(SIGBUS, NULL, &guard->bus_before);
    /* A program (or a sanitizer) that handles the signal itself keeps its handler. */
    if (guard->segv_before.sa_handler == SIG_DFL && !(guard->segv_before.sa_flags & SA_SIGINFO))
        sigaction(SIGSEGV, &action, NULL);
    if (guard->bus_before.sa_handler == SIG_DFL && !(guard->bus_before.sa_flags & SA_SIGINFO))
        sigaction(SIGBUS, &action, NULL);
}

void overflow_guard_close(struct overflow_guard *guard)
{
    if (!guard->stack)
        return;
    sigaction(SIGSEGV, &guard->segv_before, NULL);
    sigaction(SIGBUS, &guard->bus_before, NULL);
    sigaltstack(&guard->before, NULL);
    free(guard->stack);
}
