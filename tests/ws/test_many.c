/* SPDX-License-Identifier: MIT */
/*
 * Many parked connections: what each of them takes, measured, and that all of it comes back. With an argument: how many, up to
 * what the limit of descriptors allows (two a connection).
 */
#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>

#include "run/harness.h"
#include "ws/connection.h"

#define MANY 1000
#define BYTES_MAX 512   /* of malloc'd memory a connection, its overhead included */

struct crowd {
    td_http_server *server;
    td_ws_opts opts;
    unsigned wanted, open, closed, messages;
    int *fds;
};

static int opened(td_ws *ws, void *arg)
{
    ((struct crowd *)arg)->open++;
    return 0;
}

static int said(td_ws *ws, td_message *message, void *arg)
{
    ((struct crowd *)arg)->messages++;
    return 0;
}

static void left(td_ws *ws, uint16_t code, const char *reason, void *arg)
{
    ((struct crowd *)arg)->closed++;
}

static int handle(td_http *http, void *arg)
{
    static const td_ws_handler handler = {opened, said, left};

    return td_ws_serve(http, &handler, &((struct crowd *)arg)->opts, arg);
}

static int serve(void *arg)
{
    return td_http_server_run(((struct crowd *)arg)->server);
}

/* The clients are bare sockets, so that all memory counted is the server's. */
static bool come(struct crowd *crowd, unsigned i, const char *address)
{
    static const char ask[] = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)strtoul(strchr(address, 58) + 1, NULL, 10))};

    crowd->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return expect(crowd->fds[i] >= 0) && expect_int(connect(crowd->fds[i], (struct sockaddr *)&at, sizeof at), 0) &&
           expect_int(write(crowd->fds[i], ask, sizeof ask - 1), sizeof ask - 1);
}

static void say_hello(struct crowd *crowd)
{
    static const char hello[] = "\x81\x85\0\0\0\0hello";

    for (unsigned i = 0; i < crowd->wanted; i++)
        expect_int(write(crowd->fds[i], hello, sizeof hello - 1), sizeof hello - 1);
    eventually(crowd->messages == crowd->wanted);
    settle();
}

static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static void crowd_comes_and_goes(struct crowd *crowd, const char *address)
{
    size_t before, each;

    before = in_use();
    for (unsigned i = 0; i < crowd->wanted; i++) {
        if (!come(crowd, i, address))
            return;
        if (i % 64 == 63)
            eventually(crowd->open == i + 1);
    }
    eventually(crowd->open == crowd->wanted);
    say_hello(crowd);
    td_sleep(td_ms(20));  /* for the last of the tasks to have parked; what it measures may only be too much */
    each = (in_use() - before) / crowd->wanted;
    print_message("%u parked connections: %zu bytes each (%zu of them a struct td_ws)\n", crowd->wanted, each, sizeof(td_ws));
    if (!SANITIZED)
        expect(each <= BYTES_MAX);
    for (unsigned i = 0; i < crowd->wanted; i++)
        close(crowd->fds[i]);
    eventually(crowd->closed == crowd->wanted);
}

static int crowd_story(void *arg)
{
    struct crowd *crowd = arg;
    td_listener *listener;
    td_scope scope;
    size_t before;

    crowd->fds = calloc(crowd->wanted, sizeof *crowd->fds);
    if (!expect(crowd->fds != NULL) || !expect_int(td_listen(&listener, "127.0.0.1:0", NULL), 0))
        return -EIO;
    expect_int(td_http_server_open(&crowd->server, listener, NULL, handle, crowd), 0);
    td_scope_open(&scope);
    td_spawn(&scope, serve, crowd);
    settle();
    crowd_comes_and_goes(crowd, td_listener_address(listener));
    before = in_use();
    crowd->open = crowd->closed = crowd->messages = 0;
    crowd_comes_and_goes(crowd, td_listener_address(listener));  /* the second time nothing is left behind */
    if (!SANITIZED)
        expect(in_use() <= before + 4096);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    td_http_server_close(crowd->server);
    td_listener_close(listener);
    free(crowd->fds);
    return 0;
}

static unsigned how_many(unsigned set)
{
    static unsigned many = MANY;

    return many = set ? set : many;
}

static void a_parked_connection_is_small_and_leaves_nothing(void **state)
{
    struct crowd plain = {.wanted = how_many(0)}, deflate = {.wanted = how_many(0), .opts.deflate = TD_WS_DEFLATE_SHARED};

    assert_int_equal(run(state, crowd_story, &plain), 0);
    assert_int_equal(run(state, crowd_story, &deflate), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {ON_BOTH(a_parked_connection_is_small_and_leaves_nothing)};

    if (argc > 1)
        (void)how_many((unsigned)strtoul(argv[1], NULL, 10));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
