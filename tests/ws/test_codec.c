/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <time.h>

#include "stream.h"

/* RFC 6455, 5.4, 5.5 and 5.7 */
static void valid_streams(void **state)
{
    static const struct stream streams[] = {
        {STREAM(""), ""},
        {STREAM("\x81\x05Hello"), "text(Hello)"},
        {STREAM("\x82\x05Hello\x81\x02Hi"), "binary(Hello) text(Hi)"},
        {STREAM("\x82\x02\xC0\xFF"), "binary(\\xc0\\xff)"},
        {STREAM("\x01\x03Hel\x80\x02lo"), "text(Hello)"},
        {STREAM("\x01\x03Hel\x00\x01l\x80\x01o\x81\x00"), "text(Hello) text()"},
        {STREAM("\x89\x05Hello\x8A\x05Hello\x89\x00\x8A\x00"), "ping(Hello) pong(Hello) ping() pong()"},
        {STREAM("\x01\x03Hel\x89\x01x\x00\x01l\x8A\x00\x89\x00\x80\x01o"), "ping(x) pong() ping() text(Hello)"},
        {STREAM("\x81\x00"), "text()"},
        {STREAM("\x82\x00"), "binary()"},
        {STREAM("\x01\x00\x00\x00\x80\x00"), "text()"},
        {STREAM("\x02\x00\x89\x00\x00\x02Hi\x00\x00\x80\x00\x82\x01x"), "ping() binary(Hi) binary(x)"},
        {STREAM("\x01\x01\xC3\x89\x01x\x00\x00\x80\x01\xA9\x81\x01x"), "ping(x) text(\\xc3\\xa9) text(x)"},
        {STREAM("\x81\x03\xE2\x82\xAC\x81\x04\xF0\x9F\x98\x80"), "text(\\xe2\\x82\\xac) text(\\xf0\\x9f\\x98\\x80)"},
        {STREAM("\x81\x05He"), "part(He)"},
        {STREAM("\x01\x02Hi\x89\x00"), "ping() part(Hi)"},
        {STREAM("\x89\x05He"), ""},
    };

    for (size_t i = 0; i < COUNT(streams); i++)
        check(&streams[i]);
}

/* RFC 6455, 5.5.1 */
static void close_ends_everything(void **state)
{
    static const struct stream streams[] = {
        {STREAM("\x88\x00"), "close(1005)"},
        {STREAM("\x88\x00\x81\x05Hello\x83\x00"), "close(1005)"},
        {STREAM("\x88\x05\x03\xE8" "bye\x88\x00"), "close(1000 bye)"},
        {STREAM("\x01\x02Hi\x88\x02\x03\xE9"), "close(1001)"},
        {STREAM("\x88\x05\x13\x87\xE2\x82\xAC"), "close(4999 \xE2\x82\xAC)"},
    };
    static const struct stream refused[] = {
        {STREAM("\x88\x01\x03"), "fail(1002)", "half a code"},
        {STREAM("\x88\x02\x03\xED"), "fail(1002)", "a code nobody may send"},
        {STREAM("\x88\x04\x03\xE8\xC0\x80"), "fail(1007)", "reason is not UTF-8"},
        {STREAM("\x88\x04\x03\xE8\xE2\x82"), "fail(1007)", "reason is not UTF-8"},
    };

    for (size_t i = 0; i < COUNT(streams); i++)
        check(&streams[i]);
    for (size_t i = 0; i < COUNT(refused); i++)
        check_failure(&refused[i]);
}

/* RFC 6455, 7.4.1 and 7.4.2, and the IANA registry for 1012 to 1014 */
static void close_codes(void **state)
{
    static const struct { int first, last; bool valid; } codes[] = {
        {0, 999, false}, {1000, 1003, true}, {1004, 1006, false}, {1007, 1014, true},
        {1015, 2999, false}, {3000, 4999, true}, {5000, 65535, false},
    };

    for (size_t i = 0; i < COUNT(codes); i++)
        for (int code = codes[i].first; code <= codes[i].last; code++)
            assert_int_equal(ws_close_code_valid((uint16_t)code), codes[i].valid);
}

