/* SPDX-License-Identifier: MIT */
#include "task/context.h"

#include <pthread.h>
#include <stdint.h>

#ifdef TD_SWITCH_UCONTEXT

/* makecontext passes ints only: pointers travel in halves. */
static void start(unsigned entry_high, unsigned entry_low, unsigned arg_high, unsigned arg_low)
{
    context_entry entry = (context_entry)(((uintptr_t)entry_high << 32) | entry_low);

    entry((void *)(((uintptr_t)arg_high << 32) | arg_low));
}

static void make_machine(struct context *context, void *low, size_t size, context_entry entry, void *arg)
{
    uintptr_t e = (uintptr_t)entry, a = (uintptr_t)arg;

    getcontext(&context->machine);
    context->machine.uc_stack.ss_sp = low;
    context->machine.uc_stack.ss_size = size;
    context->machine.uc_link = NULL;
    makecontext(&context->machine, (void (*)(void))start, 4, (unsigned)(e >> 32), (unsigned)e, (unsigned)(a >> 32),
                (unsigned)a);
}

#else

/* What td_context_jump pops when it enters the context for the first time: see context_switch.S. */
static void make_machine(struct context *context, void *low, size_t size, context_entry entry, void *arg)
{
    void **top = (void **)(void *)((char *)low + size);
#if defined(__x86_64__)
    enum { FRAME = 9, ENTRY = 3, ARG = 2, BASE = 5, RETURN = 6 };  /* r15 r14 r13 r12 rbx rbp rip, and two for alignment */
#elif defined(__aarch64__)
    enum { FRAME = 20, ENTRY = 0, ARG = 1, BASE = 10, RETURN = 11 };  /* x19..x28 x29 x30 d8..d15 */
#else
#error "no context switch for this processor: build with -Dswitch=ucontext"
#endif
    void **sp = top - FRAME;

    sp[BASE] = NULL;  /* a walk along frame pointers ends here; the other registers' values do not matter */
    sp[ENTRY] = (void *)(uintptr_t)entry;
    sp[ARG] = arg;
    sp[RETURN] = (void *)(uintptr_t)td_context_start;
    context->sp = sp;
}

#endif

#ifdef CONTEXT_TSAN
/* tidy: allow, because it belongs to the thread as its stack does, and lives for the length of one switch */
_Thread_local void *context_dead_fiber;
#endif

void context_make(struct context *context, void *low, size_t size, context_entry entry, void *arg)
{
    make_machine(context, low, size, entry, arg);
#ifdef CONTEXT_ASAN
    /* The last owner's frames never returned: their poison would be found by the next one. */
    __asan_unpoison_memory_region(low, size);
    context->stack_low = low;
    context->stack_size = size;
#endif
#ifdef CONTEXT_TSAN
    context->fiber = __tsan_create_fiber(0);
#endif
}

void context_adopt_thread(struct context *context)
{
#ifdef CONTEXT_ASAN
    pthread_attr_t attr;
    void *low = NULL;
    size_t size = 0;

    if (pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstack(&attr, &low, &size);
        pthread_attr_destroy(&attr);
    }
    context->stack_low = low;
    context->stack_size = size;
#endif
#ifdef CONTEXT_TSAN
    context->fiber = __tsan_get_current_fiber();
#endif
    (void)context;
}
