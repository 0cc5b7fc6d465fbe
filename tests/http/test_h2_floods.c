/* SPDX-License-Identifier: MIT */
/*
 * The brakes of a session of HTTP/2: each flood ends the connection with ENHANCE_YOUR_CALM, soon, and by its own name; and
 * what busy clients do is no flood.
 */
#include "http/h2_peer.h"

#define ANY 0x7fffffff

struct world {
    struct h2_session *session;
    struct heard heard;
    unsigned requests;
    td_time now;
};

static void request(struct h2_session *session, struct h2_stream *stream)
{
    ((struct world *)session->owner)->requests++;
    h2_session_release(session);  /* a quick handler: it is done before its answer has left */
    (void)h2_stream_answer(stream, stream->fault.status ? stream->fault.status : 200, "", false);
}

static void data(struct h2_session *session, struct h2_stream *stream, const uint8_t *bytes, size_t size)
{
    h2_stream_consume(stream, size);
}

static void end(struct h2_session *session, struct h2_stream *stream)
{
}

static void gone(struct h2_session *session, struct h2_stream *stream, uint32_t code)
{
}

/* There is always more to send. */
static size_t pull(struct h2_session *session, struct h2_stream *stream, uint8_t *to, size_t room, bool *last)
{
    memset(to, 'x', room);
    return room;
}

static const struct h2_hooks hooks = {request, data, end, gone, pull};
static const struct h2_limits limits = {.streams_max = 100, .head_bytes_max = 8192, .fields_max = 100, .window = 65536};

static int begin(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    struct bytes bytes = {0};

    assert_non_null(world);
    world->now = td_sec(100);
    assert_int_equal(h2_session_open(&world->session, &limits, &hooks, world), 0);
    put_preface(&bytes);
    assert_int_equal(h2_session_receive(world->session, bytes.at, bytes.size, world->now), 0);
    free(bytes.at);
    *state = world;
    return 0;
}

static int finish(void **state)
{
    struct world *world = *state;

    h2_session_close(world->session);
    free(world);
    return 0;
}

/* Sends `bytes`, which are freed, and hears at most `blocks` blocks. Returns what the session says. */
static int send_all(struct world *world, struct bytes *bytes)
{
    int rc = h2_session_receive(world->session, bytes->at, bytes->size, world->now);
    struct block *block;

    free(bytes->at);
    *bytes = (struct bytes){0};
    while (h2_session_send(world->session, 16384, world->now, &block) > 0) {
        hear(&world->heard, block->bytes, block->size);
        block_release(block);
    }
    return world->session->failed ? -EPROTO : rc;
}

/* What a flood does the i-th time. */
typedef void (*flood_fn)(struct bytes *bytes, uint32_t i);

static void rapid_reset(struct bytes *bytes, uint32_t i)
{
    put_headers(bytes, 2 * i + 1, END_STREAM, GET);
    put_word(bytes, RST, 0, 2 * i + 1, NGHTTP2_CANCEL);
}

/* RFC 9113, 6.9.1: a window of more than 2^31-1 is an error of the stream, and we are to reset it. */
static void overflow_window(struct bytes *bytes, uint32_t i)
{
    put_headers(bytes, 2 * i + 1, END_STREAM, GET);
    put_word(bytes, WINDOW, 0, 2 * i + 1, ANY);
}

/* 8.1.1: a malformed request is one, too. */
static void malformed(struct bytes *bytes, uint32_t i)
{
    put_headers(bytes, 2 * i + 1, END_STREAM, GET "connection\nclose\n");
}

static void longer_body(struct bytes *bytes, uint32_t i)
{
    put_headers(bytes, 2 * i + 1, 0, POST "content-length\n1\n");
    put_frame(bytes, DATA, END_STREAM, 2 * i + 1, "ab", 2);
}

static void settings(struct bytes *bytes, uint32_t i)
{
    put_frame(bytes, SETTINGS, 0, 0, "\0\4\0\1\0\0", 6);
}

static void ping(struct bytes *bytes, uint32_t i)
{
    put_frame(bytes, PING, 0, 0, "01234567", 8);
}

static void empty_data(struct bytes *bytes, uint32_t i)
{
    if (i == 0)
        put_headers(bytes, 1, 0, POST);
    put_frame(bytes, DATA, 0, 1, NULL, 0);
}

