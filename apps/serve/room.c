/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. Ids within a room rise by one, in the order in which members get the messages. 2. A room without
 * members stays, with its history, until its place is needed.
 */
#include "room.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <search.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SMALL_SUFFIXES 9
#define HISTORY_BYTES (64 * 1024)  /* of texts, besides ROOM_HISTORY messages */

struct room {
    char name[ROOM_NAME_BYTES + 1];  /* first: the tree compares it */
    struct rooms *rooms;
    struct td_list members;
    struct td_list empty_link;       /* in rooms->empty while nobody is in */
    size_t member_count;
    int64_t last_id;
    void *names;                     /* of struct member, by name: tsearch(3) */
    unsigned last_suffix;            /* given to a name that was taken */
    json_t *history;                 /* the last messages, oldest first */
    size_t history_bytes;            /* of their texts */
};

struct rooms {
    void *tree;                      /* of struct room, by name: tsearch(3) */
    size_t count;
    struct td_list empty;            /* longest empty first */
};

static void link_last(struct td_list *list, struct td_list *node)
{
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}

static void unlink_node(struct td_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = node;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct room *)a)->name, ((const struct room *)b)->name);
}

struct rooms *rooms_open(void)
{
    struct rooms *rooms = calloc(1, sizeof *rooms);

    if (rooms)
        rooms->empty.next = rooms->empty.prev = &rooms->empty;
    return rooms;
}

static void room_free(struct room *room)
{
    struct rooms *rooms = room->rooms;

    assert(room->member_count == 0);
    tdelete(room, &rooms->tree, by_name);
    unlink_node(&room->empty_link);
    rooms->count--;
    json_decref(room->history);
    free(room);
}

static struct room *longest_empty(struct rooms *rooms)
{
    if (rooms->empty.next == &rooms->empty)
        return NULL;
    return (struct room *)(void *)((char *)rooms->empty.next - offsetof(struct room, empty_link));
}

void rooms_close(struct rooms *rooms)
{
    struct room *room;

    if (!rooms)
        return;
    while ((room = longest_empty(rooms)))
        room_free(room);
    assert(rooms->count == 0);
    free(rooms);
}

static int room_new(struct rooms *rooms, const char *name, struct room **out)
{
    struct room *room, *oldest = longest_empty(rooms);

    if (rooms->count >= ROOMS_MAX && !oldest)
        return -EBUSY;
    if (rooms->count >= ROOMS_MAX)
        room_free(oldest);
    room = calloc(1, sizeof *room);
    if (!room)
        return -ENOMEM;
    snprintf(room->name, sizeof room->name, "%s", name);
    room->rooms = rooms;
    room->members.next = room->members.prev = &room->members;
    room->history = json_array();
    if (!room->history || !tsearch(room, &rooms->tree, by_name)) {
        json_decref(room->history);
        free(room);
        return -ENOMEM;
    }
    rooms->count++;
    link_last(&rooms->empty, &room->empty_link);
    *out = room;
    return 0;
}

static int room_find(struct rooms *rooms, const char *name, struct room **out)
{
    struct room key, **found;

    snprintf(key.name, sizeof key.name, "%s", name);
    found = tfind(&key, &rooms->tree, by_name);
    if (!found)
        return room_new(rooms, name, out);
    *out = *found;
    return 0;
}

static struct member *member_at(struct td_list *link)
{
    return (struct member *)(void *)((char *)link - offsetof(struct member, link));
}

