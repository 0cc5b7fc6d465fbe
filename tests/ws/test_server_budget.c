/* SPDX-License-Identifier: MIT */
/*
 * Slow readers, and senders who must not wait for them: budgets of bytes, messages and age, and what happens past them. And
 * fast writers, whose server is slow.
 */
#include "ws/hall.h"

#define FLOOD 4000
#define PIECE 4096

/* Posts numbered messages to a peer that does not read, until the budget has an answer. Returns that; *posted: of how many. */
static int flood(td_ws *ws, unsigned *posted)
{
    static char text[PIECE];
    int rc = 0;

    for (*posted = 0; *posted < FLOOD && rc == 0; ++*posted) {
        td_ws_frame *frame;

        memcpy(text, posted, sizeof *posted);
        frame = td_ws_frame_new(TD_WS_BINARY, text, sizeof text);
        rc = td_ws_post(ws, frame);
        td_ws_frame_release(frame);
        if (*posted % 16 == 0)
            td_yield();  /* what the socket takes leaves at the turn's end */
    }
    return rc;
}

static unsigned number_of(const td_message *message)
{
    unsigned number;

    memcpy(&number, message->data, sizeof number);
    return number;
}

static bool meet(struct hall *hall, td_ws **client)
{
    hall->opts.idle_ping = -1;
    if (!hall_open(hall) || !expect_int(td_ws_connect(client, hall->url, NULL), 0))
        return false;
    eventually(hall->guest[0].ws && !hall->guest[0].ws->attended);
    return true;
}

static int reject_story(void *arg)
{
    struct hall *hall = arg;
    unsigned posted, next = 0;
    td_message message;
    td_ws *client;

    if (!meet(hall, &client))
        return -EIO;
    expect_int(flood(hall->guest[0].ws, &posted), -EBUSY);
    expect(posted > 1 && posted < FLOOD);
    if (hall->opts.queue_bytes_max)
        expect(stream_charge(hall->guest[0].ws->stream) <= hall->opts.queue_bytes_max);
    if (hall->opts.queue_messages_max)
        expect(hall->guest[0].ws->stream->count <= hall->opts.queue_messages_max);
    for (next = 0; next + 1 < posted; next++) {  /* the last was refused; the others come, in order */
        if (!expect_int(td_ws_receive(client, &message), 1))
            break;
        expect_int(number_of(&message), next);
    }
    expect_echo(client, TD_WS_TEXT, "still here", 10);
    td_ws_free(client);
    hall_close(hall);
    return 0;
}

static void past_its_bytes_a_post_is_refused(void **state)
{
    assert_int_equal(run(state, reject_story, &(struct hall){.opts.queue_bytes_max = 100000}), 0);
}

static void past_its_messages_a_post_is_refused(void **state)
{
    assert_int_equal(run(state, reject_story, &(struct hall){.opts.queue_messages_max = 10, .opts.queue_bytes_max = 1 << 30}), 0);
}

/* The newest are kept, in order; who was dropped is missing from the middle. */
static int drop_story(void *arg)
{
    struct hall *hall = arg;
    unsigned posted, seen = 0, last = 0;
    td_message message;
    td_ws *client;

    if (!meet(hall, &client))
        return -EIO;
    expect(flood(hall->guest[0].ws, &posted) > 0);
    for (int i = 0; i < 100; i++) {
        char text[PIECE] = {0};
        td_ws_frame *frame;
        unsigned number = posted + (unsigned)i;

        memcpy(text, &number, sizeof number);
        frame = td_ws_frame_new(TD_WS_BINARY, text, sizeof text);
        expect(td_ws_post(hall->guest[0].ws, frame) >= 0);
        td_ws_frame_release(frame);
    }
    for (unsigned number = 0; number != posted + 99; seen++, last = number) {
        if (!expect_int(td_ws_receive(client, &message), 1))
            break;
        number = number_of(&message);
        expect(seen == 0 || number > last);
    }
    expect(seen < posted + 100);
    td_ws_free(client);
    hall_close(hall);
    return 0;
}

static void the_oldest_give_way(void **state)
{
    struct hall hall = {.opts.queue_messages_max = 20, .opts.when_full = TD_WS_DROP_OLDEST, .opts.queue_bytes_max = 1 << 30};

    assert_int_equal(run(state, drop_story, &hall), 0);
}

