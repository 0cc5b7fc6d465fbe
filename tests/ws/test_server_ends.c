/* SPDX-License-Identifier: MIT */
/*
 * How connections in the shape of messages end: whoever begins it, on_close comes once and says why, and the peer is told what
 * is due to it.
 */
#include "ws/hall.h"

/* Reads until the server closes, and returns the code it closes with: 0 when it hung up without one. */
static uint16_t closing_code(td_stream *stream)
{
    unsigned char text[4096];
    size_t have = 0;
    ssize_t n = 1;

    while (n > 0 && have < sizeof text) {
        n = td_stream_read(stream, text + have, sizeof text - have);
        have += n > 0 ? (size_t)n : 0;
    }
    for (size_t at = 0; at + 4 <= have; at += 2u + text[at + 1])
        if (text[at] == 0x88)
            return (uint16_t)(text[at + 2] << 8 | text[at + 3]);
    return 0;
}

/* What a client's bytes come to, with a mask of zeros. */
static const struct {
    const char *bytes;
    size_t size;
    uint16_t told, code;  /* by the server; to on_close */
    unsigned messages;
} ends[] = {
#define CASE(bytes, ...) {bytes, sizeof(bytes) - 1, __VA_ARGS__}
#define MASK "\0\0\0\0"
    CASE("\x81\x84" MASK "fail", 1011, 1006, 1),                          /* the handler failed, and we hang up */
    CASE("\x81\x85" MASK "close\x88\x82" MASK "\x03\xe8", 4000, 1000, 1), /* the handler closes, and the client as well */
    CASE("\x88\x80" MASK, 1000, 1005, 0),
    CASE("\x88\x85" MASK "\x0f\xa1" "bye", 4001, 4001, 0),
    CASE("\x81\x82" MASK "Hi\x83\x80" MASK, 1002, 1002, 1),               /* no such opcode: after the answer to "Hi" */
    CASE("\x81\x82" MASK "Hi\x81\x82" MASK "\xc3\x28", 1007, 1007, 1),
    CASE("\x81\x82" MASK "Hi\x81\xff" "\0\0\0\0\x01\0\0\0" MASK, 1009, 1009, 1),
    CASE("\x81\x02" "Hi", 1002, 1002, 0),                                 /* not masked */
    CASE("\xc1\x82" MASK "Hi", 1002, 1002, 0),                            /* compressed, and that was not agreed on */
};

static int ends_story(void *arg)
{
    struct hall *hall = arg;

    if (!hall_open(hall))
        return -EIO;
    for (size_t i = 0; i < COUNT(ends); i++) {
        struct guest *guest = &hall->guest[hall->guests % GUESTS_MAX];
        td_stream *stream = hall_raw(hall);
        uint16_t told;

        if (!stream)
            break;
        expect_int(td_stream_write(stream, ends[i].bytes, ends[i].size), ends[i].size);
        if (ends[i].code == 1006)
            expect_int(td_stream_end(stream), 0);  /* no close frame will come from us */
        told = closing_code(stream);
        if (told != ends[i].told)
            print_error("case %zu\n", i);
        expect_int(told, ends[i].told);
        td_stream_close(stream);
        eventually(guest->closes == 1);
        expect_int(guest->code, ends[i].code);
        expect_int(guest->messages, ends[i].messages);
    }
    eventually(tasks_now() == hall->tasks);
    hall_close(hall);
    return 0;
}

static void each_end_is_told_to_both_sides(void **state)
{
    assert_int_equal(run(state, ends_story, &(struct hall){0}), 0);
}

/* The server ends: whoever is parked is told 1001, and the scope's join waits for them. */
static int cancel_story(void *arg)
{
    struct hall *hall = arg;
    td_ws *ws[3];
    td_message message;

    if (!hall_open(hall))
        return -EIO;
    for (int i = 0; i < 3; i++)
        expect_int(td_ws_connect(&ws[i], hall->url, NULL), 0);
    expect_int(td_ws_send(ws[2], TD_WS_TEXT, "wait", 4), 0);
    eventually(hall->waiting == 1);
    expect_int(td_cancel(hall->server_task), 0);
    for (int i = 0; i < 3; i++)
        expect_int(td_ws_receive(ws[i], &message), 0);
    for (int i = 0; i < 3; i++)
        td_ws_free(ws[i]);
    hall_close(hall);
    for (int i = 0; i < 3; i++) {
        expect_int(hall->guest[i].closes, 1);
        expect_int(hall->guest[i].code, 1001);
    }
    return 0;
}

