/* SPDX-License-Identifier: MIT */
#include "pool/descriptors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define FIRST 3
#define BLIND_MAX 65536u  /* closes without knowing what is open: a limit of a billion would take minutes */

/* Closes those between that /proc shows. They are shown in order of their numbers, so closing one loses no other. */
static bool close_shown(unsigned first, unsigned last)
{
    _Alignas(struct dirent64) char entries[2048];
    int folder = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ssize_t n;

    if (folder < 0)
        return false;
    while ((n = getdents64(folder, entries, sizeof entries)) > 0)
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(entries + at);
            unsigned long fd = strtoul(entry->d_name, NULL, 10);  /* 0 for "." and ".." */

            if (fd >= first && fd <= last && fd != (unsigned)folder)
                close((int)fd);
            at += entry->d_reclen;
        }
    close(folder);
    return n == 0;
}

static void close_between(unsigned first, unsigned last)
{
    struct rlimit limit;

    if (first > last || close_range(first, last, 0) == 0 || close_shown(first, last))
        return;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && last >= limit.rlim_cur)
        last = limit.rlim_cur ? (unsigned)limit.rlim_cur - 1 : 0;
    for (unsigned fd = first; fd <= last && fd < BLIND_MAX; fd++)
        close((int)fd);
}

void descriptors_keep_only(const int *kept, size_t count)
{
    unsigned first = FIRST;

    for (;;) {
        unsigned next = ~0u;  /* the lowest that is kept, from `first` on */

        for (size_t i = 0; i < count; i++)
            if (kept[i] >= 0 && (unsigned)kept[i] >= first && (unsigned)kept[i] < next)
                next = (unsigned)kept[i];
        if (next == ~0u)
            break;
        if (next > first)
            close_between(first, next - 1);
        first = next + 1;
    }
    close_between(first, ~0u);
}
