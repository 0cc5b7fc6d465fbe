/* SPDX-License-Identifier: MIT */
/*
 * How much memory there is still to be had: of the machine, and of the memory cgroups we are in (a container's limit).
 *
 * The kernel does not refuse pages where there are none: it looks for a process to kill. So whoever wants many of them asks here
 * first. The answer is an estimate; what others take meanwhile is not known. Nothing here locks.
 */
#ifndef TANDEM_SHARED_ROOM_H
#define TANDEM_SHARED_ROOM_H

#include <stddef.h>

#define ROOM_TEXT_BYTES 8192      /* memory.stat has 3 to 5 KB */

struct room {
    const char *root;             /* "", or a folder that has proc/ and sys/ for tests */
    size_t credit;                /* bytes that may be taken before the files are read again */
    char text[ROOM_TEXT_BYTES];   /* what was read last; not on the stack, which may be a small task's */
};

/* `root` must last as long as the room. */
void room_open(struct room *room, const char *root);

/* Bytes of the machine's memory, or of the narrowest cgroup's limit; 0 when nobody says. */
size_t room_total(struct room *room);

/*
 * Whether so many bytes may be taken, with 1/32 of everything left over. Reads files every 64 MiB or so, and more often
 * where there is less. Returns 0, also when nobody says how much there is; -ENOMEM.
 */
int room_ask(struct room *room, size_t bytes);

#endif
