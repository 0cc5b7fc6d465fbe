/* SPDX-License-Identifier: MIT */
/*
 * Conformance, as tables: what a receiver makes of each shape of stream. Every case is fed to both sides whole, cut at each of
 * its places, byte by byte, with any room, in place, and must tell the same each time (stream.h).
 */
#include "stream.h"

static void check_all(const struct stream *streams, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check(&streams[i]);
}

/* A text message of these bytes: taken as it is, or refused with 1007. Also in two fragments, cut at each place. */
static void check_text(const char *text, size_t size, bool valid)
{
    for (size_t cut = 0; cut <= size; cut++) {
        uint8_t bytes[300];
        struct tale tale = {.size = 0};
        size_t n = 0;

        if (cut == size) {
            add_frame(bytes, &n, 0x81, (const uint8_t *)text, size);
        } else {
            add_frame(bytes, &n, 0x01, (const uint8_t *)text, cut);
            add_frame(bytes, &n, 0x80, (const uint8_t *)text + cut, size - cut);
        }
        if (valid)
            tell_payload(&tale, "text", (const uint8_t *)text, size);
        else
            tell(&tale, "fail(1007)");
        check(&(struct stream){bytes, n, tale.line});
    }
}

#define TEXT(literal) {literal, sizeof(literal) - 1}

/* RFC 3629, 3: the first and the last of each length, both sides of the surrogates, and code points that are no characters. */
static void text_that_is_utf8(void **state)
{
    static const struct { const char *text; size_t size; } texts[] = {
        TEXT("\x00"), TEXT("\x7F"), TEXT("\xC2\x80"), TEXT("\xDF\xBF"), TEXT("\xE0\xA0\x80"), TEXT("\xEC\xBF\xBF"),
        TEXT("\xED\x80\x80"), TEXT("\xED\x9F\xBF"), TEXT("\xEE\x80\x80"), TEXT("\xEF\xBF\xBD"), TEXT("\xEF\xBF\xBE"),
        TEXT("\xEF\xBF\xBF"), TEXT("\xF0\x90\x80\x80"), TEXT("\xF0\x9F\xBF\xBE"), TEXT("\xF1\x80\x80\x80"),
        TEXT("\xF3\xBF\xBF\xBF"),
        TEXT("\xF4\x80\x80\x80"), TEXT("\xF4\x8F\xBF\xBE"), TEXT("\xF4\x8F\xBF\xBF"), TEXT("\xEF\xB7\x90"), TEXT("\xEF\xBB\xBFx"),
        TEXT("\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5"), TEXT("Hello-\xC2\xB5@\xC3\x9F\xC3\xB6\xC3\xA4-UTF-8!!"),
        TEXT("0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab\xE2\x82\xAC\xF0\x9F\x98\x80 and more, and more"),
    };

    for (size_t i = 0; i < COUNT(texts); i++)
        check_text(texts[i].text, texts[i].size, true);
}

