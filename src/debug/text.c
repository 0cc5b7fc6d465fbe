/* SPDX-License-Identifier: MIT */
#include "debug/text.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MARK_NAME '\1'       /* then the address's bytes */
#define MARK_FUNCTION '\2'
#define LINE_BYTES 1024
#define SLOW_READER_MS 1000

static void append(struct text *text, const void *data, size_t size)
{
    if (text->is_cut)
        return;
    if (size > text->room - text->size) {
        text->is_cut = true;
        while (text->size > 0 && text->data[text->size - 1] != '\n')
            text->size--;  /* an address's byte may look like a line's end: then one more line is lost */
        return;
    }
    memcpy(text->data + text->size, data, size);
    text->size += size;
}

/* What comes from elsewhere (a name, a site) may hold anything, and must not look like ours. */
void text_add(struct text *text, const char *string)
{
    for (; *string; string++) {
        char c = (unsigned char)*string < 0x20 && *string != '\n' ? '?' : *string;

        append(text, &c, 1);
    }
}

void text_decimal(struct text *text, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    append(text, digits + at, sizeof digits - at);
}

void text_hex(struct text *text, uint64_t number)
{
    char digits[18];
    size_t at = sizeof digits;

    do
        digits[--at] = "0123456789abcdef"[number % 16];
    while (number /= 16);
    digits[--at] = 'x';
    digits[--at] = '0';
    append(text, digits + at, sizeof digits - at);
}

/* number / 10 with its one decimal. */
static void add_tenths(struct text *text, uint64_t tenths)
{
    text_decimal(text, tenths / 10);
    text_add(text, ".");
    text_decimal(text, tenths % 10);
}

void text_duration(struct text *text, td_time ns)
{
    if (ns < 0)
        ns = 0;
    if (ns < 1000000) {
        text_decimal(text, (uint64_t)ns / 1000);
        text_add(text, " us");
    } else if (ns < 1000000000) {
        text_decimal(text, (uint64_t)ns / 1000000);
        text_add(text, " ms");
    } else {
        add_tenths(text, (uint64_t)ns / 100000000);
        text_add(text, " s");
    }
}

void text_bytes(struct text *text, size_t bytes)
{
    add_tenths(text, bytes * 10 / 1024);
    text_add(text, " KiB");
}

void text_indent(struct text *text, unsigned depth)
{
    while (depth-- > 0)
        text_add(text, "  ");
}

void text_address(struct text *text, uintptr_t address, bool function_only)
{
    char mark[1 + sizeof address];

    mark[0] = function_only ? MARK_FUNCTION : MARK_NAME;
    memcpy(mark + 1, &address, sizeof address);
    append(text, mark, sizeof mark);
}

/* Puts a name where the text has an address. Returns how many bytes of the line are used now. */
static size_t expand(struct symbols *symbols, const char *mark, char *line, size_t used, size_t room)
{
    char name[SYMBOL_TEXT_MAX];
    uintptr_t address;
    int n;

    memcpy(&address, mark + 1, sizeof address);
    if (*mark == MARK_FUNCTION)
        symbols_function(symbols, address, name, sizeof name);
    else
        snprintf(name, sizeof name, "%s", symbols_name(symbols, address));
    n = snprintf(line + used, room - used, "%s", name);
    return used + (size_t)n < room ? used + (size_t)n : room - 1;
}

int text_lines(const struct text *text, struct symbols *symbols, int (*line)(void *user, const char *string), void *user)
{
    const char *at = text->data, *end = text->data + text->size;
    char string[LINE_BYTES];
    size_t used = 0;

    for (; at < end; at++) {
        if (*at == '\n') {
            int rc;

            string[used] = '\0';
            used = 0;
            rc = line(user, string);
            if (rc != 0)
                return rc;
        } else if ((*at == MARK_NAME || *at == MARK_FUNCTION) && (size_t)(end - at) > sizeof(uintptr_t)) {
            used = expand(symbols, at, string, used, sizeof string);
            at += sizeof(uintptr_t);
        } else if (used < sizeof string - 1) {
            string[used++] = *at;
        }
    }
    return 0;
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        struct pollfd ask = {.fd = fd, .events = POLLOUT};
        ssize_t n;

        if (fd >= 0 && poll(&ask, 1, SLOW_READER_MS) == 0)  /* it passes over negative ones, and write says what is wrong */
            return -EAGAIN;
        n = write(fd, data, size);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
    return 0;
}

static int write_line(void *user, const char *string)
{
    char line[LINE_BYTES + 1];
    int n = snprintf(line, sizeof line, "%s\n", string);

    return write_all(*(int *)user, line, (size_t)n);
}

int text_write(const struct text *text, struct symbols *symbols, int fd)
{
    return text_lines(text, symbols, write_line, &fd);
}
