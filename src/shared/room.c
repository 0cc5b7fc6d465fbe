/* SPDX-License-Identifier: MIT */
#include "shared/room.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CREDIT_MAX ((size_t)64 * 1024 * 1024)
#define PATH_BYTES 512

/* The names of what we read in both versions of cgroups (kernel: admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst). */
struct names {
    const char *controller, *folder, *limit, *usage, *inactive, *active;
};

static const struct names versions[] = {
    {"0::", "/sys/fs/cgroup", "memory.max", "memory.current", "\ninactive_file ", "\nactive_file "},
    {":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "\ntotal_inactive_file ",
     "\ntotal_active_file "},
};

/* Memory in one place, in bytes. */
struct supply {
    size_t total, available;
};

void room_open(struct room *room, const char *root)
{
    room->root = root;
    room->credit = 0;
    room->text[0] = '\0';
}

/* Reads a small file into room->text. False: it cannot be read, and the text is empty. */
static bool read_text(struct room *room, const char *path)
{
    size_t size = 0;
    ssize_t n;
    int fd;

    room->text[0] = '\0';
    do
        fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return false;
    do {
        n = read(fd, room->text + size, sizeof room->text - 1 - size);
        size += n > 0 ? (size_t)n : 0;
    } while (n > 0 || (n < 0 && errno == EINTR));
    room->text[n == 0 ? size : 0] = '\0';
    close(fd);
    return n == 0;
}

/* The number behind a word; SIZE_MAX when there is none ("max" is none). */
static size_t number_after(const struct room *room, const char *word)
{
    const char *at = strstr(room->text, word);
    char *end;
    unsigned long long number;

    if (!at)
        return SIZE_MAX;
    at += strlen(word);
    number = strtoull(at, &end, 10);
    return end == at ? SIZE_MAX : number;
}

static size_t number_in(struct room *room, const char *folder, const char *file)
{
    char path[PATH_BYTES + 64];

    snprintf(path, sizeof path, "%s/%s", folder, file);
    return read_text(room, path) ? number_after(room, "") : SIZE_MAX;
}

static bool machine_supply(struct room *room, struct supply *supply)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s/proc/meminfo", room->root);
    if (!read_text(room, path))
        return false;
    supply->total = number_after(room, "MemTotal:");
    supply->available = number_after(room, "\nMemAvailable:");
    if (supply->total > SIZE_MAX / 1024 || supply->available > SIZE_MAX / 1024)
        return false;
    supply->total *= 1024;
    supply->available *= 1024;
    return true;
}

/* A cgroup's own limit, and what is left of it. What it has of the page cache can be had back, most of it at once. */
static bool cgroup_supply(struct room *room, const struct names *names, const char *folder, struct supply *supply)
{
    size_t limit = number_in(room, folder, names->limit), usage, inactive, active;

    if (limit >= SIZE_MAX / 4)  /* version 1 says 2^63 for none */
        return false;
    usage = number_in(room, folder, names->usage);
    if (usage == SIZE_MAX)
        return false;
    supply->total = limit;
    supply->available = usage < limit ? limit - usage : 0;
    if (supply->available > limit / 2)
        return true;
    (void)number_in(room, folder, "memory.stat");
    inactive = number_after(room, names->inactive);
    active = number_after(room, names->active);
    if (inactive <= limit && active <= limit)
        supply->available += inactive + active / 2;
    return true;
}

static void narrow(struct supply *least, const struct supply *supply)
{
    size_t spare = supply->available > supply->total / 32 ? supply->available - supply->total / 32 : 0;

    least->total = least->total < supply->total ? least->total : supply->total;
    least->available = least->available < spare ? least->available : spare;
}

/* The folder of our cgroup; *base is where the part begins that can be cut off to go up. False: we are in none. */
static bool own_folder(struct room *room, const struct names *names, char folder[PATH_BYTES], size_t *base)
{
    char path[PATH_BYTES];
    const char *at;
    size_t size;

    snprintf(path, sizeof path, "%s/proc/self/cgroup", room->root);
    if (!read_text(room, path) || !(at = strstr(room->text, names->controller)))
        return false;
    at += strlen(names->controller);
    size = *at == '/' && at[1] != '\n' ? strcspn(at, "\n") : 0;
    *base = (size_t)snprintf(folder, PATH_BYTES, "%s%s", room->root, names->folder);
    if (*base + size < PATH_BYTES) {
        memcpy(folder + *base, at, size);
        folder[*base + size] = '\0';
    }
    return true;
}

/* Our cgroup and all above it. Where a container shows us only its own, the path's folders do not exist, but the root does. */
static void narrow_by_cgroups(struct room *room, struct supply *least)
{
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        char folder[PATH_BYTES];
        struct supply supply;
        size_t base;

        if (!own_folder(room, &versions[i], folder, &base))
            continue;
        for (size_t end = strlen(folder);; folder[end] = '\0') {
            if (cgroup_supply(room, &versions[i], folder, &supply))
                narrow(least, &supply);
            if (end == base)
                break;
            while (folder[--end] != '/')
                ;
        }
    }
}

/* The least of all, with a margin taken off what is available. */
static struct supply least_supply(struct room *room)
{
    struct supply least = {SIZE_MAX, SIZE_MAX}, machine;

    if (machine_supply(room, &machine))
        narrow(&least, &machine);
    narrow_by_cgroups(room, &least);
    return least;
}

size_t room_total(struct room *room)
{
    size_t total = least_supply(room).total;

    return total == SIZE_MAX ? 0 : total;
}

int room_ask(struct room *room, size_t bytes)
{
    size_t available;

    if (bytes <= room->credit) {
        room->credit -= bytes;
        return 0;
    }
    available = least_supply(room).available;
    if (bytes > available)
        return -ENOMEM;
    room->credit = (available - bytes) / 16;
    if (room->credit > CREDIT_MAX)
        room->credit = CREDIT_MAX;
    return 0;
}
