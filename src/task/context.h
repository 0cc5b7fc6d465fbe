/* SPDX-License-Identifier: MIT */
/*
 * The context switch: who runs on which stack. Own assembly on x86-64 and aarch64; ucontext as the reference build
 * (-Dswitch=ucontext). The hooks that sanitizers and Valgrind need to follow a switch are all here.
 *
 * The assembly keeps the callee-saved registers only. The floating-point control words (rounding mode, exception
 * masks) are not switched: a task that changes them must restore them before its next wait.
 */
#ifndef TANDEM_TASK_CONTEXT_H
#define TANDEM_TASK_CONTEXT_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define CONTEXT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONTEXT_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CONTEXT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CONTEXT_TSAN 1
#endif
#endif

#ifdef CONTEXT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CONTEXT_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef __has_include
#if __has_include(<valgrind/memcheck.h>)
#define CONTEXT_VALGRIND 1
#include <valgrind/memcheck.h>
#endif
#endif
#ifdef TD_SWITCH_UCONTEXT
#include <ucontext.h>
#endif

struct context {
#ifdef TD_SWITCH_UCONTEXT
    ucontext_t machine;
#else
    void *sp;
#endif
#ifdef CONTEXT_ASAN
    const void *stack_low;
    size_t stack_size;
#endif
#ifdef CONTEXT_TSAN
    void *fiber;
#endif
};

typedef void (*context_entry)(void *arg);  /* must not return */

/* Prepares a context that starts entry(arg) on the stack [low, low + size). The stack's end is 16-byte aligned. */
void context_make(struct context *context, void *low, size_t size, context_entry entry, void *arg);

/* Describes the thread's own stack, from which the first switch leaves and to which the last one returns. */
void context_adopt_thread(struct context *context);

/* Where the stack pointer was when the context was left; NULL when that is not known. */
static inline const char *context_stack_pointer(const struct context *context)
{
#if !defined(TD_SWITCH_UCONTEXT)
    return context->sp;
#elif defined(__x86_64__)
    return (const char *)context->machine.uc_mcontext.gregs[REG_RSP];
#else
    return NULL;
#endif
}

/*
 * Tells Valgrind that [low, end) is a stack of its own, so that it takes a jump there for a switch and not for a large frame
 * of the stack before. Once for the stack's memory, not for each task. Returns what context_stack_forgotten wants to
 * have before the memory goes. A few nanoseconds where no Valgrind runs, and nothing where it is not installed.
 */
static inline unsigned context_stack_known(void *low, void *end)
{
#ifdef CONTEXT_VALGRIND
    return VALGRIND_STACK_REGISTER(low, end);
#else
    (void)low;
    (void)end;
    return 0;
#endif
}

static inline void context_stack_forgotten(unsigned id)
{
#ifdef CONTEXT_VALGRIND
    VALGRIND_STACK_DEREGISTER(id);
#else
    (void)id;
#endif
}

/* Tells Valgrind of bytes that the kernel wrote outside a system call of the thread, which it cannot see. */
static inline void context_memory_filled(const void *data, size_t size)
{
#ifdef CONTEXT_VALGRIND
    VALGRIND_MAKE_MEM_DEFINED(data, size);
#else
    (void)data;
    (void)size;
#endif
}

#ifdef CONTEXT_TSAN
/* ThreadSanitizer's view of a task that is done. Nobody can destroy the fiber it stands on: whoever runs next does. */
extern _Thread_local void *context_dead_fiber;
#endif

/* What arriving on another stack begins with, under ThreadSanitizer. */
static inline void context_bury(void)
{
#ifdef CONTEXT_TSAN
    if (context_dead_fiber)
        __tsan_destroy_fiber(context_dead_fiber);
    context_dead_fiber = NULL;
#endif
}

/* context_switch.S */
void td_context_jump(void **save_sp, void *load_sp);
void td_context_start(void);

/*
 * td_context_jump, entered by a jump. A call would leave its return address in the processor's prediction of returns,
 * where nothing ever takes it: every `ret` of the functions above would be mispredicted, which cost 9 of 16 ns a switch. This
 * way a task that waits in the same function as the one before it returns as predicted.
 */
static inline void context_jump(void **save_sp, void *load_sp)
{
#if defined(__x86_64__)
    __asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"  /* the project is built without a red zone */
                     "jmp td_context_jump\n"
                     "1:"
                     : "+D"(save_sp), "+S"(load_sp)
                     :
                     : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "mm0", "st", "memory",
                       "cc");
#else
    td_context_jump(save_sp, load_sp);
#endif
}

/* Leaves `from`, continues `to`; returns when somebody switches back. `last`: nobody will (the task is done). */
static inline void context_switch(struct context *from, struct context *to, int last)
{
#ifdef CONTEXT_ASAN
    void *fake = NULL;
    __sanitizer_start_switch_fiber(last ? NULL : &fake, to->stack_low, to->stack_size);
#endif
#ifdef CONTEXT_TSAN
    if (last)
        context_dead_fiber = from->fiber;
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
#ifdef TD_SWITCH_UCONTEXT
    swapcontext(&from->machine, &to->machine);
#else
    context_jump(&from->sp, to->sp);
#endif
#ifdef CONTEXT_ASAN
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
    context_bury();
    (void)last;
}

/* The first thing on a fresh stack. */
static inline void context_arrived(void)
{
#ifdef CONTEXT_ASAN
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    context_bury();
}

/* Before stacks are unmapped: their frames' poison would be found by whoever maps that memory next. */
static inline void context_forget_stacks(void *low, size_t size)
{
#ifdef CONTEXT_ASAN
    __asan_unpoison_memory_region(low, size);
#endif
    (void)low;
    (void)size;
}

#endif
