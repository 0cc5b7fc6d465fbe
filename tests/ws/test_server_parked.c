/* SPDX-License-Identifier: MIT */
/*
 * Connections in the shape of messages: nothing while nothing comes, every message once and in order, one on_close, whatever
 * happens.
 */
#include "ws/hall.h"

static void hello(struct hall *hall)
{
    td_ws *ws;

    if (!expect_int(td_ws_connect(&ws, hall->url, NULL), 0))
        return;
    expect_echo(ws, TD_WS_TEXT, "hello", 5);
    expect_echo(ws, TD_WS_BINARY, "", 0);
    expect_echo(ws, TD_WS_BINARY, "a\0b", 3);
    expect_int(hall->guest[0].messages, 3);
    td_ws_free(ws);
    eventually(hall->guest[0].closes == 1);
    expect_int(hall->guest[0].code, 1000);
}

static int hello_story(void *arg)
{
    struct hall *hall = arg;

    if (hall_open(hall)) {
        hello(hall);
        hall_close(hall);
    }
    expect_int(hall->guest[0].closes, !hall->conversation);
    return 0;
}

static void messages_are_answered_one_by_one(void **state)
{
    assert_int_equal(run(state, hello_story, &(struct hall){0}), 0);
}

static void messages_may_lie_in_shared_memory(void **state)
{
    struct hall hall = {.opts.shared_messages = true};

    assert_int_equal(run(state, hello_story, &hall), 0);
}

/* An idle connection is two structs: no task, no room for receiving, nothing in its queue. */
static int rest_story(void *arg)
{
    struct hall *hall = arg;
    td_ws *ws;

    if (!hall_open(hall) || !expect_int(td_ws_connect(&ws, hall->url, NULL), 0))
        return -EIO;
    for (int i = 0; i < 3; i++) {
        eventually(tasks_now() == hall->tasks && hall->guest[0].ws && !hall->guest[0].ws->work);
        expect(!hall->guest[0].ws->stream->input && !hall->guest[0].ws->stream->queue);
        expect_echo(ws, TD_WS_TEXT, "hello", 5);
    }
    expect(sizeof(td_ws) <= 56);
    td_ws_free(ws);
    hall_close(hall);
    return 0;
}

static void a_connection_at_rest_holds_nothing(void **state)
{
    assert_int_equal(run(state, rest_story, &(struct hall){0}), 0);
}

/* Bytes of a client, with a mask of zeros: what they say is what is read. */
#define MASK "\0\0\0\0"
#define HELLO "\x81\x85" MASK "hello"
#define BYE "\x88\x82" MASK "\x03\xe8"

/* A text in three fragments with a ping between them, an empty message, and a good-bye. */
static const char talk[] = HELLO "\x01\x83" MASK "one" "\x80\x80" MASK "\x01\x82" MASK "Hi" "\x89\x81" MASK "?" "\x00\x80" MASK
                           "\x80\x81" MASK "!" "\x82\x80" MASK BYE;
static const char answers[] = "\x81\x05hello" "\x81\x03one" "\x8a\x01?" "\x81\x03Hi!" "\x82\x00" "\x88\x02\x03\xe8";

/* Reads until the server says no more. */
static void expect_answers(td_stream *stream, const char *expected, size_t size)
{
    char text[1024];
    size_t have = 0;
    ssize_t n = 1;

    while (n > 0 && have < sizeof text) {
        n = td_stream_read(stream, text + have, sizeof text - have);
        have += n > 0 ? (size_t)n : 0;
    }
    expect_int(n, 0);
    expect_int(have, size);
    expect(have == size && memcmp(text, expected, size) == 0);
}

static int split_story(void *arg)
{
    struct hall *hall = arg;
    size_t size = sizeof talk - 1;

    if (!hall_open(hall))
        return -EIO;
    for (size_t at = 1; at < size; at++) {
        struct guest *guest = &hall->guest[hall->guests % GUESTS_MAX];
        td_stream *stream = hall_raw(hall);
        unsigned guests = hall->guests;

        if (!stream)
            break;
        expect_int(td_stream_write(stream, talk, at), at);
        eventually(tasks_now() == hall->tasks && hall->guests == guests);  /* the first part has been looked at */
        expect_int(td_stream_write(stream, talk + at, size - at), size - at);
        expect_answers(stream, answers, sizeof answers - 1);
        td_stream_close(stream);
        eventually(guest->closes == 1);
        expect_int(guest->code, 1000);
        expect_int(guest->messages, 4);
    }
    hall_close(hall);
    return 0;
}

static void a_conversation_may_come_in_any_pieces(void **state)
{
    assert_int_equal(run(state, split_story, &(struct hall){0}), 0);
}

/* Law 7: whatever moment the client vanishes at, on_close comes, once. */
static int vanish_story(void *arg)
{
    struct hall *hall = arg;
    size_t size = sizeof talk - 1;

    if (!hall_open(hall))
        return -EIO;
    for (size_t at = 0; at <= size; at++) {
        struct guest *guest = &hall->guest[hall->guests % GUESTS_MAX];
        td_stream *stream = hall_raw(hall);

        if (!stream)
            break;
        expect_int(td_stream_write(stream, talk, at), at);
        if (at % 2) {
            struct linger at_once = {1, 0};  /* a reset */

            setsockopt(stream_socket(stream)->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        }
        td_stream_close(stream);
        eventually(guest->closes == 1);
        expect(guest->code == 1006 || guest->code == 1000);
    }
    eventually(tasks_now() == hall->tasks);
    for (unsigned i = 0; i < GUESTS_MAX; i++)
        expect_int(hall->guest[i].closes, 1);
    hall_close(hall);
    return 0;
}

static void a_client_may_vanish_at_any_byte(void **state)
{
    assert_int_equal(run(state, vanish_story, &(struct hall){0}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(messages_are_answered_one_by_one),
        ON_BOTH(messages_may_lie_in_shared_memory),
        ON_BOTH(a_connection_at_rest_holds_nothing),
        ON_BOTH(a_conversation_may_come_in_any_pieces),
        ON_BOTH(a_client_may_vanish_at_any_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
