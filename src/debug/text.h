/* SPDX-License-Identifier: MIT */
/*
 * Text of a bounded size, put together where nothing may be allocated or locked: in signal handlers. Code addresses stand
 * in it as they are, and get their names when somebody else writes it out.
 */
#ifndef TANDEM_DEBUG_TEXT_H
#define TANDEM_DEBUG_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "debug/symbols.h"
#include "tandem/time.h"

struct text {
    char *data;
    size_t size, room;
    bool is_cut;             /* something did not fit; `size` ends at the last whole line */
};

void text_add(struct text *text, const char *string);
void text_decimal(struct text *text, uint64_t number);
void text_hex(struct text *text, uint64_t number);
void text_duration(struct text *text, td_time ns);     /* "340 us", "12 ms", "2.3 s" */
void text_bytes(struct text *text, size_t bytes);      /* "2.1 KiB" */
void text_indent(struct text *text, unsigned depth);   /* two columns each */

/* A place for a name. `function_only`: without offset and file. */
void text_address(struct text *text, uintptr_t address, bool function_only);

/*
 * Calls line(user, string) for each line, without its end, with names for addresses. Not for signal handlers. Returns 0, or
 * what `line` returned first that was not 0.
 */
int text_lines(const struct text *text, struct symbols *symbols, int (*line)(void *user, const char *string), void *user);

/* Writes it to a descriptor, waiting for a slow reader for at most a second a line. Returns 0 or a negative errno. */
int text_write(const struct text *text, struct symbols *symbols, int fd);

#endif
