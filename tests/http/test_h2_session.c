/* SPDX-License-Identifier: MIT */
/* A session of HTTP/2 in memory: requests in, answers out, and what is refused on the way. */
#include "http/h2_peer.h"

#include <stdio.h>

/* A server that keeps what it is told, and answers as a test wishes. */
struct world {
    struct h2_session *session;
    struct heard heard;
    struct h2_stream *stream;     /* the last request's, held */
    unsigned requests, ends, gone;
    uint32_t gone_code;
    size_t received;
    bool consumes, answers;       /* at once */
    size_t to_send;               /* of the answer's body, as fast as it goes */
    bool holding_back;            /* there is more, but not now */
    const char *trailers;
    td_time now;
};

static void request(struct h2_session *session, struct h2_stream *stream)
{
    struct world *world = session->owner;

    if (world->stream)
        h2_stream_release(world->stream);
    world->stream = stream;
    h2_stream_hold(stream);
    world->requests++;
    if (stream->fault.status)
        assert_int_equal(h2_stream_answer(stream, stream->fault.status, "", true), 0);
    else if (world->answers)
        assert_int_equal(h2_stream_answer(stream, 200, "Content-Type: a/b\r\nConnection: close\r\n", world->to_send == 0), 0);
}

static void data(struct h2_session *session, struct h2_stream *stream, const uint8_t *bytes, size_t size)
{
    struct world *world = session->owner;

    world->received += size;
    if (world->consumes)
        h2_stream_consume(stream, size);
}

static void end(struct h2_session *session, struct h2_stream *stream)
{
    ((struct world *)session->owner)->ends++;
}

static void gone(struct h2_session *session, struct h2_stream *stream, uint32_t code)
{
    struct world *world = session->owner;

    world->gone++;
    world->gone_code = code;
}

static size_t pull(struct h2_session *session, struct h2_stream *stream, uint8_t *to, size_t room, bool *last)
{
    struct world *world = session->owner;
    size_t size = world->to_send < room ? world->to_send : room;

    if (world->holding_back)
        return 0;
    memset(to, 'x', size);
    world->to_send -= size;
    *last = world->to_send == 0;
    if (*last && world->trailers)
        assert_int_equal(h2_stream_trailers(stream, world->trailers), 0);
    return size;
}

static const struct h2_hooks hooks = {request, data, end, gone, pull};
static const struct h2_limits limits = {.streams_max = 10, .head_bytes_max = 1000, .fields_max = 20, .window = 5000};

static int begin(void **state)
{
    struct world *world = calloc(1, sizeof *world);

    assert_non_null(world);
    world->now = td_sec(1);
    world->answers = world->consumes = true;
    assert_int_equal(h2_session_open(&world->session, &limits, &hooks, world), 0);
    *state = world;
    return 0;
}

static int finish(void **state)
{
    struct world *world = *state;

    if (world->session)
        h2_session_close(world->session);
    if (world->stream)
        h2_stream_release(world->stream);
    free(world);
    return 0;
}

static void take_output(struct world *world)
{
    struct block *block;

    while (h2_session_send(world->session, 40000, world->now, &block) > 0) {
        assert_true(block->size > 0 && block->size <= 40000);
        hear(&world->heard, block->bytes, block->size);
        block_release(block);
    }
}

/* The client sends all of it, and hears what it is answered. */
static int send_all(struct world *world, struct bytes *bytes)
{
    uint8_t *copy = malloc(bytes->size + 1);  /* of its size, so that a sanitizer sees a byte read too many */
    int rc;

    assert_non_null(copy);
    memcpy(copy, bytes->at, bytes->size);
    rc = h2_session_receive(world->session, copy, bytes->size, world->now);
    free(copy);
    take_output(world);
    free(bytes->at);
    *bytes = (struct bytes){0};
    return rc;
}

static struct bytes greeting(void)
{
    struct bytes bytes = {0};

    put_preface(&bytes);
    return bytes;
}

