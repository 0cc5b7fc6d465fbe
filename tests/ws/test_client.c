/* SPDX-License-Identifier: MIT */
/*
 * The client against servers that do and do not keep to the rules, and what applications say before the upgrade.
 */
#include "ws/hall.h"

/* A server that reads the request and answers as it is told; `%s` stands for the right Sec-WebSocket-Accept. */
struct stage {
    td_listener *listener;
    const char *answer;
    char request[2048];
    char url[128];
};

static void answer_with(struct stage *stage, td_stream *stream)
{
    char accept[WS_ACCEPT_SIZE] = "", text[2048], *key, *end;
    size_t have = 0;

    while (!strstr(stage->request, "\r\n\r\n") && have + 1 < sizeof stage->request) {
        ssize_t n = td_stream_read(stream, stage->request + have, sizeof stage->request - 1 - have);

        if (n <= 0)
            return;
        have += (size_t)n;
        stage->request[have] = '\0';
    }
    key = strstr(stage->request, "Sec-WebSocket-Key: ");
    if (key && (end = strstr(key, "\r\n")))
        expect_int(ws_accept_key(key + 19, (size_t)(end - key - 19), accept), 0);
    snprintf(text, sizeof text, stage->answer, accept);
    (void)td_stream_write(stream, text, strlen(text));
}

static int act(void *arg)
{
    struct stage *stage = arg;
    td_stream *stream;

    if (!expect_int(td_accept(stage->listener, &stream), 0))
        return 0;
    answer_with(stage, stream);
    stream_close_gently(stream, td_sec(5));
    return 0;
}

/* Connects to the stage. Returns what that returned, and the connection is over. */
static int connect_to_stage(const char *answer, const td_ws_connect_opts *opts, struct stage *stage)
{
    td_message message;
    td_scope scope;
    td_ws *ws;
    int rc;

    *stage = (struct stage){.answer = answer};
    if (!expect_int(td_listen(&stage->listener, "127.0.0.1:0", NULL), 0))
        return -EIO;
    snprintf(stage->url, sizeof stage->url, "ws://%s/x?y=1", td_listener_address(stage->listener));
    td_scope_open(&scope);
    td_spawn(&scope, act, stage);
    rc = td_ws_connect(&ws, stage->url, opts);
    if (rc == 0) {
        if (strstr(answer, "\r\n\r\n\x81"))
            rc = td_ws_receive(ws, &message) == 1 && message.size == 2 ? 0 : -EIO;
        td_ws_free(ws);
    }
    td_scope_join(&scope);
    td_listener_close(stage->listener);
    return rc;
}

#define GOOD "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"

static int answers_story(void *arg)
{
    static const struct { const char *answer; int rc; } cases[] = {
        {GOOD "\r\n", 0}, {GOOD "\r\n\x81\x02Hi", 0},  /* the first message right behind the head */
        {GOOD "Sec-WebSocket-Protocol: v9\r\n\r\n", -EPROTO}, {GOOD, -EPROTO}, {"", -EPROTO},
        {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
         -EPROTO},
        {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", -EACCES},
    };
    struct stage stage;

    for (size_t i = 0; i < COUNT(cases); i++)
        expect_int(connect_to_stage(cases[i].answer, NULL, &stage), cases[i].rc);
    expect(strstr(stage.request, "GET /x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:") == stage.request);
    return 0;
}

static void only_a_server_that_shakes_hands_is_talked_to(void **state)
{
    assert_int_equal(run(state, answers_story, NULL), 0);
}

/* A server that accepts and says nothing: the caller's deadline ends the handshake, and nothing is left open. */
static int deadline_story(void *arg)
{
    td_listener *listener;
    td_scope scope;
    char url[128];
    td_ws *ws;

    if (!expect_int(td_listen(&listener, "127.0.0.1:0", NULL), 0))
        return -EIO;
    snprintf(url, sizeof url, "ws://%s/", td_listener_address(listener));
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(50)));
    expect_int(td_ws_connect(&ws, url, NULL), -ECANCELED);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    td_listener_close(listener);
    return 0;
}

static void a_silent_server_is_given_up_at_the_deadline(void **state)
{
    assert_int_equal(run(state, deadline_story, NULL), 0);
}

/* Conversations have the same server. */
static int conversation_story(void *arg)
{
    struct hall *hall = arg;
    td_ws *ws;

    if (!hall_open(hall))
        return -EIO;
    for (int i = 0; i < 3; i++) {
        if (!expect_int(td_ws_connect(&ws, hall->url, NULL), 0))
            break;
        expect_echo(ws, TD_WS_TEXT, "hello", 5);
        td_ws_free(ws);
    }
    hall_close(hall);
    return 0;
}

static void a_conversation_is_had_by_both_sides(void **state)
{
    assert_int_equal(run(state, conversation_story, &(struct hall){.conversation = true}), 0);
}

static int guard(td_http *http, void *arg)
{
    const char *token = td_http_field(http, "Authorization");

    if (token && strcmp(token, arg) == 0)
        return 0;
    return -EACCES;
}

static int agreed_story(void *arg)
{
    struct hall *hall = arg;
    td_ws_connect_opts none = {0}, ours = {.fields = "Authorization: secret\r\n", .protocols = "v0, v2"};
    td_ws_connect_opts page = {.fields = "Authorization: secret\r\nOrigin: http://evil.example\r\n"};
    td_ws *ws;

    hall->opts.authenticate = guard;
    hall->opts.authenticate_arg = (void *)(uintptr_t)"secret";
    hall->opts.protocols = "v3, v2, v0";
    if (!hall_open(hall))
        return -EIO;
    expect_int(td_ws_connect(&ws, hall->url, &none), -EACCES);
    expect_int(td_ws_connect(&ws, hall->url, &page), -EACCES);
    expect_int(hall->refused, 2);
    expect_int(td_ws_connect(&ws, hall->url, &ours), 0);
    expect_text(td_ws_protocol(ws), "v2");
    eventually(hall->guest[0].ws != NULL);
    expect_text(td_ws_protocol(hall->guest[0].ws), "v2");
    expect_int(td_ws_connect(&ws, "ws://nowhere:0x", NULL), -EINVAL);
    expect_int(td_ws_connect(&ws, hall->url, &(td_ws_connect_opts){.fields = "Host: x\r\n"}), -EINVAL);
    expect_int(td_ws_connect(&ws, hall->url, &(td_ws_connect_opts){.protocols = "a b"}), -EINVAL);
    td_ws_free(ws);
    hall_close(hall);
    return 0;
}

static void who_may_connect_is_decided_before_the_upgrade(void **state)
{
    assert_int_equal(run(state, agreed_story, &(struct hall){0}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(only_a_server_that_shakes_hands_is_talked_to),
        ON_BOTH(a_silent_server_is_given_up_at_the_deadline),
        ON_BOTH(a_conversation_is_had_by_both_sides),
        ON_BOTH(who_may_connect_is_decided_before_the_upgrade),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