/* RFC 6455, 5.2, 5.4 and 5.5 */
static void flawed_headers(void **state)
{
    static const struct stream streams[] = {
        {STREAM("\xC1\x00"), "fail(1002)", "reserved bits"},
        {STREAM("\xA2\x00"), "fail(1002)", "reserved bits"},
        {STREAM("\x81\x02Hi\x99\x00"), "text(Hi) fail(1002)", "reserved bits"},
        {STREAM("\x82\x7E\x00\x7D"), "fail(1002)", "shortest form"},
        {STREAM("\x82\x7F\x00\x00\x00\x00\x00\x00\xFF\xFF"), "fail(1002)", "shortest form"},
        {STREAM("\x82\x7F\x80\x00\x00\x00\x00\x01\x00\x00"), "fail(1002)", "top bit"},
        {STREAM("\x89\x7E"), "fail(1002)", "more than 125"},
        {STREAM("\x88\x7F"), "fail(1002)", "more than 125"},
        {STREAM("\x09\x00"), "fail(1002)", "control frame is fragmented"},
        {STREAM("\x01\x01x\x08\x02"), "fail(1002)", "control frame is fragmented"},
        {STREAM("\x80\x00"), "fail(1002)", "continues no message"},
        {STREAM("\x01\x01x\x80\x01y\x00\x01"), "text(xy) fail(1002)", "continues no message"},
        {STREAM("\x81\x00\x89\x00\x80\x01"), "text() ping() fail(1002)", "continues no message"},
        {STREAM("\x01\x01x\x81\x01"), "fail(1002)", "before the last one has ended"},
        {STREAM("\x02\x00\x02\x00"), "fail(1002)", "before the last one has ended"},
    };

    for (size_t i = 0; i < COUNT(streams); i++)
        check_failure(&streams[i]);
}

static void unknown_opcodes(void **state)
{
    for (uint8_t opcode = 0; opcode < 16; opcode++) {
        uint8_t bytes[] = {0x80 | opcode, 0};

        if ((opcode >= 3 && opcode <= 7) || opcode >= 11)
            check_failure(&(struct stream){bytes, sizeof bytes, "fail(1002)", "unknown opcode"});
    }
}

/* RFC 6455, 5.1 */
static void masks_are_for_clients_only(void **state)
{
    struct manner whole = {0, SIZE_MAX, ROOM};

    tells(WS_SERVER, ROOM, STREAM("\x81\x02Hi"), whole, "fail(1002)", "is not masked");
    tells(WS_SERVER, ROOM, STREAM("\x89\x00"), whole, "fail(1002)", "is not masked");
    tells(WS_CLIENT, ROOM, STREAM("\x81\x82\x01\x02\x03\x04Ik"), whole, "fail(1002)", "is masked");
    tells(WS_SERVER, ROOM, STREAM("\x81\x85\x37\xFA\x21\x3D\x7F\x9F\x4D\x51\x58"), whole, "text(Hello)", NULL);
}

/* RFC 6455, 8.1: text fails at the byte that spoils it, though the frame goes on. */
static void text_that_is_not_utf8(void **state)
{
    static const struct stream streams[] = {
        {STREAM("\x81\x0AHi\xFF"), "fail(1007)", "not UTF-8"},
        {STREAM("\x81\x0A\xC0"), "fail(1007)", "not UTF-8"},
        {STREAM("\x81\x0A\xF4\x90"), "fail(1007)", "not UTF-8"},
        {STREAM("\x81\x0AHi\xED\xA0"), "fail(1007)", "not UTF-8"},
        {STREAM("\x01\x02\xE2\x82\x89\x01x\x00\x00\x80\x05\x41"), "ping(x) fail(1007)", "not UTF-8"},
        {STREAM("\x81\x02Hi\x81\x02\xE2\x82"), "text(Hi) fail(1007)", "inside a character"},
        {STREAM("\x01\x02\xE2\x82\x89\x00\x80\x00"), "ping() fail(1007)", "inside a character"},
    };

    for (size_t i = 0; i < COUNT(streams); i++)
        check_failure(&streams[i]);
}