static void a_request_is_told_and_answered(void **state)
{
    struct world *world = *state;
    struct bytes bytes = greeting();

    put_headers(&bytes, 1, END_STREAM, GET "cookie\na=1\naccept\na\ncookie\nb=2\naccept\nb\n");
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->requests, 1);
    assert_int_equal(world->ends, 1);
    assert_string_equal(http_method(&world->stream->head), "GET");
    assert_string_equal(http_target(&world->stream->head), "/p?q=1");
    assert_string_equal(http_field(&world->stream->head, "Host"), "h");
    assert_string_equal(http_field(&world->stream->head, "cookie"), "a=1; b=2");
    assert_string_equal(http_field(&world->stream->head, "accept"), "a, b");
    assert_int_equal(world->stream->head.version, 20);
    assert_int_equal(world->heard.frames[HEADERS], 1);
    assert_int_equal(world->heard.ends, 1);
    assert_int_equal(world->gone, 1);
    assert_int_equal(world->gone_code, 0);
}

/* RFC 9113, 3.4, and nothing of what RFC 9113, 8.2.2 forbids. */
static void settings_come_first_and_fields_of_connections_are_left_out(void **state)
{
    struct world *world = *state;
    struct bytes bytes = greeting();

    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->heard.frames[SETTINGS], 2);  /* ours, and the acknowledgement of theirs */
    put_headers(&bytes, 1, END_STREAM, GET);
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->heard.frames[HEADERS], 1);
}

/* What is not consumed closes its stream's window, and no other's. */
static void who_does_not_consume_holds_its_own_stream_alone(void **state)
{
    struct world *world = *state;
    struct bytes bytes = greeting();
    uint8_t body[5000] = {0};

    world->consumes = world->answers = false;
    put_frame(&bytes, SETTINGS, ACK, 0, NULL, 0);
    put_headers(&bytes, 1, 0, POST);
    put_frame(&bytes, DATA, 0, 1, body, 5000);
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->received, 5000);
    assert_int_equal(world->heard.frames[WINDOW], 1);  /* the connection's larger window, at its begin */
    h2_stream_consume(world->stream, 5000);
    take_output(world);
    assert_int_equal(world->heard.frames[WINDOW], 2);
    put_headers(&bytes, 3, 0, POST);
    put_frame(&bytes, DATA, END_STREAM, 3, body, 5000);
    put_frame(&bytes, DATA, END_STREAM, 1, body, 5000);
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->received, 15000);
    assert_int_equal(world->ends, 2);
}

static void who_sends_more_than_the_window_is_reset(void **state)
{
    struct world *world = *state;
    struct bytes bytes = greeting();
    uint8_t body[5001] = {0};

    world->consumes = world->answers = false;
    put_frame(&bytes, SETTINGS, ACK, 0, NULL, 0);
    put_headers(&bytes, 1, 0, POST);
    put_frame(&bytes, DATA, 0, 1, body, 5001);
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->heard.last_reset, NGHTTP2_FLOW_CONTROL_ERROR);
    assert_int_equal(world->gone_code, NGHTTP2_FLOW_CONTROL_ERROR);
}

static void an_answer_waits_for_window_and_for_its_owner(void **state)
{
    struct world *world = *state;
    struct bytes bytes = greeting();

    world->to_send = 70000;
    world->holding_back = true;
    put_headers(&bytes, 1, END_STREAM, GET);
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->heard.data, 0);
    assert_true(world->stream->waiting);
    world->holding_back = false;
    h2_stream_resume(world->stream);
    take_output(world);
    assert_int_equal(world->heard.data, 65535);
    put_word(&bytes, WINDOW, 0, 0, 100000);
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->heard.data, 65535);
    put_word(&bytes, WINDOW, 0, 1, 100000);
    world->trailers = "X-Sum: 7\r\n";
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->heard.data, 70000);
    assert_int_equal(world->heard.frames[HEADERS], 2);
    assert_int_equal(world->heard.ends, 1);
    assert_int_equal(world->stream->taken, 70000);
}

