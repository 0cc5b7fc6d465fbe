/* SPDX-License-Identifier: MIT */
/*
 * The safe chat room: one user asks for two seconds of maths, and the others go on talking.
 *
 * Connect some WebSocket clients to ws://127.0.0.1:8081/ and type. A line "burn 2000" keeps a worker process busy for two
 * seconds: its user waits for it, and nobody else. When both workers are busy and two more jobs wait, the next
 * one is told so at once.
 *
 *     cc saferoom.c $(pkg-config --cflags --libs tandem) && ./a.out [ADDRESS:PORT]
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tandem.h>

struct user {
    td_ws *ws;
    struct user *next, **place;
};

struct room {
    const char *address;
    td_pool *chefs;
    struct user *users;
};

/* Runs in a worker process, on a number in shared memory. */
static int burn(void *arg)
{
    const int64_t *ms = arg;
    td_time until = td_after(td_ms(*ms));

    while (td_now() < until)
        ;
    return 0;
}

static int say(struct user *user, const char *text)
{
    return td_ws_send(user->ws, TD_WS_TEXT, text, strlen(text));
}

static int publish(struct room *room, const td_message *message)
{
    td_ws_frame *frame = td_ws_frame_new(TD_WS_TEXT, message->data, message->size);

    if (!frame)
        return -ENOMEM;
    for (struct user *user = room->users; user; user = user->next)
        if (td_ws_post(user->ws, frame) == -EBUSY)
            td_ws_close(user->ws, 1013, "too slow for this room", true);
    td_ws_frame_release(frame);
    return 0;
}

static int compute(struct room *room, struct user *user, int64_t wanted_ms)
{
    int64_t *ms = td_shared_alloc(sizeof *ms);
    int rc;

    if (!ms)
        return say(user, "no memory for that");
    *ms = wanted_ms < 0 ? 0 : wanted_ms > 10000 ? 10000 : wanted_ms;
    rc = td_offload(room->chefs, burn, ms);  /* -EBUSY at once when the kitchen is full */
    td_shared_free(ms);
    if (rc == -ECANCELED)
        return rc;
    return say(user, rc == 0 ? "done" : td_strerror(rc));
}

static int chat_user(struct room *room, struct user *user)
{
    td_message message;
    int rc;

    while ((rc = td_ws_receive(user->ws, &message)) > 0) {
        if (strncmp(message.data, "burn ", 5) == 0)
            rc = compute(room, user, atoll(message.data + 5));
        else
            rc = publish(room, &message);
        if (rc < 0)
            break;
    }
    return rc;
}

static int on_request(td_http *http, void *arg)
{
    struct room *room = arg;
    struct user user = {.next = room->users, .place = &room->users};
    int rc = td_ws_accept(http, &user.ws, NULL);

    if (rc < 0)
        return rc == -EPROTO ? 0 : rc;  /* not a WebSocket, and told so */
    user.next = room->users;            /* it may have changed while we shook hands */
    if (user.next)
        user.next->place = &user.next;
    room->users = &user;
    rc = chat_user(room, &user);
    *user.place = user.next;
    if (user.next)
        user.next->place = user.place;
    return rc;
}

static int serve(void *arg)
{
    struct room *room = arg;
    td_listener *listener;
    td_http_server *server;
    int rc = td_listen(&listener, room->address, NULL);

    if (rc < 0) {
        fprintf(stderr, "cannot listen on %s: %s\n", room->address, td_strerror(rc));
        return rc;
    }
    rc = td_pool_open(&room->chefs, &(td_pool_opts){.kind = TD_PROCESSES, .workers = 2, .queue = 2, .when_full = TD_REJECT});
    if (rc == 0) {
        rc = td_http_server_open(&server, listener, NULL, on_request, room);
        if (rc == 0) {
            printf("the room is open at ws://%s/\n", td_listener_address(listener));
            fflush(stdout);
            rc = td_http_server_run(server);
            td_http_server_close(server);
        }
        td_pool_close(room->chefs);
    }
    td_listener_close(listener);
    return rc;
}

int main(int argc, char **argv)
{
    struct room room = {.address = argc > 1 ? argv[1] : "127.0.0.1:8081"};

    return td_run(serve, &room) < 0;
}