static void padded_data(struct bytes *bytes, uint32_t i)
{
    if (i == 0)
        put_headers(bytes, 1, 0, POST);
    put_frame(bytes, DATA, PADDED, 1, "\3\0\0\0", 4);
}

static void priority(struct bytes *bytes, uint32_t i)
{
    put_frame(bytes, PRIORITY, 0, 2 * i + 1, "\0\0\0\0\1", 5);
}

static void unknown(struct bytes *bytes, uint32_t i)
{
    put_frame(bytes, 0x77, 0, 0, "what", 4);
}

static void crumbs(struct bytes *bytes, uint32_t i)
{
    if (i == 0) {
        put_frame(bytes, SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
        put_headers(bytes, 1, END_STREAM, GET);
    }
    put_word(bytes, WINDOW, 0, 1, 1);
}

static void many_pieces(struct bytes *bytes, uint32_t i)
{
    struct bytes block = block_of(GET);

    if (i == 0)
        put_frame(bytes, HEADERS, END_STREAM, 1, block.at, block.size);
    put_frame(bytes, CONTINUATION, 0, 1, block.at, i % 2);
    free(block.at);
}

static void large_pieces(struct bytes *bytes, uint32_t i)
{
    static const uint8_t zeros[16000];

    put_frame(bytes, i == 0 ? HEADERS : CONTINUATION, i == 0 ? END_STREAM : 0, 1, zeros, sizeof zeros);
}

/* One large field goes into the table of HPACK, and thousands of bytes name it again (RFC 7541, 6.1 and 6.2.1). */
static void bomb(struct bytes *bytes, uint32_t i)
{
    struct bytes block = block_of(GET);
    char large[3000];
    uint8_t again[3000];

    memset(large, 'v', sizeof large);
    large[sizeof large - 1] = '\0';
    memset(again, 0x80 | 62, sizeof again);
    put(&block, "\x40", 1);
    put_string(&block, "x");
    put_string(&block, large);
    put(&block, again, sizeof again);
    put_frame(bytes, HEADERS, END_STREAM | END_HEADERS, 2 * i + 1, block.at, block.size);
    free(block.at);
}

static const struct flood {
    const char *name;
    flood_fn more;
    enum h2_brake brake;
    unsigned soon;        /* it is over after so many, at the most */
    unsigned fine;        /* so many are no flood */
} floods[] = {
    {"rapid reset", rapid_reset, H2_RESET, 300, 200},
    {"made you reset: window overflow", overflow_window, H2_MADE_RESET, 120, 50},
    {"made you reset: malformed requests", malformed, H2_MADE_RESET, 120, 50},
    {"made you reset: bodies longer than they say", longer_body, H2_MADE_RESET, 120, 50},
    {"settings", settings, H2_SETTINGS, 60, 30},
    {"ping", ping, H2_PING, 300, 200},
    {"empty data", empty_data, H2_EMPTY, 120, 50},
    {"nothing but padding", padded_data, H2_EMPTY, 120, 50},
    {"priority", priority, H2_PRIORITY, 450, 300},
    {"unknown frames", unknown, H2_PRIORITY, 450, 300},
    {"windows in crumbs", crumbs, H2_WINDOW, 1200, 500},
    {"endless header block", many_pieces, H2_CONTINUATION, 20, 3},
    {"large header block", large_pieces, H2_CONTINUATION, 3, 0},
    {"header bomb", bomb, H2_HEADERS, 1, 0},
};

static void each_flood_is_stopped(void **state)
{
    for (size_t i = 0; i < COUNT(floods); i++) {
        const struct flood *flood = &floods[i];
        struct world *world = *state;
        struct bytes bytes = {0};
        unsigned n = 0;

        for (; n < 5000 && !world->session->failed; n++) {
            flood->more(&bytes, n);
            send_all(world, &bytes);
            if (n + 1 == flood->fine && world->session->failed)
                fail_msg("%s: %u are no flood", flood->name, n + 1);
        }
        if (n > flood->soon || world->session->brake != flood->brake || world->heard.goaway != NGHTTP2_ENHANCE_YOUR_CALM)
            fail_msg("%s: after %u, brake %d, GOAWAY %u", flood->name, n, world->session->brake, world->heard.goaway);
        assert_true(world->session->guard.counts[flood->brake] > 0);
        assert_true(h2_session_over(world->session));
        finish(state);
        begin(state);
    }
}

/* All at once, in the piece that one read gives: what it provokes is bounded as well. */
static void a_flood_in_one_piece_is_stopped_too(void **state)
{
    for (size_t i = 0; i < COUNT(floods); i++) {
        struct world *world = *state;
        struct bytes bytes = {0};

        for (unsigned n = 0; n < 1500; n++)
            floods[i].more(&bytes, n);
        assert_int_equal(send_all(world, &bytes), -EPROTO);
        if (world->heard.goaway != NGHTTP2_ENHANCE_YOUR_CALM && world->heard.goaway != NGHTTP2_PROTOCOL_ERROR)
            fail_msg("%s: GOAWAY %u", floods[i].name, world->heard.goaway);
        assert_true(world->requests <= limits.streams_max + 1);
        finish(state);
        begin(state);
    }
}

/* Frames that provoke an error of the connection end it there; no brake is needed. */
static void errors_of_the_connection_end_it(void **state)
{
    static const struct { int type; uint32_t id; const char *payload; size_t size; uint32_t code; } cases[] = {
        {PRIORITY, 1, "\0\0\0\0", 4, NGHTTP2_FRAME_SIZE_ERROR},
        {WINDOW, 1, "\0\0\0\0", 4, NGHTTP2_PROTOCOL_ERROR},
        {WINDOW, 0, "\x7f\xff\xff\xff", 4, NGHTTP2_FLOW_CONTROL_ERROR},
        {DATA, 1, "x", 1, NGHTTP2_STREAM_CLOSED},
        {DATA, 0, "x", 1, NGHTTP2_PROTOCOL_ERROR},
        {DATA, 3, "x", 1, NGHTTP2_PROTOCOL_ERROR},
        {RST, 9, "\0\0\0\0", 4, NGHTTP2_PROTOCOL_ERROR},
        {CONTINUATION, 1, "", 0, NGHTTP2_PROTOCOL_ERROR},
        {PING, 0, "1234567", 7, NGHTTP2_FRAME_SIZE_ERROR},
        {PUSH, 1, "\0\0\0\2", 4, NGHTTP2_PROTOCOL_ERROR},
        {SETTINGS, 0, "\0\4\xff\xff\xff\xff", 6, NGHTTP2_FLOW_CONTROL_ERROR},
        {HEADERS, 3, "\x80", 1, NGHTTP2_COMPRESSION_ERROR},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct world *world = *state;
        struct bytes bytes = {0};

        put_headers(&bytes, 1, END_STREAM, GET);
        put_frame(&bytes, cases[i].type, END_HEADERS, cases[i].id, cases[i].payload, cases[i].size);
        if (send_all(world, &bytes) != -EPROTO || world->heard.goaway != cases[i].code)
            fail_msg("case %zu: GOAWAY %u", i, world->heard.goaway);
        assert_int_equal(world->session->brake, H2_CALM);
        finish(state);
        begin(state);
    }
}

/* The same, spread over time: buckets fill again. */
static void what_is_done_now_and_then_is_no_flood(void **state)
{
    struct world *world = *state;
    struct bytes bytes = {0};

    for (unsigned i = 0; i < 3000; i++) {
        ping(&bytes, i);
        if (i % 20 == 0)
            settings(&bytes, i);
        rapid_reset(&bytes, i);
        if (send_all(world, &bytes) != 0)
            fail_msg("%u: brake %d, GOAWAY %u", i, world->session->brake, world->heard.goaway);
        world->now += td_ms(50);
    }
    assert_int_equal(world->requests, 3000);
}

/* A client that answers each frame of data with two openings of windows, and downloads much. */
static void a_fast_download_is_no_flood(void **state)
{
    struct world *world = *state;
    struct bytes bytes = {0};

    put_headers(&bytes, 1, END_STREAM, GET);
    put_word(&bytes, WINDOW, 0, 0, 1 << 20);
    assert_int_equal(send_all(world, &bytes), 0);
    for (unsigned i = 0; i < 20000; i++) {
        put_word(&bytes, WINDOW, 0, 1, 1024);
        put_word(&bytes, WINDOW, 0, 0, 1024);
        assert_int_equal(send_all(world, &bytes), 0);
    }
    assert_int_equal(world->heard.data, 65535 + 20000 * 1024);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_flood_is_stopped),
        CASE(a_flood_in_one_piece_is_stopped_too),
        CASE(errors_of_the_connection_end_it),
        CASE(what_is_done_now_and_then_is_no_flood),
        CASE(a_fast_download_is_no_flood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