/* RFC 9113, 8.1: the rest of a request that was answered is not wanted, and to say so is no flood. */
static void who_is_answered_early_may_be_told_to_stop(void **state)
{
    struct world *world = *state;
    struct bytes bytes = greeting();

    put_headers(&bytes, 1, 0, POST);
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->heard.ends, 1);
    assert_int_equal(world->gone, 0);
    h2_stream_reset(world->stream, NGHTTP2_NO_ERROR);
    take_output(world);
    assert_int_equal(world->heard.frames[RST], 1);
    assert_int_equal(world->gone, 1);
    assert_int_equal(world->session->guard.counts[H2_MADE_RESET], 0);
}

/* RFC 9113, 8.1.1: malformed requests are errors of their stream, and no handler sees them. */
static void malformed_requests_are_reset(void **state)
{
    static const char *const malformed[] = {
        GET "Upper\nx\n",
        GET "connection\nclose\n",
        GET "transfer-encoding\nchunked\n",
        GET "upgrade\nwebsocket\n",
        GET "keep-alive\n1\n",
        GET "te\ngzip\n",
        GET "x y\nz\n",
        GET "x\na\rb\n",
        GET "x\n padded\n",
        GET ":path\n/again\n",
        GET "host\nelsewhere\n",
        GET "accept\na\n:late\nx\n",
        GET ":unknown\nx\n",
        ":method\nGET\n:scheme\nhttp\n:authority\nh\n",
        ":method\nGET\n:scheme\nhttp\n:path\n\n:authority\nh\n",
        ":scheme\nhttp\n:path\n/\n:authority\nh\n",
        ":method\nGET\n:path\n/\n:authority\nh\n",
        ":method\nGET\n:scheme\nhttp\n:path\nrelative\n:authority\nh\n",
        ":method\nGET\n:scheme\nhttp\n:path\n/\n",
        GET "content-length\n5\n",
        GET "content-length\n5\ncontent-length\n5\n",
        GET ":protocol\nwebsocket\n",
        ":method\nGET\n:scheme\nhttp\n:path\n/#x\n:authority\nh\n",
    };

    for (size_t i = 0; i < COUNT(malformed); i++) {
        struct world *world = *state;
        struct bytes bytes = greeting();

        put_headers(&bytes, 1, END_STREAM, malformed[i]);
        if (send_all(world, &bytes) != 0 || world->requests != 0 || world->heard.last_reset != NGHTTP2_PROTOCOL_ERROR)
            fail_msg("case %zu is taken: %s", i, malformed[i]);
        assert_int_equal(world->heard.frames[RST], 1);
        assert_int_equal(world->session->guard.counts[H2_MADE_RESET], 1);
        finish(state);
        begin(state);
    }
}

/* RFC 9113, 5.1, 5.1.1 and 6.3: frames that nghttp2 ignores, and that end the connection all the same. */
static void frames_where_none_may_come_end_it(void **state)
{
    static const struct {
        int type, reset_first;
        uint32_t first, second;
        uint32_t code;
    } cases[] = {
        {PRIORITY, false, 1, 0, NGHTTP2_PROTOCOL_ERROR},
        {HEADERS, false, 5, 3, NGHTTP2_PROTOCOL_ERROR},
        {HEADERS, true, 1, 1, NGHTTP2_STREAM_CLOSED},
        {DATA, true, 1, 1, NGHTTP2_STREAM_CLOSED},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct world *world = *state;
        struct bytes bytes = greeting();

        world->answers = false;
        put_headers(&bytes, cases[i].first, 0, POST);
        if (cases[i].reset_first)
            put_word(&bytes, RST, 0, cases[i].first, NGHTTP2_CANCEL);
        assert_int_equal(send_all(world, &bytes), 0);
        if (cases[i].type == HEADERS)
            put_headers(&bytes, cases[i].second, END_STREAM, GET);
        else
            put_frame(&bytes, cases[i].type, 0, cases[i].second, "12345", 5);
        if (send_all(world, &bytes) != -EPROTO || !world->heard.has_goaway || world->heard.goaway != cases[i].code)
            fail_msg("case %zu is taken: %u", i, world->heard.goaway);
        finish(state);
        begin(state);
    }
}

