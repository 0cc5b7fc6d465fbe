/* SPDX-License-Identifier: MIT */
/*
 * Call frame information: what .eh_frame says about a code address, read in place (Linux Standard Base 5, 10.6; DWARF 5, 6.4).
 * No memory, no locks; signal handlers may use all of it.
 */
#ifndef TANDEM_DEBUG_CFI_H
#define TANDEM_DEBUG_CFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#define CFI_REGISTERS 17  /* rax to r15, and where the call returns to; System V ABI, 3.6.2 */
#else
#define CFI_REGISTERS 33  /* AArch64: x0 to x30, sp, and one of ours for the pc */
#endif

enum cfi_kind { CFI_SAME, CFI_UNDEFINED, CFI_AT, CFI_IS, CFI_REGISTER, CFI_AT_EXPRESSION, CFI_IS_EXPRESSION };

/* How a register of the caller is found: at cfa + offset, as cfa + offset, in a register, by an expression. */
struct cfi_rule {
    enum cfi_kind kind;
    int64_t offset;                   /* or a register's number */
    const uint8_t *code, *code_end;   /* of an expression */
};

/* The rules that hold at one code address. */
struct cfi_row {
    struct cfi_rule cfa;              /* CFI_IS: cfa_register + offset; or CFI_IS_EXPRESSION */
    uint64_t cfa_register;
    struct cfi_rule rules[CFI_REGISTERS];
    uint64_t return_register;
    bool is_signal_frame;
};

/* What an expression may look at. */
struct cfi_machine {
    const uintptr_t *registers;
    uint64_t known;
    size_t count;
    bool (*word)(const void *user, uintptr_t at, uintptr_t *value);  /* false: may not be read */
    const void *user;
};

/* Finds the row for pc by a module's .eh_frame_hdr. False when it has none, or one that we do not understand. */
bool cfi_find(const void *eh_frame_hdr, uintptr_t pc, struct cfi_row *row);

/* Evaluates an expression; `first` is what the stack holds at the start, or NULL. */
bool cfi_evaluate(const struct cfi_machine *machine, const uint8_t *code, const uint8_t *end, const uintptr_t *first,
                  uintptr_t *value);

#endif