/* RFC 6455, 10.4: all of these end at a header, before any payload of that frame. */
static void messages_too_large(void **state)
{
    static const struct stream streams[] = {
        {STREAM("\x82\x05"), "fail(1009)", "larger", 4},
        {STREAM("\x02\x03xxx\x89\x05Hello\x80\x03"), "ping(Hello) fail(1009)", "larger", 5},
        {STREAM("\x82\x05Hello\x02\x02Hi\x00\x00\x80\x04"), "binary(Hello) fail(1009)", "larger", 5},
        {STREAM("\x82\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), "fail(1009)", "larger", INT64_MAX - 1},
        {STREAM("\x02\x01x\x80\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), "fail(1009)", "larger", INT64_MAX},
    };
    struct stream exact = {STREAM("\x02\x03xxx\x80\x02xx\x82\x05Hello"), "binary(xxxxx) binary(Hello)", NULL, 5};

    for (size_t i = 0; i < COUNT(streams); i++)
        check_failure(&streams[i]);
    check(&exact);
}

/* No stream is long enough to bring the sum of the lengths near 2^64, so the decoder's own count is set. */
static void sizes_do_not_wrap(void **state)
{
    struct receiver *r = receiver_new(WS_CLIENT, UINT64_MAX);

    receive(r, STREAM("\x02\x01x"), ROOM);
    r->decoder.message_size = UINT64_MAX - 4;
    receive(r, STREAM("\x80\x05"), ROOM);
    assert_string_equal(r->tale.line, "fail(1009)");
    receiver_free(r);
}

static void every_form_of_length(void **state)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 255, 256, 65535, 65536, 65537};
    uint8_t *payload = test_malloc(ROOM), *bytes = test_malloc(ROOM);
    struct random random = {1};

    for (size_t i = 0; i < ROOM; i++)
        payload[i] = (uint8_t)random_next(&random);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct tale tale = {.size = 0};
        size_t size = 0;

        add_frame(bytes, &size, 0x82, payload, sizes[i]);
        tell_payload(&tale, "binary", payload, sizes[i]);
        check(&(struct stream){bytes, size, tale.line});
    }
    test_free(payload);
    test_free(bytes);
}

static void long_text_fails_at_any_place(void **state)
{
    static const uint16_t good[] = {0, 1, 7, 8, 9, 1023, 1024, 1025, 2047, 2048, 2999};
    uint8_t bytes[4 + 3000] = {0x81, 126, 3000 >> 8, 3000 & 0xFF};

    for (size_t i = 0; i < COUNT(good); i++) {
        memset(bytes + 4, 'x', good[i]);
        bytes[4 + good[i]] = 0xFF;
        check_failure(&(struct stream){bytes, 5u + good[i], "fail(1007)", "not UTF-8"});
    }
}

static void a_full_room_divides_a_frame(void **state)
{
    static const struct { size_t size; bool begin, end; } events[] = {
        {2, true, false}, {2, false, false}, {1, false, true}
    };
    uint8_t in[] = "\x81\x05Hello";
    struct ws_decoder decoder;
    struct ws_event event;
    uint8_t out[2];
    size_t at = 0, used;

    ws_decoder_init(&decoder, WS_CLIENT, 5);
    for (size_t i = 0; i < COUNT(events); i++, at += used) {
        ws_decode(&decoder, in + at, 7 - at, &used, out, sizeof out, &event);
        assert_int_equal(event.kind, WS_EVENT_DATA);
        assert_int_equal(event.size, events[i].size);
        assert_int_equal(event.begin, events[i].begin);
        assert_int_equal(event.end, events[i].end);
    }
    assert_int_equal(at, 7);
}

/* Headers, control frames and empty messages pass; payload waits for room. */
static void no_room_takes_no_payload(void **state)
{
    static const struct { enum ws_event_kind kind; size_t used; } events[] = {
        {WS_EVENT_PING, 3}, {WS_EVENT_DATA, 2}, {WS_EVENT_MORE, 2}, {WS_EVENT_MORE, 0}
    };
    uint8_t in[] = "\x89\x01x\x81\x00\x81\x02Hi";
    struct ws_decoder decoder;
    struct ws_event event;
    uint8_t out[2];
    size_t at = 0, used;

    ws_decoder_init(&decoder, WS_CLIENT, 5);
    for (size_t i = 0; i < COUNT(events); i++, at += used) {
        ws_decode(&decoder, in + at, 9 - at, &used, NULL, 0, &event);
        assert_int_equal(event.kind, events[i].kind);
        assert_int_equal(used, events[i].used);
    }
    ws_decode(&decoder, in + at, 9 - at, &used, out, sizeof out, &event);
    assert_int_equal(event.kind, WS_EVENT_DATA);
    assert_memory_equal(out, "Hi", 2);
}

static void unmasks_in_place(void **state)
{
    uint8_t bytes[] = {0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58};  /* RFC 6455, 5.7 */
    struct ws_decoder decoder;
    struct ws_event event;
    size_t used;

    ws_decoder_init(&decoder, WS_SERVER, 5);
    ws_decode(&decoder, bytes, sizeof bytes, &used, bytes + 6, 5, &event);
    assert_int_equal(used, sizeof bytes);
    assert_true(event.kind == WS_EVENT_DATA && event.end);
    assert_memory_equal(bytes + 6, "Hello", 5);
}

static size_t random_payload(struct random *random, bool text, uint8_t *out)
{
    static const char *const characters[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    static const size_t sizes[] = {0, 1, 7, 125, 126, 1024, 5000, 66000};
    size_t size = 0, limit = random_below(random, sizes[random_below(random, COUNT(sizes))] + 1);

    while (size < limit) {
        const char *character = characters[random_below(random, 4)];

        if (!text)
            out[size++] = (uint8_t)random_next(random);
        else
            size = (size_t)(stpcpy((char *)out + size, character) - (char *)out);
    }
    return size;
}

/* Adds a message in random fragments, some of them empty, with pings and pongs between them. */
static void add_message(struct random *random, uint8_t *bytes, size_t *size, struct tale *tale)
{
    uint8_t *payload = test_malloc(ROOM), first = 1 + (uint8_t)random_below(random, 2), ping[WS_CONTROL_MAX];
    const char *kind = first == WS_TEXT ? "text" : "binary";
    size_t payload_size = random_payload(random, first == WS_TEXT, payload), n, ping_size;

    for (size_t at = 0; (first & 0x80) == 0; at += n, first &= 0x80) {
        n = random_below(random, 3) == 0 ? payload_size - at : random_below(random, payload_size - at + 1);
        if (at + n == payload_size && random_below(random, 4) != 0)
            first |= 0x80;
        add_frame(bytes, size, first, payload + at, n);
        if ((first & 0x80) != 0 || random_below(random, 2) == 0)
            continue;
        ping_size = random_below(random, sizeof ping + 1);
        memset(ping, 'p', ping_size);
        add_frame(bytes, size, 0x89, ping, ping_size);
        tell_payload(tale, "ping", ping, ping_size);
    }
    tell_payload(tale, kind, payload, payload_size);
    test_free(payload);
}

/* The tale the stream was made with is told of it whole, and of it in random pieces with random room. */
static void the_cuts_do_not_matter(void **state)
{
    const char *given = getenv("SEED");
    struct random random = {given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL)};
    uint8_t *bytes = test_malloc(ROOM), *masked = test_malloc(ROOM);

    print_message("SEED=%llu shows this run again\n", (unsigned long long)random.state);
    for (int round = 0; round < 60; round++) {
        struct tale tale = {.size = 0};
        size_t size = 0, masked_size;

        while (size < ROOM / 3 && random_below(&random, 10) != 0)
            add_message(&random, bytes, &size, &tale);
        masked_size = mask_stream(bytes, size, masked);
        tells(WS_CLIENT, ROOM, bytes, size, (struct manner){size, 1, ROOM}, tale.line, NULL);
        tells(WS_SERVER, ROOM, masked, masked_size, (struct manner){masked_size, 1, ROOM}, tale.line, NULL);
        for (size_t piece = 3; piece < 5000; piece *= 7) {
            tells(WS_CLIENT, ROOM, bytes, size, (struct manner){0, piece, 1, &random}, tale.line, NULL);
            tells(WS_SERVER, ROOM, masked, masked_size, (struct manner){0, piece, 1, &random}, tale.line, NULL);
        }
    }
    test_free(bytes);
    test_free(masked);
}

static void encodes_headers(void **state)
{
    static const struct { enum ws_opcode opcode; uint64_t size; const char *bytes; size_t bytes_size; } headers[] = {
        {WS_TEXT, 0, "\x81\x00", 2},
        {WS_PONG, 125, "\x8A\x7D", 2},
        {WS_BINARY, 126, "\x82\x7E\x00\x7E", 4},
        {WS_BINARY, 65535, "\x82\x7E\xFF\xFF", 4},
        {WS_TEXT, 65536, "\x81\x7F\x00\x00\x00\x00\x00\x01\x00\x00", 10},
        {WS_BINARY, INT64_MAX, "\x82\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 10},
    };
    uint8_t out[WS_HEADER_MAX];

    for (size_t i = 0; i < COUNT(headers); i++) {
        assert_int_equal(ws_encode_header(out, headers[i].opcode, headers[i].size), headers[i].bytes_size);
        assert_memory_equal(out, headers[i].bytes, headers[i].bytes_size);
    }
}

/* 123 bytes of reason fit; of a longer one, as many whole characters as do. */
static void encodes_close_frames(void **state)
{
    static const struct { size_t a; const char *then; size_t kept; } reasons[] = {
        {0, "", 0}, {0, "bye", 3}, {120, "\xE2\x82\xAC", 123}, {121, "\xE2\x82\xAC", 121},
        {122, "\xE2\x82\xAC", 122}, {123, "\xE2\x82\xAC", 123}, {200, "", 123}, {122, "\xC3\xA9", 122},
    };
    uint8_t out[2 + WS_CONTROL_MAX];
    char reason[300], tale[300];
    size_t size;

    for (size_t i = 0; i < COUNT(reasons); i++) {
        memset(reason, 'a', reasons[i].a);
        snprintf(reason + reasons[i].a, sizeof reason - reasons[i].a, "%s", reasons[i].then);
        size = ws_encode_close(out, 1001, reason);
        assert_int_equal(size, 4 + reasons[i].kept);
        snprintf(tale, sizeof tale, "close(1001%s%.*s)", reasons[i].kept > 0 ? " " : "", (int)reasons[i].kept, reason);
        tells(WS_CLIENT, ROOM, out, size, (struct manner){size, 1, ROOM}, tale, NULL);
    }
    assert_int_equal(ws_encode_close(out, 1005, "not sent"), 2);
    tells(WS_CLIENT, ROOM, out, 2, (struct manner){2, 1, ROOM}, "close(1005)", NULL);
}

static void answers_a_key(void **state)
{
    char out[WS_ACCEPT_SIZE];

    assert_int_equal(ws_accept_key("dGhlIHNhbXBsZSBub25jZQ==", 24, out), 0);  /* RFC 6455, 1.3 */
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_int_equal(ws_accept_key("AQIDBAUGBwgJCgsMDQ4PEC==", 24, out), 0);  /* RFC 6455, 4.1: spare bits are set */
}

static void refuses_a_bad_key(void **state)
{
    static const char *const keys[] = {
        "", "==", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQ= ", "dGhlIHNhbXBsZSBub25jZQA=", "dGhlIHNhbXBsZSBub25jZQAA", " GhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZ-Bub25jZQ==", "dGhlIHNhbXBsZ=Bub25jZQ==", "dGhlIHNhbXBsZSBub25jZ\xC3==",
    };
    char out[WS_ACCEPT_SIZE];

    for (size_t i = 0; i < COUNT(keys); i++)
        assert_int_equal(ws_accept_key(keys[i], strlen(keys[i]), out), -EINVAL);
    assert_int_equal(ws_accept_key("dGhlIHNhbXBsZ\0Bub25jZQ==", 24, out), -EINVAL);
}

/* RFC 6455, 5.3: a client's frames, payload masked while it is copied; our own server's decoder reads them. */
static void encodes_masked_frames(void **state)
{
    static const uint8_t mask[] = {0x37, 0xFA, 0x21, 0x3D}, none[4];
    uint8_t out[WS_HEADER_MAX + 70000], *payload = test_malloc(70000);
    static const size_t sizes[] = {0, 5, 125, 126, 1000, 65535, 65536, 70000};

    assert_int_equal(ws_encode_frame(out, WS_FIN | WS_TEXT, mask, "Hello", 5), 11);
    assert_memory_equal(out, "\x81\x85\x37\xFA\x21\x3D\x7F\x9F\x4D\x51\x58", 11);  /* RFC 6455, 5.7 */
    assert_int_equal(ws_encode_frame(out, WS_FIN | WS_COMPRESSED | WS_TEXT, NULL, "Hello", 5), 7);
    assert_memory_equal(out, "\xC1\x05Hello", 7);
    assert_int_equal(ws_encode_frame(out, WS_CONTINUATION, none, "Hi", 2), 8);
    assert_memory_equal(out, "\x00\x82\0\0\0\0Hi", 8);
    for (size_t i = 0; i < 70000; i++)
        payload[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct tale tale = {.size = 0};
        size_t size = ws_encode_frame(out, WS_FIN | WS_BINARY, mask, payload, sizes[i]);

        tell_payload(&tale, "binary", payload, sizes[i]);
        tells(WS_SERVER, ROOM, out, size, (struct manner){0, 1000, WHOLE}, tale.line, NULL);
    }
    test_free(payload);
}

/* 4 MiB in 65,536 fragments pass; fragments that carry nothing end the message, however its sizes are arranged. */
static void fragments_may_be_many_but_not_empty(void **state)
{
    static const struct { size_t count, size, big; uint16_t code; } floods[] = {
        {65536, 64, 0, 0}, {300000, 32, 0, 0}, {16000, 0, 0, 0}, {16000, 1, 0, 0}, {20000, 0, 0, WS_CLOSE_POLICY},
        {20000, 1, 0, WS_CLOSE_POLICY}, {20000, 0, 100000, WS_CLOSE_POLICY}, {600000, 31, 0, WS_CLOSE_POLICY},
    };
    static const uint8_t zeros[100000];
    uint8_t bytes[WS_HEADER_MAX], *out = test_malloc(sizeof zeros);

    for (size_t i = 0; i < COUNT(floods); i++) {
        struct ws_decoder decoder;
        struct ws_event event = {.kind = WS_EVENT_MORE};
        size_t used, sent = 0;

        ws_decoder_init(&decoder, WS_CLIENT, 64u << 20);
        ws_decode(&decoder, bytes, ws_encode_head(bytes, WS_BINARY, floods[i].big, NULL), &used, out, 1, &event);
        if (floods[i].big > 0)
            ws_decode(&decoder, memcpy(out, zeros, floods[i].big), floods[i].big, &used, out, floods[i].big, &event);
        for (; sent < floods[i].count && event.kind != WS_EVENT_FAIL; sent++) {
            ws_decode(&decoder, bytes, ws_encode_head(bytes, WS_CONTINUATION, floods[i].size, NULL), &used, out, 1, &event);
            if (floods[i].size > 0 && event.kind != WS_EVENT_FAIL)
                ws_decode(&decoder, out, floods[i].size, &used, out, floods[i].size, &event);
        }
        if (event.kind != WS_EVENT_FAIL)
            ws_decode(&decoder, bytes, ws_encode_head(bytes, WS_FIN | WS_CONTINUATION, 0, NULL), &used, out, 1, &event);
        assert_int_equal(event.kind, floods[i].code != 0 ? WS_EVENT_FAIL : WS_EVENT_DATA);
        assert_int_equal(event.code, floods[i].code);
        ws_decoder_fini(&decoder);
    }
    test_free(out);
}

/* RFC 7692, 6: RSV1 marks the first frame of a compressed message, and nothing else, and only when it was agreed on. */
static void compressed_messages_are_marked_once(void **state)
{
    static const struct { const char *bytes; size_t size; bool ends; const char *why; } streams[] = {
        {"\xC1\x02\xFF\xFE", 4, true, NULL}, {"\xC2\x00", 2, true, NULL}, {"\x41\x01\xC3\x80\x01\x28", 6, true, NULL},
        {"\x41\x01x\x89\x00\x80\x01y", 8, true, NULL},
        {"\xC9\x00", 2, false, "reserved"}, {"\x41\x01x\xC0\x00", 5, false, "reserved"},
        {"\xE1\x00", 2, false, "reserved"}, {"\xA1\x00", 2, false, "reserved"}, {"\x91\x00", 2, false, "reserved"},
        {"\xC0\x00", 2, false, "reserved"}, {"\x01\x01x\xC0\x00", 5, false, "reserved"}, {"\xC3\x00", 2, false, "reserved"},
    };

    for (size_t i = 0; i < COUNT(streams); i++)
        for (size_t step = 1; step <= streams[i].size; step++) {
            struct ws_event event = {.kind = WS_EVENT_MORE}, data = {.kind = WS_EVENT_MORE};
            uint8_t bytes[16], out[16];
            struct ws_decoder decoder;

            memcpy(bytes, streams[i].bytes, streams[i].size);
            ws_decoder_init(&decoder, WS_CLIENT, 100);
            ws_decoder_deflate(&decoder);
            for (size_t at = 0, used; at < streams[i].size && event.kind != WS_EVENT_FAIL; at += used) {
                size_t n = step < streams[i].size - at ? step : streams[i].size - at;

                ws_decode(&decoder, bytes + at, n, &used, out, sizeof out, &event);
                data = event.kind == WS_EVENT_DATA ? event : data;
                assert_true(event.kind != WS_EVENT_DATA || event.compressed == ((streams[i].bytes[0] & WS_COMPRESSED) != 0));
            }
            assert_int_equal(data.kind == WS_EVENT_DATA && data.end, streams[i].ends);
            assert_true(streams[i].why == NULL || (event.kind == WS_EVENT_FAIL && strstr(event.why, streams[i].why)));
            ws_decoder_fini(&decoder);
        }
}

/* What is done in place costs no memory, and leaves what follows as it was. */
static void whole_messages_stay_where_they_are(void **state)
{
    static const uint8_t mask[] = {1, 2, 3, 4};
    uint8_t bytes[100], copy[100];
    size_t first = ws_encode_frame(bytes, WS_FIN | WS_TEXT, mask, "Hello", 5), used;
    size_t size = first + ws_encode_frame(bytes + first, WS_FIN | WS_PING, mask, "again", 5);
    struct ws_decoder decoder;
    struct ws_event event;

    memcpy(copy, bytes, size);
    ws_decoder_init(&decoder, WS_SERVER, 5);
    assert_true(ws_decode_whole(&decoder, bytes, size, &used, &event));
    assert_true(event.kind == WS_EVENT_DATA && event.begin && event.end && event.size == 5 && used == first);
    assert_string_equal((char *)bytes, "Hello");
    assert_memory_equal(bytes + first, copy + first, size - first);
    assert_false(ws_decode_whole(&decoder, bytes + first, size - first, &used, &event));  /* a control frame */
    ws_decode(&decoder, bytes + first, size - first, &used, NULL, 0, &event);
    assert_true(event.kind == WS_EVENT_PING && event.payload == bytes + size - 5);
    assert_memory_equal(event.payload, "again", 5);
    assert_false(ws_decode_whole(&decoder, copy, first - 1, &used, &event));  /* a byte is missing */
    assert_null(decoder.control);
    decoder.message_max = 4;
    assert_false(ws_decode_whole(&decoder, copy, first, &used, &event));
    ws_decode(&decoder, copy, first, &used, NULL, 0, &event);
    assert_int_equal(event.code, WS_CLOSE_TOO_BIG);
    ws_decoder_fini(&decoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_streams), cmocka_unit_test(close_ends_everything), cmocka_unit_test(close_codes),
        cmocka_unit_test(flawed_headers), cmocka_unit_test(unknown_opcodes),
        cmocka_unit_test(masks_are_for_clients_only), cmocka_unit_test(text_that_is_not_utf8),
        cmocka_unit_test(messages_too_large), cmocka_unit_test(sizes_do_not_wrap),
        cmocka_unit_test(every_form_of_length), cmocka_unit_test(long_text_fails_at_any_place),
        cmocka_unit_test(a_full_room_divides_a_frame), cmocka_unit_test(no_room_takes_no_payload),
        cmocka_unit_test(unmasks_in_place), cmocka_unit_test(the_cuts_do_not_matter),
        cmocka_unit_test(encodes_headers), cmocka_unit_test(encodes_close_frames),
        cmocka_unit_test(encodes_masked_frames), cmocka_unit_test(fragments_may_be_many_but_not_empty),
        cmocka_unit_test(compressed_messages_are_marked_once), cmocka_unit_test(whole_messages_stay_where_they_are),
        cmocka_unit_test(answers_a_key), cmocka_unit_test(refuses_a_bad_key),
    };

    return cmocka_run_group_tests_name("ws codec", tests, NULL, NULL);
}