static int by_member_name(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

/* Gives the member its name in the room, with a number behind it when somebody has it already. Returns 0 or -ENOMEM. */
static int name_member(struct room *room, const char *wanted, struct member *member)
{
    struct member **entry;
    unsigned n = 1;

    snprintf(member->name, sizeof member->name, "%s", wanted);
    for (;;) {
        entry = tsearch(member, &room->names, by_member_name);
        if (!entry)
            return -ENOMEM;
        if (*entry == member)
            return 0;
        /*
         * Small numbers while they last, then ones that nobody was given yet: a thousand guests do not search a
         * thousand names.
         */
        n = n < SMALL_SUFFIXES ? n + 1 : (room->last_suffix = room->last_suffix < SMALL_SUFFIXES ? SMALL_SUFFIXES + 1
                                                                                                 : room->last_suffix + 1);
        snprintf(member->name, sizeof member->name, "%s-%u", wanted, n);
    }
}

static td_ws_frame *frame_of(json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    td_ws_frame *frame = text ? td_ws_frame_new(TD_WS_TEXT, text, strlen(text)) : NULL;

    free(text);
    return frame;
}

/* A member that reads too slowly for its room is shown out; the room does not wait. */
static void post(struct member *member, td_ws_frame *frame)
{
    struct app *app = member->session.app;
    int rc = td_ws_post(member->session.ws, frame);

    app->counters.messages_out += rc == 0;
    if (rc == -EBUSY || rc == -ENOMEM)
        session_too_slow(&member->session);
}

static void broadcast(struct room *room, td_ws_frame *frame, const struct member *except)
{
    for (struct td_list *at = room->members.next; at != &room->members; at = at->next)
        if (member_at(at) != except)
            post(member_at(at), frame);
}

static json_t *member_names(const struct room *room)
{
    json_t *names = json_array();

    for (struct td_list *at = room->members.next; names && at != &room->members; at = at->next) {
        if (json_array_append_new(names, json_string(member_at(at)->name)) < 0) {
            json_decref(names);
            return NULL;
        }
    }
    return names;
}

static int welcome(struct room *room, struct member *member)
{
    json_t *object = json_pack("{s:s, s:s, s:s, s:o, s:O}", "type", "welcome", "room", room->name, "you", member->name,
                               "members", member_names(room), "history", room->history);
    td_ws_frame *frame = frame_of(object);

    json_decref(object);
    if (!frame)
        return -ENOMEM;
    post(member, frame);
    td_ws_frame_release(frame);
    return 0;
}

/* "join" and "leave". Without memory the others miss the notice; the room's state is right all the same. */
static void announce(struct room *room, const char *type, const struct member *member)
{
    json_t *object = json_pack("{s:s, s:s}", "type", type, "name", member->name);
    td_ws_frame *frame = frame_of(object);

    json_decref(object);
    if (!frame)
        return;
    broadcast(room, frame, member);
    td_ws_frame_release(frame);
}

static void take_out(struct member *member)
{
    struct room *room = member->room;

    tdelete(member, &room->names, by_member_name);
    unlink_node(&member->link);
    if (--room->member_count == 0)
        link_last(&room->rooms->empty, &room->empty_link);
}

int room_join(struct rooms *rooms, const char *room_name, const char *name, struct member *member)
{
    struct room *room;
    int rc = room_find(rooms, room_name, &room);

    if (rc < 0)
        return rc;
    rc = name_member(room, name, member);
    if (rc < 0)
        return rc;
    member->room = room;
    link_last(&room->members, &member->link);
    if (room->member_count++ == 0)
        unlink_node(&room->empty_link);
    rc = welcome(room, member);
    if (rc < 0) {
        take_out(member);
        return rc;
    }
    announce(room, "join", member);
    return 0;
}

void room_leave(struct member *member)
{
    struct room *room = member->room;

    take_out(member);
    announce(room, "leave", member);
}

static int64_t unix_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int room_say(struct member *member, const char *text, size_t size)
{
    struct room *room = member->room;
    json_t *object = json_pack("{s:s, s:I, s:s, s:s%, s:I}", "type", "message", "id", (json_int_t)(room->last_id + 1), "from",
                               member->name, "text", text, size, "at", (json_int_t)unix_ms());
    td_ws_frame *frame = frame_of(object);

    if (!frame || json_array_append(room->history, object) < 0) {
        if (frame)
            td_ws_frame_release(frame);
        json_decref(object);
        return -ENOMEM;
    }
    json_decref(object);
    room->history_bytes += size;
    while (json_array_size(room->history) > ROOM_HISTORY || room->history_bytes > HISTORY_BYTES) {
        room->history_bytes -= json_string_length(json_object_get(json_array_get(room->history, 0), "text"));
        json_array_remove(room->history, 0);
    }
    room->last_id++;
    broadcast(room, frame, NULL);
    td_ws_frame_release(frame);
    return 0;
}
