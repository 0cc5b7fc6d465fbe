/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "ws/deflate.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ROOM (1u << 20)

/* What a message inflates to. rc: WS_INFLATE_DONE or what it failed with. */
struct result {
    int rc;
    uint8_t *bytes;  /* test_malloc'd, `room` bytes */
    size_t size;
};

/* Inflates a whole message in pieces of `piece` bytes, with room for `step` bytes at a time. */
static struct result inflate_in(struct ws_inflater *inflater, const uint8_t *payload, size_t size, uint64_t message_max,
                                size_t piece, size_t step)
{
    struct result result = {.rc = WS_INFLATE_INPUT, .bytes = test_malloc(ROOM + 1)};
    size_t given = 0;

    ws_inflater_begin(inflater, message_max);
    while (result.rc == WS_INFLATE_INPUT) {
        size_t n = piece < size - given ? piece : size - given;
        struct ws_inflate_io io = {.in = payload + given, .in_left = n, .last = given + n == size};

        given += n;
        do {
            size_t room = step < ROOM - result.size ? step : ROOM - result.size;
            uint8_t *out = malloc(room);  /* to the byte, for the sanitizer */

            assert_non_null(out);
            io.out = out;
            io.out_left = room;
            result.rc = ws_inflate(inflater, &io);
            memcpy(result.bytes + result.size, out, room - io.out_left);
            result.size += room - io.out_left;
            free(out);
            assert_true(result.rc != WS_INFLATE_ROOM || io.out_left == 0);
            assert_true(result.rc < 0 || result.rc == WS_INFLATE_ROOM || io.in_left == 0);
        } while (result.rc == WS_INFLATE_ROOM && result.size < ROOM);
    }
    return result;
}

/* However a payload is cut and whatever the room: the same outcome. */
static void inflates_to(const uint8_t *payload, size_t size, uint64_t message_max, int rc, const void *wanted, size_t wanted_size)
{
    static const struct { size_t piece, step; } manners[] = {
        {SIZE_MAX, SIZE_MAX}, {1, SIZE_MAX}, {SIZE_MAX, 1}, {1, 1}, {3, 7}, {100, 64},
    };

    for (size_t i = 0; i < COUNT(manners); i++) {
        struct ws_inflater *inflater = ws_inflater_new(15, false);
        struct result result;

        assert_non_null(inflater);
        result = inflate_in(inflater, payload, size, message_max, manners[i].piece, manners[i].step);
        assert_int_equal(result.rc, rc);
        assert_true(result.size <= message_max);
        if (rc == WS_INFLATE_DONE) {
            assert_int_equal(result.size, wanted_size);
            assert_memory_equal(result.bytes, wanted, wanted_size);
        }
        test_free(result.bytes);
        ws_inflater_free(inflater);
    }
}

#define PAYLOAD(literal) (const uint8_t *)(literal), sizeof(literal) - 1

/* The examples of RFC 7692, 7.2.3. */
static void examples_of_the_rfc(void **state)
{
    inflates_to(PAYLOAD("\xF2\x48\xCD\xC9\xC9\x07\x00"), 5, WS_INFLATE_DONE, "Hello", 5);
    inflates_to(PAYLOAD("\x00\x05\x00\xFA\xFF\x48\x65\x6C\x6C\x6F\x00"), 5, WS_INFLATE_DONE, "Hello", 5);  /* no compression */
    inflates_to(PAYLOAD("\xF3\x48\xCD\xC9\xC9\x07\x00\x00"), 5, WS_INFLATE_DONE, "Hello", 5);              /* a final block */
    inflates_to(PAYLOAD("\xF2\x48\x05\x00\x00\x00\xFF\xFF\xCA\xC9\xC9\x07\x00"), 5, WS_INFLATE_DONE, "Hello", 5);  /* two */
    inflates_to(PAYLOAD("\x00"), 0, WS_INFLATE_DONE, "", 0);
    inflates_to(PAYLOAD("\x02\x00"), 0, WS_INFLATE_DONE, "", 0);
    inflates_to(PAYLOAD(""), 0, WS_INFLATE_DONE, "", 0);
    /* several final blocks, and one that ends the payload, without the empty block that should follow */
    inflates_to(PAYLOAD("\xF3\x48\xCD\xC9\xC9\x07\x00\xF3\x48\xCD\xC9\xC9\x07\x00\x00"), 10, WS_INFLATE_DONE, "HelloHello", 10);
    inflates_to(PAYLOAD("\xF3\x48\xCD\xC9\xC9\x07\x00"), 5, WS_INFLATE_DONE, "Hello", 5);
    inflates_to(PAYLOAD("\x03\x00\x03\x00\x03\x00\x00"), 0, WS_INFLATE_DONE, "", 0);
}

