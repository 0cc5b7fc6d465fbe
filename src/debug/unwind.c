/* SPDX-License-Identifier: MIT */
/*
 * One step of the walk: find the function's description (FDE) by the loader's binary search table, run its little program
 * (DWARF 5, 6.4.2) up to the address in question, and apply the row of rules that it leaves.
 *
 * A stack word outside of the given bounds is never read, so that a damaged stack ends the walk and not the program.
 */
#include "debug/unwind.h"

#include <dlfcn.h>
#include <link.h>
#include <stdbool.h>
#include <string.h>
#include <ucontext.h>

struct stack_view {
    uintptr_t low, high;
};

/* Another task's stack: its redzones and its owner are none of a sanitizer's business here. */
__attribute__((no_sanitize("address", "thread"))) static bool stack_word(const void *user, uintptr_t at, uintptr_t *value)
{
    const struct stack_view *view = user;

    if (at % sizeof *value != 0 || at < view->low || at > view->high - sizeof *value)
        return false;
    *value = *(const volatile uintptr_t *)at;
    return true;
}

static void set_register(struct registers *registers, int number, uintptr_t value)
{
    registers->at[number] = value;
    registers->known |= (uint64_t)1 << number;
}

void registers_of_signal(struct registers *registers, const void *ucontext)
{
    const ucontext_t *context = ucontext;

    memset(registers, 0, sizeof *registers);
    registers->pc_is_exact = 1;
#if defined(__x86_64__)
    static const int numbers[UNWIND_REGISTERS] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
        REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};

    for (int i = 0; i < UNWIND_REGISTERS; i++)
        set_register(registers, i, (uintptr_t)context->uc_mcontext.gregs[numbers[i]]);
#elif defined(__aarch64__)
    for (int i = 0; i < UNWIND_SP; i++)
        set_register(registers, i, context->uc_mcontext.regs[i]);
    set_register(registers, UNWIND_SP, context->uc_mcontext.sp);
    set_register(registers, UNWIND_PC, context->uc_mcontext.pc);
#else
    (void)context;
#endif
}

#ifdef TD_SWITCH_UCONTEXT

void registers_of_context(struct registers *registers, const struct context *context)
{
    registers_of_signal(registers, &context->machine);
    registers->pc_is_exact = 0;  /* where swapcontext, or the start of the task, goes on */
}

#else

/* What td_context_jump pushed, lowest word first: see context_switch.S. */
__attribute__((no_sanitize("address", "thread"))) void registers_of_context(struct registers *registers,
                                                                            const struct context *context)
{
#if defined(__x86_64__)
    static const int pushed[] = {15, 14, 13, 12, 3, 6, UNWIND_PC};  /* r15 to r12, rbx, rbp, and the way back */
    enum { WORDS = 7 };
#else
    static const int pushed[] = {19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, UNWIND_PC};  /* then d8 to d15 */
    enum { WORDS = 20 };
#endif
    const volatile uintptr_t *sp = context->sp;

    memset(registers, 0, sizeof *registers);
    for (size_t i = 0; i < sizeof pushed / sizeof *pushed; i++)
        set_register(registers, pushed[i], sp[i]);
    set_register(registers, UNWIND_SP, (uintptr_t)(sp + WORDS));
    registers->pc_is_exact = registers->at[UNWIND_PC] == (uintptr_t)td_context_start;  /* it has not begun */
}

#endif

/* The value that a rule gives to a register of the caller. False: it cannot be known. */
static bool apply(const struct cfi_rule *rule, const struct registers *from, int number, uintptr_t cfa,
                  const struct stack_view *view, uintptr_t *value)
{
    struct cfi_machine machine = {from->at, from->known, UNWIND_REGISTERS, stack_word, view};

    switch (rule->kind) {
    case CFI_SAME:
        *value = from->at[number];
        return from->known >> number & 1;
    case CFI_AT:
        return stack_word(view, cfa + (uintptr_t)rule->offset, value);
    case CFI_IS:
        *value = cfa + (uintptr_t)rule->offset;
        return true;
    case CFI_REGISTER:
        *value = rule->offset < UNWIND_REGISTERS ? from->at[rule->offset] : 0;
        return rule->offset < UNWIND_REGISTERS && (from->known >> rule->offset & 1);
    case CFI_AT_EXPRESSION:
        return cfi_evaluate(&machine, rule->code, rule->code_end, &cfa, value) && stack_word(view, *value, value);
    case CFI_IS_EXPRESSION:
        return cfi_evaluate(&machine, rule->code, rule->code_end, &cfa, value);
    case CFI_UNDEFINED:
    default:
        return false;
    }
}

static bool find_cfa(const struct cfi_row *row, const struct registers *from, const struct stack_view *view, uintptr_t *cfa)
{
    struct cfi_machine machine = {from->at, from->known, UNWIND_REGISTERS, stack_word, view};

    if (row->cfa.kind == CFI_IS_EXPRESSION)
        return cfi_evaluate(&machine, row->cfa.code, row->cfa.code_end, NULL, cfa);
    if (row->cfa_register >= UNWIND_REGISTERS || !(from->known >> row->cfa_register & 1))
        return false;
    *cfa = from->at[row->cfa_register] + (uintptr_t)row->cfa.offset;
    return true;
}

/* Replaces the registers by the caller's. False at the outermost frame, or where the trail is lost. */
static bool step(struct registers *registers, const struct stack_view *view)
{
    uintptr_t pc = registers->at[UNWIND_PC] - !registers->pc_is_exact, cfa;
    struct registers caller = {.pc_is_exact = 0};
    struct dl_find_object object;
    struct cfi_row row;

    if (_dl_find_object((void *)pc, &object) != 0 || !object.dlfo_eh_frame ||
        !cfi_find(object.dlfo_eh_frame, pc, &row) || !find_cfa(&row, registers, view, &cfa))
        return false;
    for (int i = 0; i < UNWIND_REGISTERS; i++) {
        uintptr_t value = 0;

        if (apply(&row.rules[i], registers, i, cfa, view, &value))
            set_register(&caller, i, value);
    }
    if (row.rules[UNWIND_SP].kind == CFI_SAME)
        set_register(&caller, UNWIND_SP, cfa);
#if !defined(__x86_64__)
    {  /* the way back is in x30, and the pc has no rule of its own */
        uintptr_t value = 0;

        caller.known &= ~((uint64_t)1 << UNWIND_PC);
        if (apply(&row.rules[row.return_register], registers, (int)row.return_register, cfa, view, &value))
            set_register(&caller, UNWIND_PC, value);
    }
#else
    if (row.rules[UNWIND_PC].kind == CFI_SAME)
        return false;  /* the tables say where every caller is, but for the outermost frame */
#endif
    caller.pc_is_exact = row.is_signal_frame;
    if (!(caller.known >> UNWIND_PC & 1) || caller.at[UNWIND_PC] == 0 ||
        (caller.at[UNWIND_SP] == registers->at[UNWIND_SP] && caller.at[UNWIND_PC] == registers->at[UNWIND_PC]))
        return false;
    *registers = caller;
    return true;
}

size_t unwind(const struct registers *registers, const void *low, const void *high, uintptr_t *frames, size_t count)
{
    struct stack_view view = {(uintptr_t)low, (uintptr_t)high};
    struct registers at = *registers;
    size_t n = 0;

    if (count == 0 || !(at.known >> UNWIND_PC & 1))
        return 0;
    do
        frames[n++] = at.at[UNWIND_PC] - !at.pc_is_exact;
    while (n < count && step(&at, &view));
    return n;
}