/* RFC 3629, 3 and 10: what a decoder must not take. */
static void text_that_is_not(void **state)
{
    static const struct { const char *text; size_t size; } texts[] = {
        /* alone: a continuation, and leads of each length that end too early */
        TEXT("\x80"), TEXT("\xBF"), TEXT("a\x80"), TEXT("\x80\x80\x80\x80"), TEXT("\xC3"), TEXT("\xC3 "), TEXT("\xE2\x82"),
        TEXT("\xE2\x82 "), TEXT("\xE2 "), TEXT("\xF0\x9F\x98"), TEXT("\xF0\x9F\x98 "), TEXT("\xF0\x9F "), TEXT("\xF0 "),
        TEXT("\xC3\xC3\xA9"),
        TEXT("\xE2\x82\xC3\xA9"), TEXT("\xF0\x9F\x98\xF0\x9F\x98\x80"),
        /* longer than needed */
        TEXT("\xC0\x80"), TEXT("\xC0\xAF"), TEXT("\xC1\xBF"), TEXT("\xE0\x80\x80"), TEXT("\xE0\x80\xAF"), TEXT("\xE0\x9F\xBF"),
        TEXT("\xF0\x80\x80\x80"), TEXT("\xF0\x80\x80\xAF"), TEXT("\xF0\x8F\xBF\xBF"),
        /* surrogates, alone and in pairs */
        TEXT("\xED\xA0\x80"), TEXT("\xED\xAD\xBF"), TEXT("\xED\xAE\x80"), TEXT("\xED\xAF\xBF"), TEXT("\xED\xB0\x80"),
        TEXT("\xED\xBF\xBF"), TEXT("\xED\xA0\x80\xED\xB0\x80"), TEXT("\xED\xAF\xBF\xED\xBF\xBF"),
        /* beyond U+10FFFF, and leads there are none of */
        TEXT("\xF4\x90\x80\x80"), TEXT("\xF4\xBF\xBF\xBF"), TEXT("\xF5\x80\x80\x80"), TEXT("\xF7\xBF\xBF\xBF"),
        TEXT("\xF8\x88\x80\x80\x80"), TEXT("\xFB\xBF\xBF\xBF\xBF"), TEXT("\xFC\x84\x80\x80\x80\x80"),
        TEXT("\xFD\xBF\xBF\xBF\xBF\xBF"), TEXT("\xFE"), TEXT("\xFF"), TEXT("\xFE\xFE\xFF\xFF"),
        /* far inside, where vectors look */
        TEXT("\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90\x80\x80" "edited"),
        TEXT("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\xE2\x28\xA1 and more, and more, and more"),
    };

    for (size_t i = 0; i < COUNT(texts); i++)
        check_text(texts[i].text, texts[i].size, false);
}

/* RFC 6455, 5.4: fragments of one message follow each other, with nothing but control frames between them. */
static void fragmentation(void **state)
{
    static const struct stream streams[] = {
        {STREAM("\x01\x03one\x80\x03two"), "text(onetwo)"},
        {STREAM("\x02\x01\x00\x00\x01\x01\x00\x01\x02\x80\x01\x03"), "binary(\\x00\\x01\\x02\\x03)"},
        {STREAM("\x01\x03one\x89\x02hi\x80\x03two"), "ping(hi) text(onetwo)"},
        {STREAM("\x01\x03one\x8A\x02hi\x00\x00\x89\x00\x80\x03two"), "pong(hi) ping() text(onetwo)"},
        {STREAM("\x01\x00\x80\x00\x01\x00\x80\x01x"), "text() text(x)"},
        {STREAM("\x01\x00\x88\x02\x03\xE8"), "close(1000)"},
        {STREAM("\x01\x03one\x81\x03two"), "fail(1002)", "before the last one has ended"},
        {STREAM("\x01\x03one\x82\x03two"), "fail(1002)", "before the last one has ended"},
        {STREAM("\x01\x03one\x01\x03two"), "fail(1002)", "before the last one has ended"},
        {STREAM("\x80\x03one"), "fail(1002)", "continues no message"},
        {STREAM("\x00\x03one\x80\x03two"), "fail(1002)", "continues no message"},
        {STREAM("\x81\x03one\x80\x03two"), "text(one) fail(1002)", "continues no message"},
        {STREAM("\x01\x03one\x80\x03two\x00\x01x"), "text(onetwo) fail(1002)", "continues no message"},
        {STREAM("\x89\x00\x80\x00"), "ping() fail(1002)", "continues no message"},
        {STREAM("\x01\x03one\x88\x00\x80\x03two"), "close(1005)"},
    };

    check_all(streams, COUNT(streams));
}

