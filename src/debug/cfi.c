/* SPDX-License-Identifier: MIT */
#include "debug/cfi.h"

#include <string.h>

#define STATES_MAX 2        /* nested remember_state: compilers nest them once */
#define EXPRESSION_STACK 16

/* A place in the tables. Reading past the end yields zeros and sets `bad`. */
struct cursor {
    const uint8_t *at, *end;
    bool bad;
};

static uint64_t take(struct cursor *cursor, size_t bytes)
{
    uint64_t value = 0;

    if ((size_t)(cursor->end - cursor->at) < bytes) {
        cursor->bad = true;
        return 0;
    }
    memcpy(&value, cursor->at, bytes);  /* both processors are little-endian */
    cursor->at += bytes;
    return value;
}

static uint64_t take_uleb(struct cursor *cursor)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = take(cursor, 1);

        value |= (byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    cursor->bad = true;
    return 0;
}

static int64_t take_sleb(struct cursor *cursor)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = take(cursor, 1);

        value |= (byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return (int64_t)(byte & 0x40 && shift + 7 < 64 ? value | ~(uint64_t)0 << (shift + 7) : value);
    }
    cursor->bad = true;
    return 0;
}

/* A pointer in one of the encodings of the Linux Standard Base, 10.5. `base` is what a data-relative one adds to. */
static uintptr_t take_pointer(struct cursor *cursor, uint8_t encoding, uintptr_t base)
{
    uintptr_t here = (uintptr_t)cursor->at, value;

    switch (encoding & 0x0f) {
    case 0x00: case 0x04: case 0x0c: value = (uintptr_t)take(cursor, 8); break;
    case 0x01: value = (uintptr_t)take_uleb(cursor); break;
    case 0x02: value = (uintptr_t)take(cursor, 2); break;
    case 0x03: value = (uintptr_t)take(cursor, 4); break;
    case 0x09: value = (uintptr_t)take_sleb(cursor); break;
    case 0x0a: value = (uintptr_t)(int16_t)take(cursor, 2); break;
    case 0x0b: value = (uintptr_t)(int32_t)take(cursor, 4); break;
    default: cursor->bad = true; return 0;
    }
    switch (encoding & 0x70) {
    case 0x00: return value;
    case 0x10: return value + here;
    case 0x30: return value + base;
    default: cursor->bad = true; return 0;
    }
}

/* What describes all functions of one kind: how numbers are scaled, which register returns, and the first rules. */
struct cie {
    uint64_t code_align;
    int64_t data_align;
    uint64_t return_register;
    uint8_t pointers;        /* how addresses in its FDEs are encoded */
    bool is_augmented, is_signal_frame;
    struct cursor program;
};

/* An entry's contents, from behind its length on. */
static struct cursor entry_at(const uint8_t *at)
{
    struct cursor entry = {at, at + 4, false};
    uint64_t length = take(&entry, 4);

    entry.end = entry.at + length;
    entry.bad = length == 0 || length == 0xffffffff;  /* the end; a table of more than 4 GiB */
    return entry;
}

static bool read_cie(const uint8_t *at, struct cie *cie)
{
    struct cursor entry = entry_at(at);
    const char *letters;
    uint64_t version;

    memset(cie, 0, sizeof *cie);
    if (take(&entry, 4) != 0)
        return false;
    version = take(&entry, 1);
    letters = (const char *)entry.at;
    while (take(&entry, 1) != 0 && !entry.bad)
        ;
    cie->code_align = take_uleb(&entry);
    cie->data_align = take_sleb(&entry);
    cie->return_register = version == 1 ? take(&entry, 1) : take_uleb(&entry);
    if (*letters == 'z') {
        cie->is_augmented = true;
        cie->program = entry;
        take_uleb(&entry);
        for (letters++; *letters && !entry.bad; letters++) {
            if (*letters == 'R')
                cie->pointers = (uint8_t)take(&entry, 1);
            else if (*letters == 'L')
                take(&entry, 1);
            else if (*letters == 'P')
                take_pointer(&entry, (uint8_t)(take(&entry, 1) & 0x0f), 0);
            else if (*letters == 'S')
                cie->is_signal_frame = true;
        }
        /* Letters that we do not know are behind those we do: the length skips their data. */
        uint64_t length = take_uleb(&cie->program);

        entry.at = cie->program.at + length;
    }
    cie->program = entry;
    return !entry.bad && entry.at <= entry.end && (version == 1 || version == 3);
}

struct program {
    const struct cie *cie;
    struct cfi_row *row;
    struct cfi_row *initial;              /* after the CIE's own instructions; NULL while they run */
    struct cfi_row saved[STATES_MAX];
    size_t depth;
    uintptr_t at, pc;
};

static void set_rule(struct program *program, uint64_t number, enum cfi_kind kind, int64_t offset)
{
    if (number < CFI_REGISTERS)  /* others, of vectors, are of no use to us */
        program->row->rules[number] = (struct cfi_rule){kind, offset, NULL, NULL};
}

