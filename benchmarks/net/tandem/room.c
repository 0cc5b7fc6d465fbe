/* SPDX-License-Identifier: MIT */
/* A room: every message goes to all members. room uring|epoll. Prints its port. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tandem.h>

#define MEMBERS_MAX 20000

struct room {
    td_ws *members[MEMBERS_MAX];
    size_t count;
};

static int joined(td_ws *ws, void *arg)
{
    struct room *room = arg;

    if (room->count == MEMBERS_MAX)
        return -EBUSY;
    room->members[room->count++] = ws;
    return 0;
}

static int said(td_ws *ws, td_message *message, void *arg)
{
    struct room *room = arg;
    td_ws_frame *frame = td_ws_frame_new(message->kind, message->data, message->size);

    if (!frame)
        return -ENOMEM;
    for (size_t i = 0; i < room->count; i++)
        (void)td_ws_post(room->members[i], frame);
    td_ws_frame_release(frame);
    return 0;
}

static void left(td_ws *ws, uint16_t code, const char *reason, void *arg)
{
    struct room *room = arg;

    for (size_t i = 0; i < room->count; i++)
        if (room->members[i] == ws)
            room->members[i] = room->members[--room->count];
}

static int handle(td_http *http, void *arg)
{
    static const td_ws_handler handler = {.on_open = joined, .on_message = said, .on_close = left};

    return td_ws_serve(http, &handler, NULL, arg);
}

static int serve(void *arg)
{
    td_listener *listener;
    td_http_server *server;
    int rc = td_listen(&listener, "127.0.0.1:0", NULL);

    if (rc < 0)
        return rc;
    printf("%s\n", strrchr(td_listener_address(listener), ':'));
    fflush(stdout);
    rc = td_http_server_open(&server, listener, NULL, handle, arg);
    if (rc == 0) {
        rc = td_http_server_run(server);
        td_http_server_close(server);
    }
    td_listener_close(listener);
    return rc;
}

int main(int argc, char **argv)
{
    td_backend backend = argc > 1 && strcmp(argv[1], "epoll") == 0 ? TD_BACKEND_EPOLL : TD_BACKEND_URING;
    struct room *room = calloc(1, sizeof *room);

    return !room || td_run_with(&(td_opts){.backend = backend}, serve, room) < 0;
}