/* What crosses our own reset, trailers after later streams, and priorities of streams that are gone: none of it is an error. */
static void frames_that_cross_ours_are_none_of_these(void **state)
{
    struct world *world = *state;
    struct bytes bytes = greeting();

    world->answers = false;
    put_headers(&bytes, 1, 0, POST);
    assert_int_equal(send_all(world, &bytes), 0);
    h2_stream_reset(world->stream, NGHTTP2_CANCEL);
    take_output(world);
    put_frame(&bytes, DATA, 0, 1, "12345", 5);
    put_headers(&bytes, 1, END_STREAM, "x\ny\n");
    put_headers(&bytes, 3, 0, POST);
    put_headers(&bytes, 7, 0, POST);
    put_headers(&bytes, 3, END_STREAM, "x\ny\n");
    put_word(&bytes, RST, 0, 7, NGHTTP2_CANCEL);
    put_frame(&bytes, PRIORITY, 0, 7, "\0\0\0\0\1", 5);
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->requests, 3);
    assert_int_equal(world->ends, 1);
    assert_false(world->heard.has_goaway);
}

static void the_same_host_twice_is_one_host(void **state)
{
    struct world *world = *state;
    struct bytes bytes = greeting();

    put_headers(&bytes, 1, END_STREAM, GET "host\nH\n");
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->requests, 1);
    assert_string_equal(http_field(&world->stream->head, "host"), "h");
}

static void bodies_have_the_length_they_are_said_to_have(void **state)
{
    struct world *world = *state;
    struct bytes bytes = greeting();

    world->answers = false;
    put_headers(&bytes, 1, 0, POST "content-length\n5\n");
    put_frame(&bytes, DATA, END_STREAM, 1, "1234", 4);
    put_headers(&bytes, 3, 0, POST "content-length\n5\n");
    put_frame(&bytes, DATA, END_STREAM, 3, "123456", 6);
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->heard.frames[RST], 2);
    assert_int_equal(world->heard.last_reset, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(world->ends, 0);
    assert_int_equal(world->gone, 2);
}

static void a_head_that_is_too_large_is_refused_with_431(void **state)
{
    struct world *world = *state;
    struct bytes bytes = greeting();
    char fields[2000];
    int used = snprintf(fields, sizeof fields, GET);

    memset(fields + used, 'x', 1100);
    memcpy(fields + used + 1100, "\nv\n", 4);
    put_headers(&bytes, 1, END_STREAM, fields);
    for (int i = 0; i < 21; i++)
        used += snprintf(fields + used, sizeof fields - (size_t)used, "f%d\n\n", i);
    put_headers(&bytes, 3, END_STREAM, fields);
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->requests, 2);
    assert_int_equal(world->stream->fault.status, 431);
    assert_int_equal(world->heard.frames[HEADERS], 2);
}

static void refused_heads_say_why(void **state)
{
    static const struct { const char *fields; int status; } cases[] = {
        {":method\nGET\n:scheme\nftp\n:path\n/\n:authority\nh\n", 400},
        {":method\nGET\n:scheme\nhttp\n:path\n/\n:authority\nuser@h\n", 400},
        {":method\nGET\n:scheme\nhttp\n:path\n/\n:authority\nh\n", 0},
        {":method\nGET\n:scheme\nhttps\n:path\n/\nhost\nh\n", 0},
        {":method\nOPTIONS\n:scheme\nhttps\n:path\n*\n:authority\nh\n", 0},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct world *world = *state;
        struct bytes bytes = greeting();

        put_headers(&bytes, 1, END_STREAM, cases[i].fields);
        assert_int_equal(send_all(world, &bytes), 0);
        assert_int_equal(world->requests, 1);
        if (world->stream->fault.status != cases[i].status)
            fail_msg("case %zu: %d", i, world->stream->fault.status);
        finish(state);
        begin(state);
    }
}

/* A reset frees the stream for the peer; but the work goes on, and counts until it is over. */
static void work_for_streams_that_were_reset_counts_until_it_ends(void **state)
{
    struct world *world = *state;
    struct bytes bytes = greeting();

    world->answers = false;
    for (uint32_t i = 0; i < 10; i++) {
        put_headers(&bytes, 2 * i + 1, END_STREAM, GET);
        put_word(&bytes, RST, 0, 2 * i + 1, NGHTTP2_CANCEL);
    }
    put_headers(&bytes, 21, END_STREAM, GET);
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->requests, 10);
    assert_int_equal(world->gone, 10);
    assert_int_equal(world->heard.last_reset, NGHTTP2_REFUSED_STREAM);
    h2_session_release(world->session);
    put_headers(&bytes, 23, END_STREAM, GET);
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->requests, 11);
}