static void restore_rule(struct program *program, uint64_t number)
{
    if (number < CFI_REGISTERS && program->initial)
        program->row->rules[number] = program->initial->rules[number];
}

static struct cfi_rule take_expression(struct cursor *code, enum cfi_kind kind)
{
    uint64_t length = take_uleb(code);
    struct cfi_rule rule = {kind, 0, code->at, code->at};

    if (length > (uint64_t)(code->end - code->at)) {
        code->bad = true;
        return rule;
    }
    rule.code_end = code->at += length;
    return rule;
}

static void define_cfa(struct program *program, uint64_t number, int64_t offset)
{
    program->row->cfa = (struct cfi_rule){CFI_IS, offset, NULL, NULL};
    program->row->cfa_register = number;
}

static void define_by_expression(struct program *program, struct cursor *code, enum cfi_kind kind)
{
    uint64_t number = take_uleb(code);
    struct cfi_rule rule = take_expression(code, kind);

    if (number < CFI_REGISTERS)
        program->row->rules[number] = rule;
}

static void remember(struct program *program, struct cursor *code)
{
    if (program->depth == STATES_MAX)
        code->bad = true;
    else
        program->saved[program->depth++] = *program->row;
}

static void recall(struct program *program, struct cursor *code)
{
    if (program->depth == 0)
        code->bad = true;
    else
        *program->row = program->saved[--program->depth];
}

/* The instructions that have their operands behind them. DWARF 5, 6.4.2 and 7.24. */
static void run_extended(struct program *program, struct cursor *code, uint8_t op)
{
    const struct cie *cie = program->cie;
    struct cfi_row *row = program->row;
    uint64_t number;

    switch (op) {
    case 0x00: break;
    case 0x01: program->at = take_pointer(code, cie->pointers, 0); break;
    case 0x02: program->at += take(code, 1) * cie->code_align; break;
    case 0x03: program->at += take(code, 2) * cie->code_align; break;
    case 0x04: program->at += take(code, 4) * cie->code_align; break;
    case 0x05: number = take_uleb(code); set_rule(program, number, CFI_AT, (int64_t)take_uleb(code) * cie->data_align); break;
    case 0x06: restore_rule(program, take_uleb(code)); break;
    case 0x07: set_rule(program, take_uleb(code), CFI_UNDEFINED, 0); break;
    case 0x08: set_rule(program, take_uleb(code), CFI_SAME, 0); break;
    case 0x09: number = take_uleb(code); set_rule(program, number, CFI_REGISTER, (int64_t)take_uleb(code)); break;
    case 0x0a: remember(program, code); break;
    case 0x0b: recall(program, code); break;
    case 0x0c: number = take_uleb(code); define_cfa(program, number, (int64_t)take_uleb(code)); break;
    case 0x0d: row->cfa_register = take_uleb(code); break;
    case 0x0e: row->cfa.offset = (int64_t)take_uleb(code); break;
    case 0x0f: row->cfa = take_expression(code, CFI_IS_EXPRESSION); break;
    case 0x10: define_by_expression(program, code, CFI_AT_EXPRESSION); break;
    case 0x11: number = take_uleb(code); set_rule(program, number, CFI_AT, take_sleb(code) * cie->data_align); break;
    case 0x12: number = take_uleb(code); define_cfa(program, number, take_sleb(code) * cie->data_align); break;
    case 0x13: row->cfa.offset = take_sleb(code) * cie->data_align; break;
    case 0x14: number = take_uleb(code); set_rule(program, number, CFI_IS, (int64_t)take_uleb(code) * cie->data_align); break;
    case 0x15: number = take_uleb(code); set_rule(program, number, CFI_IS, take_sleb(code) * cie->data_align); break;
    case 0x16: define_by_expression(program, code, CFI_IS_EXPRESSION); break;
    case 0x2d: break;  /* AArch64 signs return addresses from here on; we take their bits as they are */
    case 0x2e: take_uleb(code); break;
    default: code->bad = true;
    }
}

/* Runs instructions up to the row that holds at pc. */
static bool run(struct program *program, struct cursor code)
{
    while (code.at < code.end && !code.bad) {
        uint8_t op = (uint8_t)take(&code, 1), low = op & 0x3f;

        if (op >> 6 == 1)
            program->at += low * program->cie->code_align;
        else if (op >> 6 == 2)
            set_rule(program, low, CFI_AT, (int64_t)take_uleb(&code) * program->cie->data_align);
        else if (op >> 6 == 3)
            restore_rule(program, low);
        else
            run_extended(program, &code, op);
        if (program->at > program->pc)
            break;  /* what follows holds for later addresses */
    }
    return !code.bad;
}

