/* SPDX-License-Identifier: MIT */
/*
 * Compressed messages from end to end: agreed on, sent where it is worth it, understood in any pieces, bounded, and nothing of it
 * kept by who is idle.
 */
#include "ws/hall.h"

#define SIZE 60000

static char *text_of(size_t size)
{
    char *text = malloc(size + 1);

    if (!expect(text != NULL))
        return NULL;
    for (size_t i = 0; i < size; i++)
        text[i] = (char)('a' + i * i % 7);
    text[size] = '\0';
    return text;
}

static int echo_story(void *arg)
{
    struct hall *hall = arg;
    td_ws_connect_opts opts = {.deflate = hall->opts.deflate, .deflate_bytes_min = 1};
    char *text = text_of(SIZE);
    td_ws *ws;

    if (!text || !hall_open(hall) || !expect_int(td_ws_connect(&ws, hall->url, &opts), 0))
        return -EIO;
    expect(ws->endpoint->agreed.deflate);
    for (int i = 0; i < 3; i++) {
        expect_echo(ws, TD_WS_TEXT, text, SIZE);
        expect_echo(ws, TD_WS_BINARY, text, 5000);
        expect_echo(ws, TD_WS_TEXT, "short", 5);
        expect_echo(ws, TD_WS_TEXT, "", 0);
    }
    if (hall->opts.deflate == TD_WS_DEFLATE_SHARED && !hall->conversation)
        eventually(tasks_now() == hall->tasks && !hall->guest[0].ws->work);
    td_ws_free(ws);
    free(text);
    hall_close(hall);
    return 0;
}

static void compressed_messages_are_echoed(void **state)
{
    for (int deflate = TD_WS_DEFLATE_SHARED; deflate <= TD_WS_DEFLATE_OWN; deflate++) {
        struct hall parked = {.opts.deflate = (td_ws_deflate)deflate, .opts.deflate_bytes_min = 1};
        struct hall conversing = {.opts.deflate = (td_ws_deflate)deflate, .conversation = true};

        assert_int_equal(run(state, echo_story, &parked), 0);
        assert_int_equal(run(state, echo_story, &conversing), 0);
    }
}

/* One compressed block for all connections of a class. */
static int broadcast_story(void *arg)
{
    struct hall *hall = arg;
    td_ws_connect_opts opts = {.deflate = TD_WS_DEFLATE_SHARED};
    char *text = text_of(SIZE);
    td_ws *ws[3];
    td_ws_frame *frame;
    td_message message;

    if (!text || !hall_open(hall))
        return -EIO;
    for (int i = 0; i < 3; i++)
        expect_int(td_ws_connect(&ws[i], hall->url, i < 2 ? &opts : NULL), 0);
    eventually(hall->guests == 3);
    frame = td_ws_frame_new(TD_WS_TEXT, text, SIZE);
    for (int i = 0; i < 3; i++)
        expect_int(td_ws_post(hall->guest[i].ws, frame), 0);
    expect(*hall->guest[0].ws->stream->queue == *hall->guest[1].ws->stream->queue);
    expect(hall->guest[0].ws->stream->bytes < SIZE / 4 && hall->guest[2].ws->stream->bytes > SIZE);
    td_ws_frame_release(frame);
    for (int i = 0; i < 3; i++) {
        expect_int(td_ws_receive(ws[i], &message), 1);
        expect(message.size == SIZE && memcmp(message.data, text, SIZE) == 0);
        td_ws_free(ws[i]);
    }
    free(text);
    hall_close(hall);
    return 0;
}

static void a_posted_frame_is_compressed_once(void **state)
{
    assert_int_equal(run(state, broadcast_story, &(struct hall){.opts.deflate = TD_WS_DEFLATE_SHARED}), 0);
}

/* A message that inflates beyond the bound fails with 1009, and its bytes are never there. */
static int bomb_story(void *arg)
{
    struct hall *hall = arg;
    td_ws_connect_opts opts = {.deflate = TD_WS_DEFLATE_SHARED};
    char *text = calloc(1, 1000000);
    td_message message;
    td_ws *ws;

    if (!expect(text) || !hall_open(hall) || !expect_int(td_ws_connect(&ws, hall->url, &opts), 0))
        return -EIO;
    expect_int(td_ws_send(ws, TD_WS_BINARY, text, 1000000), 0);
    expect_int(td_ws_receive(ws, &message), 0);
    expect_int(ws->code, 1009);
    td_ws_free(ws);
    free(text);
    eventually(hall->guest[0].closes == 1);
    expect_int(hall->guest[0].messages, 0);
    hall_close(hall);
    return 0;
}

static void a_bomb_is_not_unpacked(void **state)
{
    assert_int_equal(run(state, bomb_story, &(struct hall){.opts.deflate = TD_WS_DEFLATE_SHARED}), 0);
}

/* Parts of a compressed message, read into small buffers. */
static int parts_handler(td_http *http, void *arg)
{
    size_t *got = arg;
    char buffer[777];
    td_ws_part part;
    td_ws *ws;
    int rc = td_ws_accept(http, &ws, &(td_ws_opts){.deflate = TD_WS_DEFLATE_SHARED, .message_bytes_max = 1 << 20});

    while (rc >= 0 && (rc = td_ws_read(ws, buffer, sizeof buffer, &part)) > 0) {
        expect_int(part.begin, *got == 0);
        for (size_t i = 0; i < part.size; i++)
            expect(buffer[i] == (char)('a' + (*got + i) * (*got + i) % 7));
        *got += part.size;
        if (part.end)
            rc = td_ws_send(ws, TD_WS_TEXT, "all", 3);
        if (part.end)
            *got = 0;
    }
    return rc;
}


static int parts_serve(void *arg)
{
    return td_http_server_run(arg);
}

static int parts_story(void *arg)
{
    td_ws_connect_opts opts = {.deflate = TD_WS_DEFLATE_SHARED};
    char *text = text_of(SIZE), url[128];
    td_http_server *server;
    td_listener *listener;
    td_message message;
    td_scope scope;
    size_t got = 0;
    td_ws *ws;

    if (!text || !expect_int(td_listen(&listener, "127.0.0.1:0", NULL), 0))
        return -EIO;
    expect_int(td_http_server_open(&server, listener, NULL, parts_handler, &got), 0);
    td_scope_open(&scope);
    td_spawn(&scope, parts_serve, server);
    snprintf(url, sizeof url, "ws://%s/", td_listener_address(listener));
    expect_int(td_ws_connect(&ws, url, &opts), 0);
    for (int i = 0; i < 3; i++) {
        expect_int(td_ws_send(ws, TD_WS_TEXT, text, SIZE), 0);
        expect_int(td_ws_receive(ws, &message), 1);
    }
    td_ws_free(ws);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    td_http_server_close(server);
    td_listener_close(listener);
    free(text);
    return 0;
}

static void a_compressed_message_may_be_read_in_parts(void **state)
{
    assert_int_equal(run(state, parts_story, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(compressed_messages_are_echoed),
        ON_BOTH(a_posted_frame_is_compressed_once),
        ON_BOTH(a_bomb_is_not_unpacked),
        ON_BOTH(a_compressed_message_may_be_read_in_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