static void a_cancelled_server_says_1001(void **state)
{
    assert_int_equal(run(state, cancel_story, &(struct hall){0}), 0);
}

/* A drain closes who is at rest; who is being served gets the answer first. */
static int drain_story(void *arg)
{
    struct hall *hall = arg;
    td_ws *idle, *busy;
    td_message message;

    if (!hall_open(hall))
        return -EIO;
    expect_int(td_ws_connect(&idle, hall->url, NULL), 0);
    expect_int(td_ws_connect(&busy, hall->url, NULL), 0);
    expect_int(td_ws_send(busy, TD_WS_TEXT, "wait", 4), 0);
    eventually(hall->waiting == 1);
    td_http_server_drain(hall->server);
    expect_int(td_ws_receive(idle, &message), 0);
    td_ws_free(idle);
    expect_int(hall->guest[1].closes, 0);
    td_event_set(&hall->go);
    expect_int(td_ws_receive(busy, &message), 1);
    expect_int(td_ws_receive(busy, &message), 0);
    td_ws_free(busy);
    expect_int(td_http_server_wait_drained(hall->server), 0);
    expect_int(hall->guest[0].code, 1001);
    expect_int(hall->guest[1].code, 1001);
    hall_close(hall);
    return 0;
}

static void a_drain_closes_when_the_last_message_is_answered(void **state)
{
    assert_int_equal(run(state, drain_story, &(struct hall){0}), 0);
}

static int refuse_story(void *arg)
{
    struct hall *hall = arg;
    td_message message;
    td_ws *ws;

    if (!hall_open(hall))
        return -EIO;
    expect_int(td_ws_connect(&ws, hall->url, NULL), 0);
    expect_int(td_ws_receive(ws, &message), 0);
    td_ws_free(ws);
    eventually(hall->guest[0].closes == 1);
    expect_int(hall->guest[0].code, 1011);
    expect_int(hall->guest[0].messages, 0);
    hall_close(hall);
    return 0;
}

static void who_fails_in_on_open_is_closed(void **state)
{
    assert_int_equal(run(state, refuse_story, &(struct hall){.open_rc = -EIO}), 0);
}

static int answer_pings(void *arg)
{
    td_message message;
    int rc = td_ws_receive(arg, &message);  /* none comes, but pings are answered on the way */

    return rc == -ECANCELED ? 0 : rc;
}

/* A peer that says nothing is asked, and one that does not answer is broken off. One that answers stays. */
static int pings_story(void *arg)
{
    struct hall *hall = arg;
    td_stream *dead;
    td_scope scope;
    td_ws *alive;
    td_time began;

    if (!hall_open(hall) || !expect_int(td_ws_connect(&alive, hall->url, NULL), 0))
        return -EIO;
    td_scope_open(&scope);
    td_spawn(&scope, answer_pings, alive);
    began = td_now();
    dead = hall_raw(hall);
    eventually(hall->guest[1].closes == 1);
    expect(td_now() - began >= 2 * hall->opts.idle_ping);
    expect_int(hall->guest[1].code, 1006);
    expect_int(hall->guest[0].closes, 0);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    if (dead)
        td_stream_close(dead);
    td_ws_free(alive);
    hall_close(hall);
    return 0;
}

static void who_does_not_answer_a_ping_is_gone(void **state)
{
    assert_int_equal(run(state, pings_story, &(struct hall){.opts.idle_ping = 200000000}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(each_end_is_told_to_both_sides),
        ON_BOTH(a_cancelled_server_says_1001),
        ON_BOTH(a_drain_closes_when_the_last_message_is_answered),
        ON_BOTH(who_fails_in_on_open_is_closed),
        ON_BOTH(who_does_not_answer_a_ping_is_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
