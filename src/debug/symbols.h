/* SPDX-License-Identifier: MIT */
/*
 * Names for code addresses, from the symbol tables of the program's own files. It opens and maps files, so it is not
 * for signal handlers: those take addresses, and others name them later.
 */
#ifndef TANDEM_DEBUG_SYMBOLS_H
#define TANDEM_DEBUG_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

#define SYMBOL_TEXT_MAX 160
#define SYMBOL_MODULES 4
#define SYMBOL_CACHE 64

/* Files that are mapped, and names that were found, for as long as one report is written. All zero is empty. */
struct symbols {
    struct module {
        uintptr_t base;
        const char *map;       /* NULL: its file cannot be read, or is no ELF */
        size_t size;
    } modules[SYMBOL_MODULES];
    unsigned next;             /* to be replaced */
    struct symbol {
        uintptr_t address;
        char text[SYMBOL_TEXT_MAX];
    } *cache;                  /* SYMBOL_CACHE of them; NULL: there was no memory, every name is looked up */
};

void symbols_open(struct symbols *symbols);
void symbols_close(struct symbols *symbols);

/*
 * "function+0x1a (program+0x401a)": what follows the program's name is what `addr2line -e program` takes. Without a
 * name in the table only the part in parentheses. The text is good until the next call.
 */
const char *symbols_name(struct symbols *symbols, uintptr_t address);

/* The function's name alone, of at most size - 1 bytes; its address in hexadecimal when it has none. */
void symbols_function(struct symbols *symbols, uintptr_t address, char *name, size_t size);

#endif
