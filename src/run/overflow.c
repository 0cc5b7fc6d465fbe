/* SPDX-License-Identifier: MIT */
#include "run/overflow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "debug/symbols.h"
#include "debug/text.h"
#include "debug/unwind.h"
#include "loop/fleet.h"

#define SIGNAL_STACK_BYTES (256 * 1024)  /* a dump of a stuck loop is put together on it; untouched pages cost nothing */
#define FRAMES_SHOWN 12

/* Where the stack pointer was when the signal came. */
static uintptr_t stack_pointer(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    return context->uc_mcontext.sp;
#else
#error "say where a signal's context keeps the stack pointer"
#endif
}

/*
 * The task that has overflowed its stack: the one whose guard was touched, or whose stack pointer is below its stack, for
 * a large array jumps over the guard. NULL when it is another kind of fault.
 */
static const struct td_task *culprit(const void *address, const ucontext_t *context)
{
    struct sched *sched = sched_current();
    const struct stack *stack = sched ? sched_guard_owner(sched, address) : NULL;

    if (stack)
        return container_of(stack, struct td_task, stack);
    return task_running && stack_pointer(context) < (uintptr_t)task_running->stack.low ? task_running : NULL;
}

/* The innermost calls: they show who recurses. Nothing here allocates or locks; the alternate stack has room for it. */
static void add_frames(struct text *text, const struct td_task *task, const ucontext_t *context)
{
    uintptr_t frames[FRAMES_SHOWN];
    struct registers registers;
    struct symbols symbols;
    size_t n;

    registers_of_signal(&registers, context);
    n = unwind(&registers, task->stack.low, task, frames, FRAMES_SHOWN);
    symbols_open(&symbols);
    for (size_t i = 0; i < n; i++) {
        text_add(text, "        at ");
        text_add(text, symbols_name(&symbols, frames[i]));
        text_add(text, "\n");
    }
    symbols_close(&symbols);
}

/* Only what is safe in a signal handler: one write(2), so that reports of several threads do not mix. */
static void report(const struct td_task *task, const ucontext_t *context)
{
    const struct loop *loop = container_of(task->sched, struct loop, sched);
    char lines[4096];
    struct text text = {.data = lines, .room = sizeof lines};

    text_add(&text, "tandem: stack overflow in the task ");
    if (task->name) {
        text_add(&text, task->name);
        text_add(&text, ", ");
    }
    text_add(&text, "spawned at ");
    text_add(&text, task->site);
    if (loop->fleet && loop->fleet->count > 1) {
        text_add(&text, " on ");
        text_add(&text, loop->name);
    }
    text_add(&text, ": its stack has ");
    text_decimal(&text, stack_size(&task->stack) / 1024);
    text_add(&text, " KiB; give it less to keep there, or td_run_with or td_spawn_with a larger stack_size\n");
    add_frames(&text, task, context);
    if (write(STDERR_FILENO, text.data, text.size) < 0) {
        /* Nobody is left to tell. */
    }
}

static void faulted(int signal, siginfo_t *info, void *context)
{
    const struct td_task *task = info->si_code > 0 ? culprit(info->si_addr, context) : NULL;
    struct sigaction standard = {.sa_handler = SIG_DFL};

    if (task)
        report(task, context);
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