/* RFC 6455, 5.5: control frames are short and whole. One with 125 bytes is legal, and one with any bytes: they are no text. */
static void control_frames(void **state)
{
    static const uint8_t long_ones[] = {0x88, 0x89, 0x8A};
    static const struct stream streams[] = {
        {STREAM("\x89\x00"), "ping()"}, {STREAM("\x8A\x00"), "pong()"}, {STREAM("\x89\x03\xFF\xFE\x00"), "ping(\\xff\\xfe\\x00)"},
        {STREAM("\x09\x03one\x80\x03two"), "fail(1002)", "fragmented"}, {STREAM("\x0A\x00"), "fail(1002)", "fragmented"},
        {STREAM("\x08\x02\x03\xE8"), "fail(1002)", "fragmented"},
        {STREAM("\x89\x01" "a\x89\x01" "b\x89\x01" "c\x8A\x01" "d\x81\x01x"), "ping(a) ping(b) ping(c) pong(d) text(x)"},
        {STREAM("\x88\x00\x89\x00"), "close(1005)"}, {STREAM("\x88\x02\x03\xE8\x81\x01x"), "close(1000)"},
    };
    uint8_t payload[WS_CONTROL_MAX + 1], bytes[2 * sizeof payload];

    check_all(streams, COUNT(streams));
    memset(payload, '*', sizeof payload);
    memcpy(payload, "\x03\xE8", 2);
    for (size_t i = 0; i < COUNT(long_ones); i++) {
        struct tale tale = {.size = 0};
        size_t size = 0;

        add_frame(bytes, &size, long_ones[i], payload, WS_CONTROL_MAX);
        if (long_ones[i] == 0x88)
            tell(&tale, "close(1000 %.*s)", WS_CONTROL_MAX - 2, (const char *)payload + 2);
        else
            tell_payload(&tale, long_ones[i] == 0x89 ? "ping" : "pong", payload, WS_CONTROL_MAX);
        check(&(struct stream){bytes, size, tale.line});
        bytes[0] = long_ones[i];
        memcpy(bytes + 1, "\x7E", 2);
        check_failure(&(struct stream){bytes, 2, "fail(1002)", "more than 125"});
        bytes[1] = 0x7F;
        check_failure(&(struct stream){bytes, 2, "fail(1002)", "more than 125"});
    }
}

/* RFC 6455, 5.2: without an extension each reserved bit and each of their combinations is refused, in every kind of frame. */
static void reserved_bits_and_opcodes(void **state)
{
    for (unsigned first = 0; first < 256; first++) {
        uint8_t bytes[] = {(uint8_t)first, 0};
        unsigned opcode = first & 0x0F;

        if ((first & 0x70) != 0)
            check_failure(&(struct stream){bytes, 2, "fail(1002)", "reserved bits"});
        else if (opcode > 10 || (opcode > 2 && opcode < 8))
            check_failure(&(struct stream){bytes, 2, "fail(1002)", "unknown opcode"});
    }
}

/* RFC 6455, 7.4 and the IANA registry: each code there is, sent by a peer. */
static void codes_of_close_frames(void **state)
{
    static const uint16_t good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
                                    4999};
    static const uint16_t bad[] = {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535};
    char tale[32];

    for (size_t i = 0; i < COUNT(good); i++) {
        uint8_t bytes[] = {0x88, 4, (uint8_t)(good[i] >> 8), (uint8_t)good[i], 'o', 'k'};

        snprintf(tale, sizeof tale, "close(%u ok)", good[i]);
        check(&(struct stream){bytes, sizeof bytes, tale});
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        uint8_t bytes[] = {0x88, 2, (uint8_t)(bad[i] >> 8), (uint8_t)bad[i]};

        check_failure(&(struct stream){bytes, sizeof bytes, "fail(1002)", "nobody may send"});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_that_is_utf8), cmocka_unit_test(text_that_is_not), cmocka_unit_test(fragmentation),
        cmocka_unit_test(control_frames), cmocka_unit_test(reserved_bits_and_opcodes), cmocka_unit_test(codes_of_close_frames),
    };

    return cmocka_run_group_tests_name("ws cases", tests, NULL, NULL);
}