static void a_drain_warns_and_then_refuses(void **state)
{
    struct world *world = *state;
    struct bytes bytes = greeting();

    put_headers(&bytes, 1, END_STREAM, GET);
    send_all(world, &bytes);
    h2_session_drain(world->session);
    take_output(world);
    assert_int_equal(world->heard.goaway_id, 0x7fffffff);
    put_headers(&bytes, 3, END_STREAM, GET);
    assert_int_equal(send_all(world, &bytes), 0);
    assert_int_equal(world->requests, 2);
    assert_false(h2_session_over(world->session));
    h2_session_drain(world->session);
    take_output(world);
    assert_int_equal(world->heard.goaway_id, 3);
    assert_int_equal(world->heard.goaway, NGHTTP2_NO_ERROR);
    assert_true(h2_session_over(world->session));
}

static void what_is_no_preface_ends_it(void **state)
{
    struct world *world = *state;
    struct bytes bytes = {0};

    put(&bytes, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27);
    assert_int_equal(send_all(world, &bytes), -EPROTO);
    assert_int_equal(world->heard.goaway, NGHTTP2_PROTOCOL_ERROR);
    assert_true(h2_session_over(world->session));
}

static struct bytes conversation(void)
{
    struct bytes bytes = greeting();

    put_headers(&bytes, 1, 0, POST "x\ny\n");
    put_frame(&bytes, DATA, PADDED, 1, "\003body\0\0\0", 8);
    put_headers(&bytes, 3, END_STREAM, GET);
    put_headers(&bytes, 1, END_STREAM, "trailer\nt\n");
    put_word(&bytes, WINDOW, 0, 1, 70000);
    put_word(&bytes, WINDOW, 0, 0, 70000);
    put_frame(&bytes, PING, 0, 0, "12345678", 8);
    put_word(&bytes, RST, 0, 1, NGHTTP2_CANCEL);
    return bytes;
}

/* Byte by byte it is the same conversation; and it may break off at each of them. */
static void bytes_may_come_one_by_one_and_stop_at_any(void **state)
{
    struct bytes bytes = conversation();

    for (size_t stop = 0; stop <= bytes.size; stop++) {
        struct world *world = *state;

        world->answers = false;
        for (size_t i = 0; i < stop; i++) {
            assert_int_equal(h2_session_receive(world->session, bytes.at + i, 1, world->now), 0);
            take_output(world);
        }
        if (stop == bytes.size) {
            assert_int_equal(world->requests, 2);
            assert_int_equal(world->received, 4);
            assert_int_equal(world->ends, 2);
            assert_int_equal(world->gone, 1);
            assert_int_equal(world->heard.frames[PING], 1);
        }
        finish(state);
        begin(state);
    }
    free(bytes.at);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_request_is_told_and_answered),
        CASE(settings_come_first_and_fields_of_connections_are_left_out),
        CASE(who_does_not_consume_holds_its_own_stream_alone),
        CASE(who_sends_more_than_the_window_is_reset),
        CASE(an_answer_waits_for_window_and_for_its_owner),
        CASE(who_is_answered_early_may_be_told_to_stop),
        CASE(malformed_requests_are_reset),
        CASE(frames_where_none_may_come_end_it),
        CASE(frames_that_cross_ours_are_none_of_these),
        CASE(the_same_host_twice_is_one_host),
        CASE(bodies_have_the_length_they_are_said_to_have),
        CASE(a_head_that_is_too_large_is_refused_with_431),
        CASE(refused_heads_say_why),
        CASE(work_for_streams_that_were_reset_counts_until_it_ends),
        CASE(a_drain_warns_and_then_refuses),
        CASE(what_is_no_preface_ends_it),
        CASE(bytes_may_come_one_by_one_and_stop_at_any),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