/* RFC 7692, 7.2.3.2: the second message refers to the first, where the context is kept. */
static void context_goes_on_only_where_agreed(void **state)
{
    static const uint8_t first[] = "\xF2\x48\xCD\xC9\xC9\x07\x00", second[] = "\xF2\x00\x11\x00\x00";

    for (int keeps = 0; keeps < 2; keeps++) {
        struct ws_inflater *inflater = ws_inflater_new(10, keeps != 0);
        struct result a, b;

        assert_non_null(inflater);
        a = inflate_in(inflater, first, 7, 100, 100, 100);
        b = inflate_in(inflater, second, 5, 100, 100, 100);
        assert_int_equal(a.rc, WS_INFLATE_DONE);
        assert_int_equal(b.rc, keeps ? WS_INFLATE_DONE : -EBADMSG);
        if (keeps)
            assert_memory_equal(b.bytes, "Hello", 5);
        test_free(a.bytes);
        test_free(b.bytes);
        ws_inflater_free(inflater);
    }
}

/* A final block ends no context: what comes after it may refer to what was before. */
static void context_survives_a_final_block(void **state)
{
    struct ws_inflater *inflater = ws_inflater_new(15, true);
    struct result a, b;

    assert_non_null(inflater);
    a = inflate_in(inflater, PAYLOAD("\xF3\x48\xCD\xC9\xC9\x07\x00\x00"), 100, 100, 100);
    b = inflate_in(inflater, PAYLOAD("\xF2\x00\x11\x00\x00"), 100, 100, 100);
    assert_int_equal(b.rc, WS_INFLATE_DONE);
    assert_memory_equal(b.bytes, "Hello", 5);
    test_free(a.bytes);
    test_free(b.bytes);
    ws_inflater_free(inflater);
}

static void what_is_no_deflate_data_fails(void **state)
{
    inflates_to(PAYLOAD("\xFF"), 100, -EBADMSG, NULL, 0);                      /* a block of type 3 */
    inflates_to(PAYLOAD("\x06\xFF"), 100, -EBADMSG, NULL, 0);
    inflates_to(PAYLOAD("\x00\x05\x00\xFA\xFE"), 100, -EBADMSG, NULL, 0);      /* a stored block's length, said twice, differs */
    inflates_to(PAYLOAD("\xF2\x48\xCD\xC9\xC9\x07"), 100, -EBADMSG, NULL, 0);  /* a byte is missing */
    inflates_to(PAYLOAD("\xF2\x48\xCD"), 100, -EBADMSG, NULL, 0);
    inflates_to(PAYLOAD("\xF2\x00\x11\x00\x00"), 100, -EBADMSG, NULL, 0);      /* refers to what never was */
    inflates_to(PAYLOAD("\x00\x0A\x00\xF5\xFFHello"), 100, -EBADMSG, NULL, 0); /* a stored block of ten bytes with five */
    inflates_to(PAYLOAD("\x00\x00\x00\xFF"), 100, -EBADMSG, NULL, 0);
}

/* A peer's payload, by zlib as it comes. */
static size_t compress_by_zlib(const void *data, size_t size, int bits, int level, uint8_t *out, size_t room)
{
    z_stream zlib = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)size, .next_out = out, .avail_out = (uInt)room};

    assert_int_equal(deflateInit2(&zlib, level, Z_DEFLATED, -bits, 9, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&zlib, Z_SYNC_FLUSH), Z_OK);
    assert_true(zlib.avail_out > 0 && zlib.avail_in == 0);
    deflateEnd(&zlib);
    return room - zlib.avail_out - 4;
}

/* A message of exactly the limit passes, one byte more fails; and nothing beyond the limit is written, whatever the ratio. */
static void the_limit_is_exact(void **state)
{
    static const size_t sizes[] = {1, 2, 257, 258, 259, 1000, 65535, 65536, 300000};
    uint8_t *zeros = test_calloc(1, ROOM), *payload = test_malloc(ROOM);

    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t size = compress_by_zlib(zeros, sizes[i], 15, 9, payload, ROOM);

        inflates_to(payload, size, sizes[i], WS_INFLATE_DONE, zeros, sizes[i]);
        inflates_to(payload, size, sizes[i] + 1, WS_INFLATE_DONE, zeros, sizes[i]);
        inflates_to(payload, size, sizes[i] - 1, -EMSGSIZE, NULL, 0);
    }
    inflates_to(payload, compress_by_zlib(zeros, ROOM, 15, 9, payload, ROOM), 10, -EMSGSIZE, NULL, 0);
    test_free(zeros);
    test_free(payload);
}