/* What a slow reader has not read for too long is worth nothing: the fresh message takes its place. */
static int age_story(void *arg)
{
    struct hall *hall = arg;
    td_ws_frame *frame;
    td_message message;
    unsigned posted;
    td_ws *client, *ws;
    size_t before;
    int rc;

    if (!meet(hall, &client))
        return -EIO;
    ws = hall->guest[0].ws;
    do {
        expect_int(flood(ws, &posted), -EBUSY);
        before = ws->stream->bytes;
        td_sleep(td_ms(20));
    } while (ws->stream->bytes < before);  /* until the system takes no more */
    ws->endpoint->opts.queue_bytes_max = 1 << 30;  /* so that it is not by its bytes */
    ws->endpoint->opts.queue_age_max = td_ms(20);
    td_sleep(td_ms(25));
    frame = td_ws_frame_new(TD_WS_TEXT, "fresh", 5);
    expect_int(td_ws_post(ws, frame), -EBUSY);  /* by the age of those before it */
    td_ws_frame_release(frame);
    for (char first = 0; first != 'f'; first = message.data[0]) {
        frame = td_ws_frame_new(TD_WS_TEXT, "fresh", 5);
        rc = td_ws_post(ws, frame);
        expect(rc == 0 || rc == -EBUSY);
        td_ws_frame_release(frame);
        if (!expect_int(td_ws_receive(client, &message), 1))
            break;
    }
    td_ws_free(client);
    hall_close(hall);
    return 0;
}

static void past_its_age_a_queue_is_full(void **state)
{
    struct hall hall = {.opts.queue_age_max = 3600000000000, .opts.queue_bytes_max = 1000000};

    assert_int_equal(run(state, age_story, &hall), 0);
}

/* Shown out: the close comes ahead of the backlog, behind the frame that has begun to leave. */
static int show_out_story(void *arg)
{
    struct hall *hall = arg;
    unsigned posted, seen = 0;
    td_message message;
    td_ws *client;

    if (!meet(hall, &client))
        return -EIO;
    expect_int(flood(hall->guest[0].ws, &posted), -EBUSY);
    expect_int(flood(hall->guest[0].ws, &(unsigned){0}), -EPIPE);
    while (td_ws_receive(client, &message) == 1)
        expect_int(number_of(&message), seen++);
    expect(seen + 10 < posted);  /* the backlog was forgotten */
    expect_int(client->code, 1013);
    td_ws_free(client);
    eventually(hall->guest[0].closes == 1);
    expect_int(hall->guest[0].code, 1013);
    hall_close(hall);
    return 0;
}

static void who_is_too_slow_is_shown_out_with_1013(void **state)
{
    assert_int_equal(run(state, show_out_story, &(struct hall){.opts.when_full = TD_WS_CLOSE}), 0);
}

/* A handler that waits: its client has to wait as well, and what came is not lost. */
struct writing {
    td_ws *ws;
    unsigned sent;
};

static int write_all(void *arg)
{
    struct writing *writing = arg;
    static char text[PIECE];
    int rc = 0;

    while (rc == 0 && writing->sent < FLOOD && (rc = td_ws_send(writing->ws, TD_WS_BINARY, text, sizeof text)) == 0)
        writing->sent++;
    return rc;
}

static int pressure_story(void *arg)
{
    struct hall *hall = arg;
    struct writing writing = {0};
    td_message message;
    td_scope scope;
    unsigned before;

    if (!meet(hall, &writing.ws))
        return -EIO;
    expect_int(td_ws_send(writing.ws, TD_WS_TEXT, "wait", 4), 0);
    eventually(hall->waiting == 1);
    td_scope_open(&scope);
    td_spawn(&scope, write_all, &writing);
    do {
        before = writing.sent;
        td_sleep(td_ms(30));
    } while (writing.sent != before);
    expect(writing.sent < FLOOD);
    /* The credit, and what a multishot receive brings before its end: twice 32 buffers. */
    expect(hall->guest[0].ws->stream->input_bytes <= hall->guest[0].ws->stream->input_max + 64 * INPUT_STRIDE);
    td_event_set(&hall->go);
    for (unsigned i = 0; i < FLOOD + 1; i++)
        if (!expect_int(td_ws_receive(writing.ws, &message), 1))
            break;
    expect_int(td_scope_join(&scope), 0);
    td_ws_free(writing.ws);
    hall_close(hall);
    return 0;
}

static void a_busy_handler_holds_its_client_back(void **state)
{
    assert_int_equal(run(state, pressure_story, &(struct hall){0}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(past_its_bytes_a_post_is_refused),
        ON_BOTH(past_its_messages_a_post_is_refused),
        ON_BOTH(the_oldest_give_way),
        ON_BOTH(past_its_age_a_queue_is_full),
        ON_BOTH(who_is_too_slow_is_shown_out_with_1013),
        ON_BOTH(a_busy_handler_holds_its_client_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
