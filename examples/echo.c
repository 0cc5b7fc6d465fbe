/* SPDX-License-Identifier: MIT */
/*
 * A WebSocket server in the shape of messages: a function for each message, and nothing at all for a connection at which none
 * comes. Ten thousand silent clients cost it a few megabytes, and no stack.
 *
 * As a server:  echo [ADDRESS]          (127.0.0.1:8082)
 * As a client:  echo ws://... TEXT...   (says each text, and prints what comes back)
 */
#include <stdio.h>
#include <string.h>

#include "tandem.h"

struct echo {
    int argc;
    char **argv;
    unsigned long long clients;
};

static int on_open(td_ws *ws, void *arg)
{
    struct echo *echo = arg;

    echo->clients++;  /* tasks of a loop take turns: no lock */
    return 0;
}

/* Runs in a task of its own: it may wait, offload, or send to others. The client's next message comes when it has returned. */
static int on_message(td_ws *ws, td_message *message, void *arg)
{
    return td_ws_send(ws, message->kind, message->data, message->size);
}

static void on_close(td_ws *ws, uint16_t code, const char *reason, void *arg)
{
    struct echo *echo = arg;

    echo->clients--;
    printf("a client left: %u %s (%llu are here)\n", code, reason, echo->clients);
    fflush(stdout);
}

static int on_request(td_http *http, void *arg)
{
    static const td_ws_handler handler = {on_open, on_message, on_close};
    int rc = td_ws_serve(http, &handler, &(td_ws_opts){.deflate = TD_WS_DEFLATE_SHARED}, arg);

    return rc == -EPROTO ? 0 : rc;  /* no WebSocket, and told so */
}

static int serve(struct echo *echo)
{
    const char *address = echo->argc > 1 ? echo->argv[1] : "127.0.0.1:8082";
    td_http_server *server;
    td_listener *listener;
    int rc = td_listen(&listener, address, NULL);

    if (rc < 0) {
        fprintf(stderr, "cannot listen on %s: %s\n", address, td_strerror(rc));
        return rc;
    }
    rc = td_http_server_open(&server, listener, NULL, on_request, echo);
    if (rc == 0) {
        printf("echo is at ws://%s/\n", td_listener_address(listener));
        fflush(stdout);
        rc = td_http_server_run(server);  /* until SIGINT: then every client is told 1001 */
        td_http_server_close(server);
    }
    td_listener_close(listener);
    return rc;
}

static int say(struct echo *echo)
{
    td_ws *ws;
    int rc = td_ws_connect(&ws, echo->argv[1], &(td_ws_connect_opts){.deflate = TD_WS_DEFLATE_SHARED});

    if (rc < 0) {
        fprintf(stderr, "cannot talk to %s: %s\n", echo->argv[1], td_strerror(rc));
        return rc;
    }
    for (int i = 2; i < echo->argc && rc >= 0; i++) {
        td_message message;

        rc = td_ws_send(ws, TD_WS_TEXT, echo->argv[i], strlen(echo->argv[i]));
        if (rc == 0)
            rc = td_ws_receive(ws, &message);
        if (rc > 0)
            printf("%s\n", message.data);
    }
    td_ws_free(ws);
    return rc < 0 ? rc : 0;
}

static int run(void *arg)
{
    struct echo *echo = arg;
    int rc = echo->argc > 1 && strncmp(echo->argv[1], "ws", 2) == 0 ? say(echo) : serve(echo);

    return rc == -ECANCELED ? 0 : rc;
}

int main(int argc, char **argv)
{
    struct echo echo = {argc, argv, 0};

    return td_run(run, &echo) < 0;
}