/* The FDE that may cover pc, by the table of .eh_frame_hdr: sorted pairs of offsets from the header. */
static const uint8_t *find_fde(const uint8_t *header, uintptr_t pc)
{
    struct cursor cursor = {header, header + 64, false};
    uint8_t version = (uint8_t)take(&cursor, 1), frame = (uint8_t)take(&cursor, 1), count = (uint8_t)take(&cursor, 1);
    uint8_t table = (uint8_t)take(&cursor, 1);
    size_t low = 0, high;
    const uint8_t *pairs;
    int32_t pair[2];

    if (version != 1 || table != 0x3b || count == 0xff)
        return NULL;
    take_pointer(&cursor, frame, (uintptr_t)header);
    high = take_pointer(&cursor, count, (uintptr_t)header);
    pairs = cursor.at;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        memcpy(pair, pairs + middle * sizeof pair, sizeof pair);
        if ((uintptr_t)header + (uintptr_t)(intptr_t)pair[0] <= pc)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || cursor.bad)
        return NULL;
    memcpy(pair, pairs + (low - 1) * sizeof pair, sizeof pair);
    return header + pair[1];
}

bool cfi_find(const void *eh_frame_hdr, uintptr_t pc, struct cfi_row *row)
{
    const uint8_t *fde = find_fde(eh_frame_hdr, pc), *field;
    struct program program = {.row = row, .pc = UINTPTR_MAX};
    struct cfi_row initial;
    struct cursor entry;
    struct cie cie;
    uintptr_t begin, size;

    if (!fde)
        return false;
    entry = entry_at(fde);
    field = entry.at;
    if (entry.bad || !read_cie(field - (uint32_t)take(&entry, 4), &cie))
        return false;
    begin = take_pointer(&entry, cie.pointers, 0);
    size = take_pointer(&entry, cie.pointers & 0x0f, 0);
    if (cie.is_augmented) {
        uint64_t length = take_uleb(&entry);  /* separate steps: take_uleb moves `at` */

        entry.at += length;
    }
    if (entry.bad || entry.at > entry.end || pc < begin || pc - begin >= size)
        return false;
    memset(row, 0, sizeof *row);
    row->return_register = cie.return_register;
    row->is_signal_frame = cie.is_signal_frame;
    program.cie = &cie;
    if (cie.return_register >= CFI_REGISTERS || !run(&program, cie.program))
        return false;
    initial = *row;
    program.initial = &initial;
    program.at = begin;
    program.pc = pc;
    return run(&program, entry);
}

/* Pops two, pushes what the operation makes of them. */
static bool combine(uintptr_t *stack, size_t *depth, uint8_t op)
{
    uintptr_t a, b;

    if (*depth < 2)
        return false;
    b = stack[--*depth];
    a = stack[--*depth];
    switch (op) {
    case 0x1a: a &= b; break;
    case 0x1c: a -= b; break;
    case 0x1e: a *= b; break;
    case 0x21: a |= b; break;
    case 0x22: a += b; break;
    case 0x24: a = b < 64 ? a << b : 0; break;
    case 0x2a: a = (intptr_t)a >= (intptr_t)b; break;
    default: return false;
    }
    stack[(*depth)++] = a;
    return true;
}

/*
 * The part of DWARF expressions (DWARF 5, 2.5) that unwind tables use: the linker's in procedure linkage tables, and
 * the C library's where it returns from signal handlers.
 */
bool cfi_evaluate(const struct cfi_machine *machine, const uint8_t *at, const uint8_t *end, const uintptr_t *first,
                  uintptr_t *value)
{
    uintptr_t stack[EXPRESSION_STACK];
    struct cursor code = {at, end, false};
    size_t depth = 0;

    if (first)
        stack[depth++] = *first;
    while (code.at < code.end) {
        uint8_t op = (uint8_t)take(&code, 1);

        if (depth == EXPRESSION_STACK)
            return false;
        if (op >= 0x30 && op <= 0x4f) {
            stack[depth++] = op - 0x30u;
        } else if (op >= 0x70 && op <= 0x8f) {
            size_t number = op - 0x70u;

            if (number >= machine->count || !(machine->known >> number & 1))
                return false;
            stack[depth++] = machine->registers[number] + (uintptr_t)take_sleb(&code);
        } else if (op == 0x08 || op == 0x0a || op == 0x0c || op == 0x0e) {
            stack[depth++] = (uintptr_t)take(&code, (size_t)1 << (op - 0x08) / 2);
        } else if (op == 0x06) {
            if (depth == 0 || !machine->word(machine->user, stack[depth - 1], &stack[depth - 1]))
                return false;
        } else if (op == 0x23) {
            if (depth == 0)
                return false;
            stack[depth - 1] += (uintptr_t)take_uleb(&code);
        } else if (!combine(stack, &depth, op)) {
            return false;
        }
        if (code.bad)
            return false;
    }
    *value = depth ? stack[depth - 1] : 0;
    return depth > 0;
}
