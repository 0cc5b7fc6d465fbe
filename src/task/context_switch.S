/* SPDX-License-Identifier: MIT */
/*
 * void td_context_jump(void **save_sp, void *load_sp)
 *
 * Pushes the callee-saved registers, stores the stack pointer in *save_sp, takes load_sp for it, pops that stack's registers, and
 * leaves by a jump: a `ret` into another stack misses the processor's return prediction, which cost 7.6 against 2.2 ns
 * a switch when measured.
 *
 * td_context_start is where a fresh stack begins. Its unwind information says that nobody called it, so that
 * debuggers and backtraces end there. It goes on by a jump, because an entry that never returns would leave the
 * prediction of returns one call out of step.
 */
#if defined(TD_SWITCH_ASM) && defined(__x86_64__)

    .text
    .globl td_context_jump
    .hidden td_context_jump
    .type td_context_jump, @function
    .p2align 4
td_context_jump:
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    pushq %r12
    .cfi_adjust_cfa_offset 8
    pushq %r13
    .cfi_adjust_cfa_offset 8
    pushq %r14
    .cfi_adjust_cfa_offset 8
    pushq %r15
    .cfi_adjust_cfa_offset 8
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    .cfi_adjust_cfa_offset -8
    popq %r14
    .cfi_adjust_cfa_offset -8
    popq %r13
    .cfi_adjust_cfa_offset -8
    popq %r12
    .cfi_adjust_cfa_offset -8
    popq %rbx
    .cfi_adjust_cfa_offset -8
    popq %rbp
    .cfi_adjust_cfa_offset -8
    popq %rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rcx
    jmpq *%rcx
    .cfi_endproc
    .size td_context_jump, . - td_context_jump

    .globl td_context_start
    .hidden td_context_start
    .type td_context_start, @function
    .p2align 4
td_context_start:
    .cfi_startproc
    .cfi_undefined %rip
    movq %r13, %rdi
    leaq 1f(%rip), %rcx
    pushq %rcx
    jmpq *%r12
    nop
1:  ud2
    .cfi_endproc
    .size td_context_start, . - td_context_start

#elif defined(TD_SWITCH_ASM) && defined(__aarch64__)

    .text
    .globl td_context_jump
    .hidden td_context_jump
    .type td_context_jump, %function
    .p2align 4
td_context_jump:
    .cfi_startproc
    sub sp, sp, #160
    .cfi_adjust_cfa_offset 160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    .cfi_adjust_cfa_offset -160
    br x30
    .cfi_endproc
    .size td_context_jump, . - td_context_jump

    .globl td_context_start
    .hidden td_context_start
    .type td_context_start, %function
    .p2align 4
td_context_start:
    .cfi_startproc
    .cfi_undefined x30
    mov x0, x20
    blr x19
    brk #1
    .cfi_endproc
    .size td_context_start, . - td_context_start

#endif

    .section .note.GNU-stack, "", %progbits
