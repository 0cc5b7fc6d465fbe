/* SPDX-License-Identifier: MIT */
/* A handler that waits for something only its client wants learns that the client has left. */
#include "run/harness.h"

#define REQUEST "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

struct visit {
    td_listener *listener;
    td_http_server *server;
    td_stream *client;
    td_event wanted;          /* what the first handler waits for, besides its client */
    unsigned handled, gone;
    bool waiting;
};

static int handler(td_http *http, void *arg)
{
    struct visit *visit = arg;
    td_case cases[] = {td_on_gone(http), td_on_event(&visit->wanted)};
    size_t which = 9;

    visit->waiting = true;
    expect_int(td_select(cases, COUNT(cases), &which), 0);
    visit->waiting = false;
    visit->gone += which == 0;
    visit->handled++;
    return td_http_respond(http, 200, NULL, "text/plain", "done", 4);
}

static int serve(void *arg)
{
    return td_http_server_run(((struct visit *)arg)->server);
}

static int with_server(struct visit *visit, void (*story)(struct visit *visit))
{
    td_scope scope;

    td_event_init(&visit->wanted);
    if (!expect_int(td_listen(&visit->listener, "127.0.0.1:0", NULL), 0))
        return -EIO;
    expect_int(td_http_server_open(&visit->server, visit->listener, NULL, handler, visit), 0);
    td_scope_open(&scope);
    td_spawn(&scope, serve, visit);
    expect_int(td_connect(&visit->client, td_listener_address(visit->listener)), 0);
    story(visit);
    if (visit->client)
        td_stream_close(visit->client);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    td_http_server_close(visit->server);
    td_listener_close(visit->listener);
    return 0;
}

static void ask(struct visit *visit, const char *text)
{
    expect_int(td_stream_write(visit->client, text, strlen(text)), (ssize_t)strlen(text));
    eventually(visit->waiting);
}

/* Reads the answers to `count` requests. */
static void hear(struct visit *visit, int count)
{
    char text[4096] = {0};
    size_t used = 0;
    int found = 0;

    while (found < count && used + 1 < sizeof text) {
        ssize_t n = td_stream_read(visit->client, text + used, sizeof text - 1 - used);

        if (!expect(n > 0))
            return;
        used += (size_t)n;
        found = 0;
        for (const char *at = text; (at = strstr(at, "done")) != NULL; at++)
            found++;
    }
}

static void leave_story(struct visit *visit)
{
    ask(visit, REQUEST);
    expect_int(visit->gone, 0);
    td_stream_close(visit->client);
    visit->client = NULL;
    eventually(visit->handled == 1);
    expect_int(visit->gone, 1);
}

static int leave(void *arg)
{
    return with_server(arg, leave_story);
}

static void a_client_that_closes_has_left(void **state)
{
    assert_int_equal(run(state, leave, &(struct visit){0}), 0);
}

/* Bytes that wait behind the request, more of them while the handler waits, and an end that comes behind those. */
static void pipeline_story(struct visit *visit)
{
    ask(visit, REQUEST REQUEST);
    expect_int(td_stream_write(visit->client, REQUEST, strlen(REQUEST)), (ssize_t)strlen(REQUEST));
    td_sleep(td_ms(20));  /* for a wrong alarm to come; a right one is told apart by the counts below */
    expect(visit->waiting);
    expect_int(visit->gone, 0);
    td_event_set(&visit->wanted);
    hear(visit, 3);
    expect_int(visit->handled, 3);
    expect_int(visit->gone, 0);
    td_event_clear(&visit->wanted);
    ask(visit, REQUEST REQUEST);   /* the second is never read before the end is seen */
    td_stream_close(visit->client);
    visit->client = NULL;
    eventually(visit->gone == 2);
}

static int pipeline(void *arg)
{
    return with_server(arg, pipeline_story);
}

static void further_requests_are_no_leaving_and_do_not_hide_one(void **state)
{
    assert_int_equal(run(state, pipeline, &(struct visit){0}), 0);
}

/* The unread answer to an earlier request makes the kernel reset the connection as it closes. */
static void reset_story(struct visit *visit)
{
    td_event_set(&visit->wanted);
    expect_int(td_stream_write(visit->client, REQUEST, strlen(REQUEST)), (ssize_t)strlen(REQUEST));
    eventually(visit->handled == 1);
    td_event_clear(&visit->wanted);
    ask(visit, REQUEST);
    td_stream_close(visit->client);
    visit->client = NULL;
    eventually(visit->handled == 2);
    expect_int(visit->gone, 1);
}

static int reset(void *arg)
{
    return with_server(arg, reset_story);
}

static void a_reset_is_a_leaving(void **state)
{
    assert_int_equal(run(state, reset, &(struct visit){0}), 0);
}

static void half_story(struct visit *visit)
{
    ask(visit, REQUEST);
    expect_int(td_stream_end(visit->client), 0);
    eventually(visit->gone == 1);
    hear(visit, 1);
}

static int half(void *arg)
{
    return with_server(arg, half_story);
}

static void who_ended_its_side_alone_can_still_be_answered(void **state)
{
    assert_int_equal(run(state, half, &(struct visit){0}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_client_that_closes_has_left),
        ON_BOTH(further_requests_are_no_leaving_and_do_not_hide_one),
        ON_BOTH(a_reset_is_a_leaving),
        ON_BOTH(who_ended_its_side_alone_can_still_be_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