/* 1 GB of zeros, a megabyte of payload: the work ends with the limit. */
static void a_bomb_costs_nothing(void **state)
{
    uint8_t *piece = test_calloc(1, ROOM), *payload = test_malloc(ROOM), out[1000];
    z_stream zlib = {.next_out = payload, .avail_out = ROOM};
    struct ws_inflater *inflater = ws_inflater_new(15, false);
    struct ws_inflate_io io = {.in = payload, .out = out, .out_left = sizeof out, .last = true};

    assert_int_equal(deflateInit2(&zlib, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    for (int i = 0; i < 100; i++) {
        zlib.next_in = piece;
        zlib.avail_in = ROOM;
        deflate(&zlib, i == 99 ? Z_SYNC_FLUSH : Z_NO_FLUSH);
    }
    io.in_left = ROOM - zlib.avail_out;
    deflateEnd(&zlib);
    assert_non_null(inflater);
    ws_inflater_begin(inflater, 500);
    assert_int_equal(ws_inflate(inflater, &io), -EMSGSIZE);
    assert_int_equal(io.out_left, 500);
    assert_true(io.in_left > 100000 - 10000);
    ws_inflater_free(inflater);
    test_free(piece);
    test_free(payload);
}

static size_t sample(uint8_t *out, size_t size, unsigned seed)
{
    static const char *const words[] = {"room", "tandem", "{\"type\":\"say\"", "hello", ",", "\xC3\xA9", "1234", "\n"};
    size_t at = 0;

    while (at < size) {
        const char *word = words[(seed = seed * 1103515245u + 12345u) >> 16 & 7];
        size_t n = strlen(word) < size - at ? strlen(word) : size - at;

        memcpy(out + at, word, n);
        at += n;
        if ((seed >> 20 & 7) == 0 && at < size)
            out[at++] = (uint8_t)(seed >> 24);
    }
    return size;
}

/* All windows, both ways to keep a context, and messages that do not get smaller among the others. */
static void both_sides_understand_each_other(void **state)
{
    uint8_t *message = test_malloc(70000);

    for (int bits = 8; bits <= 15; bits++)
        for (int keeps = 0; keeps < 2; keeps++) {
            struct ws_deflater *deflater = ws_deflater_new(bits, keeps != 0);
            struct ws_inflater *inflater = ws_inflater_new(bits, keeps != 0);

            assert_true(deflater != NULL && inflater != NULL);
            for (unsigned i = 0; i < 40; i++) {
                size_t size = sample(message, (size_t)i * i * i + i % 7, i);
                const uint8_t *payload;
                ssize_t n;

                if (i % 5 == 4)
                    for (size_t k = 0; k < size; k++)
                        message[k] = (uint8_t)((unsigned)k * 2654435761u >> 13 ^ (unsigned)random());
                n = ws_deflate(deflater, message, size, &payload);
                assert_true(n >= 0 && (n == 0 || (size_t)n < size));
                if (n > 0) {
                    struct result result = inflate_in(inflater, payload, (size_t)n, size, 1000, 1000);

                    assert_int_equal(result.rc, WS_INFLATE_DONE);
                    assert_int_equal(result.size, size);
                    assert_memory_equal(result.bytes, message, size);
                    test_free(result.bytes);
                }
            }
            ws_deflater_free(deflater);
            ws_inflater_free(inflater);
        }
    test_free(message);
}

/* A peer that agreed to a window of 256 bytes has no more: zlib's strictest reader, with room for one byte at a time. */
static void the_smallest_window_is_kept(void **state)
{
    for (int bits = 8; bits <= 15; bits++) {
        struct ws_deflater *deflater = ws_deflater_new(bits, true);
        z_stream zlib = {.opaque = NULL};
        uint8_t message[5000], byte;
        const uint8_t *payload;

        assert_non_null(deflater);
        assert_int_equal(inflateInit2(&zlib, -bits), Z_OK);
        for (unsigned i = 0; i < 20; i++) {
            ssize_t n = ws_deflate(deflater, message, sample(message, sizeof message, i), &payload);

            assert_true(n > 0);
            zlib.next_in = (Bytef *)(uintptr_t)payload;
            zlib.avail_in = (uInt)n;
            for (size_t k = 0; k < sizeof message; k++) {
                zlib.next_out = &byte;
                zlib.avail_out = 1;
                assert_int_equal(inflate(&zlib, Z_SYNC_FLUSH), Z_OK);
                assert_true(zlib.avail_out == 0 && byte == message[k]);
            }
            zlib.next_in = (Bytef *)(uintptr_t)"\x00\x00\xFF\xFF";
            zlib.avail_in = 4;
            zlib.avail_out = 0;
            inflate(&zlib, Z_SYNC_FLUSH);
            assert_int_equal(zlib.avail_in, 0);
        }
        inflateEnd(&zlib);
        ws_deflater_free(deflater);
    }
}

/* What would grow is refused, and forgotten: the next message does not refer to it, for the peer never saw it. */
static void what_does_not_shrink_is_forgotten(void **state)
{
    struct ws_deflater *deflater = ws_deflater_new(15, true);
    struct ws_inflater *inflater = ws_inflater_new(15, true);
    uint8_t noise[300], twice[600];
    const uint8_t *payload;
    struct result result;
    ssize_t n;

    assert_true(deflater != NULL && inflater != NULL);
    srandom(4711);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)random();
    memcpy(twice, noise, sizeof noise);
    memcpy(twice + sizeof noise, noise, sizeof noise);
    assert_int_equal(ws_deflate(deflater, "", 0, &payload), 0);
    assert_int_equal(ws_deflate(deflater, "x", 1, &payload), 0);
    assert_int_equal(ws_deflate(deflater, noise, sizeof noise, &payload), 0);
    n = ws_deflate(deflater, twice, sizeof twice, &payload);
    assert_true(n > (ssize_t)sizeof noise);
    result = inflate_in(inflater, payload, (size_t)n, sizeof twice, SIZE_MAX, SIZE_MAX);
    assert_int_equal(result.rc, WS_INFLATE_DONE);
    assert_memory_equal(result.bytes, twice, sizeof twice);
    test_free(result.bytes);
    ws_deflater_free(deflater);
    ws_inflater_free(inflater);
}

/* One compressor for each window, and a decompressor for each message that is under way. */
static void a_loop_shares_its_own(void **state)
{
    struct ws_deflate_shared shared = {.idle = NULL};
    struct ws_inflater *lent[6];
    struct result result;

    assert_ptr_equal(ws_deflate_shared_deflater(&shared, 8), ws_deflate_shared_deflater(&shared, 9));
    assert_ptr_equal(ws_deflate_shared_deflater(&shared, 15), ws_deflate_shared_deflater(&shared, 15));
    assert_ptr_not_equal(ws_deflate_shared_deflater(&shared, 15), ws_deflate_shared_deflater(&shared, 10));
    for (size_t i = 0; i < COUNT(lent); i++)
        assert_non_null(lent[i] = ws_deflate_shared_borrow(&shared));
    result = inflate_in(lent[0], PAYLOAD("\xFF"), 100, 100, 100);  /* a failure leaves nothing behind */
    assert_int_equal(result.rc, -EBADMSG);
    test_free(result.bytes);
    for (size_t i = COUNT(lent); i-- > 0;)
        ws_deflate_shared_return(&shared, lent[i]);
    assert_true(shared.idle_count < COUNT(lent));
    lent[0] = ws_deflate_shared_borrow(&shared);
    result = inflate_in(lent[0], PAYLOAD("\xF2\x48\xCD\xC9\xC9\x07\x00"), 5, 100, 100);
    assert_int_equal(result.rc, WS_INFLATE_DONE);
    test_free(result.bytes);
    ws_deflate_shared_return(&shared, lent[0]);
    ws_deflate_shared_fini(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_rfc), cmocka_unit_test(context_goes_on_only_where_agreed),
        cmocka_unit_test(context_survives_a_final_block), cmocka_unit_test(what_is_no_deflate_data_fails),
        cmocka_unit_test(the_limit_is_exact), cmocka_unit_test(a_bomb_costs_nothing),
        cmocka_unit_test(both_sides_understand_each_other), cmocka_unit_test(the_smallest_window_is_kept),
        cmocka_unit_test(what_does_not_shrink_is_forgotten), cmocka_unit_test(a_loop_shares_its_own),
    };

    return cmocka_run_group_tests_name("ws deflate", tests, NULL, NULL);
}
