/* SPDX-License-Identifier: MIT */
/*
 * A dump as a text to look into. It goes to a file in memory: a pipe would have to be read meanwhile.
 */
#ifndef TANDEM_TESTS_DEBUG_DUMP_H
#define TANDEM_TESTS_DEBUG_DUMP_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "run/harness.h"

#ifdef __SANITIZE_THREAD__
#define SIGNALS_WAIT true   /* ThreadSanitizer holds a signal back until the thread calls something */
#else
#define SIGNALS_WAIT false
#endif

struct dump {
    int fd;
    char *text;
};

UNUSED static void dump_open(struct dump *dump)
{
    dump->fd = memfd_create("dump", MFD_CLOEXEC);
    dump->text = NULL;
    expect(dump->fd >= 0);
}

UNUSED static const char *dump_read(struct dump *dump)
{
    off_t size = lseek(dump->fd, 0, SEEK_END);

    free(dump->text);
    dump->text = calloc(1, (size_t)size + 1);
    if (dump->text)
        expect_int(pread(dump->fd, dump->text, (size_t)size, 0), size);
    return dump->text ? dump->text : "";
}

UNUSED static void dump_close(struct dump *dump)
{
    close(dump->fd);
    free(dump->text);
}

/* For tasks, like `expect`. */
UNUSED static bool expect_says(const char *text, const char *wanted)
{
    bool says = strstr(text, wanted) != NULL;

    if (!says && !complaint.made)
        print_error("not found: \"%s\" in:\n%s\n", wanted, text);
    complaint.made = complaint.made || !says;
    return says;
}

/* The columns before the first line that has `wanted`, which stands for how deep it is in the tree. */
UNUSED static int depth_of(const char *text, const char *wanted)
{
    const char *at = strstr(text, wanted), *line = at;

    if (!at)
        return -1;
    while (line > text && line[-1] != '\n')
        line--;
    return (int)strspn(line, " ");
}

UNUSED static int count_of(const char *text, const char *wanted)
{
    int count = 0;

    while ((text = strstr(text, wanted)) != NULL) {
        count++;
        text += strlen(wanted);
    }
    return count;
}

#endif
