/* SPDX-License-Identifier: MIT */
/*
 * Chat rooms: members, message ids, history. A message's frame is built once and shared by all members.
 */
#ifndef TANDEM_SERVE_ROOM_H
#define TANDEM_SERVE_ROOM_H

#include "session.h"

#define ROOM_NAME_BYTES 64      /* at the most */
#define MEMBER_NAME_BYTES 48
#define ROOM_HISTORY 50         /* messages that a newcomer is shown */
#define ROOMS_MAX 10000

struct rooms;
struct room;

struct member {
    struct td_list link;
    struct session session;
    struct room *room;
    char name[MEMBER_NAME_BYTES + 16];  /* made unique by a number */
};

struct rooms *rooms_open(void);     /* NULL when memory is short */
void rooms_close(struct rooms *rooms);

/*
 * Takes the member, whose session is open, into the room of that name: shows it who is there and the history, and
 * it to the others.
 * Returns 0; -ENOMEM; -EBUSY when there are too many rooms.
 */
int room_join(struct rooms *rooms, const char *room_name, const char *name, struct member *member);

/* Takes it out again, and tells the others. */
void room_leave(struct member *member);

/* Gives the text the room's next id and sends it to all members. Returns 0 or -ENOMEM; then nobody has got it. */
int room_say(struct member *member, const char *text, size_t size);

#endif
