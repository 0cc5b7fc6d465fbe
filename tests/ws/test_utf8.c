/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "ws/utf8.h"

#define CODE_POINTS 0x110000u

static bool is_surrogate(uint32_t code)
{
    return code >= 0xD800 && code < 0xE000;
}

/* Writes a code point by the table of RFC 3629, 3; returns the number of bytes. */
static size_t encode(uint32_t code, uint8_t out[4])
{
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t lead_marks[] = {0, 0, 0xC0, 0xE0, 0xF0};

    for (size_t i = size; i-- > 1; code >>= 6)
        out[i] = 0x80 | (code & 0x3F);
    out[0] = (uint8_t)(lead_marks[size] | code);
    return size;
}

struct random {
    uint64_t state;
};

/* splitmix64 */
static uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static uint32_t random_below(struct random *random, uint32_t limit)
{
    return (uint32_t)(random_next(random) % limit);
}

static struct random random_start(void)
{
    const char *given = getenv("SEED");
    struct random random = {given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL)};

    print_message("SEED=%llu shows this run again\n", (unsigned long long)random.state);
    return random;
}

/* The state after the bytes, fed one at a time: the path without any shortcut. */
static uint32_t feed_singly(uint32_t state, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        state = utf8_feed(state, bytes + i, 1);
    return state;
}

static void every_character_is_valid(void **state)
{
    uint8_t bytes[4];

    for (uint32_t code = 0; code < CODE_POINTS; code++) {
        size_t size = encode(code, bytes);

        if (utf8_valid(bytes, size) == is_surrogate(code))
            fail_msg("U+%04X is judged wrongly", (unsigned)code);
    }
}

/* Which sequences of 1, 2 and 3 bytes begin a longer character: `begins[n]` is indexed by the bytes, big end first. */
struct beginnings {
    bool *begins[4];
};

static struct beginnings beginnings_of_all_characters(void)
{
    struct beginnings all = {{NULL}};
    uint8_t bytes[4];

    for (size_t n = 1; n < 4; n++)
        all.begins[n] = test_calloc((size_t)1 << 8 * n, sizeof(bool));
    for (uint32_t code = 0; code < CODE_POINTS; code++) {
        size_t size = encode(code, bytes);
        uint32_t prefix = 0;

        for (size_t n = 1; n < size && !is_surrogate(code); n++) {
            prefix = prefix << 8 | bytes[n - 1];
            all.begins[n][prefix] = true;
        }
    }
    return all;
}

static bool is_character(uint32_t sequence, size_t size)
{
    static const uint32_t lead_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t code = sequence >> 8 * (size - 1) & lead_bits[size];
    uint32_t back = 0;
    uint8_t bytes[4];

    for (size_t i = size - 1; i-- > 0;)
        code = code << 6 | (sequence >> 8 * i & 0x3F);
    if (code >= CODE_POINTS || is_surrogate(code) || encode(code, bytes) != size)
        return false;
    for (size_t i = 0; i < size; i++)
        back = back << 8 | bytes[i];
    return back == sequence;
}

/* Tries every byte after a viable beginning, and goes on wherever the validator does. */
static void try_all_bytes(const struct beginnings *all, uint32_t state, uint32_t prefix, size_t prefix_size)
{
    size_t size = prefix_size + 1;

    for (uint32_t i = 0; i < 256; i++) {
        uint8_t byte = (uint8_t)i;
        uint32_t sequence = prefix << 8 | byte, next = utf8_feed(state, &byte, 1);
        bool begins = size < 4 && all->begins[size][sequence];

        if ((next == UTF8_ACCEPT) != is_character(sequence, size) || (next > UTF8_REJECT) != begins)
            fail_msg("%zu bytes %0*x give the state %x", size, (int)(2 * size), (unsigned)sequence, (unsigned)next);
        if (begins)
            try_all_bytes(all, next, sequence, size);
    }
}

/* Every sequence there is, from the first byte to the one that completes it or makes it impossible. */
static void fails_exactly_at_the_first_impossible_byte(void **state)
{
    struct beginnings all = beginnings_of_all_characters();

    try_all_bytes(&all, UTF8_ACCEPT, 0, 0);
    for (size_t n = 1; n < 4; n++)
        test_free(all.begins[n]);
}

/* The shortcuts for long input see the same: each bad sequence, at each place of a word, in text of each kind. */
static void bad_bytes_are_found_inside_long_text(void **state)
{
    static const char *const bad[] = {
        "\x80", "\xBF", "\xC0", "\xC1\xBF", "\xC2\x41", "\xDF\xC2", "\xE0\x9F", "\xE1\x80\x7F", "\xED\xA0",
        "\xEF\xBF\xC0", "\xF0\x8F", "\xF1\x80\x80\x41", "\xF4\x90", "\xF5", "\xFF",
    };
    static const char *const text[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (size_t j = 0; j < sizeof text / sizeof *text; j++)
            for (size_t repeats = 0; repeats < 20; repeats++) {
                uint8_t bytes[100];
                size_t size = 0;

                for (size_t k = 0; k < repeats; k++, size += strlen(text[j]))
                    memcpy(bytes + size, text[j], strlen(text[j]));
                assert_true(utf8_valid(bytes, size));
                memcpy(bytes + size, bad[i], strlen(bad[i]));
                size += strlen(bad[i]);
                if (utf8_feed(UTF8_ACCEPT, bytes, size) != UTF8_REJECT)
                    fail_msg("bad sequence %zu is missed after %zu characters of kind %zu", i, repeats, j);
            }
}

static void text_that_stops_inside_a_character_is_not_valid(void **state)
{
    static const char *const cut[] = {
        "\xC3", "\xE2", "\xE2\x82", "\xF0", "\xF0\x9F", "\xF0\x9F\x98", "abcdefgh\xE2\x82",
    };

    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        const uint8_t *bytes = (const uint8_t *)cut[i];

        assert_false(utf8_valid(bytes, strlen(cut[i])));
        assert_int_not_equal(utf8_feed(UTF8_ACCEPT, bytes, strlen(cut[i])), UTF8_REJECT);
    }
}

static void nothing_mends_a_rejected_text(void **state)
{
    uint8_t bytes[2] = {0xFF};

    for (int byte = 0; byte < 256; byte++) {
        bytes[1] = (uint8_t)byte;
        assert_int_equal(utf8_feed(UTF8_REJECT, bytes + 1, 1), UTF8_REJECT);
        assert_int_equal(utf8_feed(UTF8_ACCEPT, bytes, 2), UTF8_REJECT);
    }
}

static void no_bytes_change_no_state(void **state)
{
    uint32_t inside = utf8_feed(UTF8_ACCEPT, (const uint8_t *)"\xE2\x82", 2);

    assert_int_equal(utf8_feed(inside, NULL, 0), inside);
    assert_true(utf8_valid(NULL, 0));
}

/* Fills `out` with characters of all sizes and, more often than not, one damaged byte. */
static size_t random_text(struct random *random, uint8_t *out, size_t size_max)
{
    static const uint32_t limits[] = {0x80, 0x800, 0x10000, CODE_POINTS};
    uint32_t limit = limits[random_below(random, 4)], code;
    size_t size = 0;

    while (size + 4 <= size_max) {
        code = random_below(random, random_below(random, 3) == 0 ? 0x80 : limit);
        size += is_surrogate(code) ? 0 : encode(code, out + size);
    }
    if (random_below(random, 3) != 0)
        out[random_below(random, (uint32_t)size)] = (uint8_t)random_next(random);
    return size;
}

static void the_cuts_do_not_matter(void **state)
{
    struct random random = random_start();
    uint8_t bytes[200];

    for (int round = 0; round < 20000; round++) {
        size_t size = random_text(&random, bytes, 4 + random_below(&random, sizeof bytes - 3));
        size_t cut = random_below(&random, (uint32_t)size + 1);
        uint32_t singly = feed_singly(UTF8_ACCEPT, bytes, size);

        assert_int_equal(utf8_feed(UTF8_ACCEPT, bytes, size), singly);
        assert_int_equal(utf8_feed(utf8_feed(UTF8_ACCEPT, bytes, cut), bytes + cut, size - cut), singly);
    }
}

/* Vectors against the scalar way: all sequences of bytes where something changes, across the border of two blocks. */
static void vectors_judge_like_single_bytes(void **state)
{
    static const uint8_t borders[] = {
        0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1,
        0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFF,
    };
    const uint32_t n = sizeof borders;
    uint8_t bytes[96];

    for (uint32_t i = 0; i < n * n * n * n; i++) {
        uint8_t *at = bytes + 28 + i % 4;

        memset(bytes, i % 3 ? 'a' : 0, sizeof bytes);
        at[0] = borders[i % n];
        at[1] = borders[i / n % n];
        at[2] = borders[i / (n * n) % n];
        at[3] = borders[i / (n * n * n)];
        if (utf8_feed(UTF8_ACCEPT, bytes, sizeof bytes) != utf8_feed_scalar(UTF8_ACCEPT, bytes, sizeof bytes) ||
            utf8_feed(UTF8_ACCEPT, bytes + 32, 64) != utf8_feed_scalar(UTF8_ACCEPT, bytes + 32, 64))
            fail_msg("%02x %02x %02x %02x", at[0], at[1], at[2], at[3]);
    }
}

/* Text that ends at each place of a character, each place of a block, and goes on in the next piece. */
static void long_pieces_hand_their_state_on(void **state)
{
    static const char *const text[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "ab\xC3\xA9", "abc\xF0\x9F\x98\x80"};

    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        uint8_t bytes[400];

        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = (uint8_t)text[i][k % strlen(text[i])];
        for (size_t cut = 0; cut <= 200; cut++) {
            uint32_t at_cut = utf8_feed(UTF8_ACCEPT, bytes, cut);

            assert_int_equal(at_cut, feed_singly(UTF8_ACCEPT, bytes, cut));
            assert_int_equal(utf8_feed(at_cut, bytes + cut, sizeof bytes - cut), feed_singly(UTF8_ACCEPT, bytes, sizeof bytes));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_is_valid),
        cmocka_unit_test(fails_exactly_at_the_first_impossible_byte),
        cmocka_unit_test(bad_bytes_are_found_inside_long_text),
        cmocka_unit_test(text_that_stops_inside_a_character_is_not_valid),
        cmocka_unit_test(nothing_mends_a_rejected_text),
        cmocka_unit_test(no_bytes_change_no_state),
        cmocka_unit_test(the_cuts_do_not_matter),
        cmocka_unit_test(vectors_judge_like_single_bytes),
        cmocka_unit_test(long_pieces_hand_their_state_on),
    };

    return cmocka_run_group_tests_name("ws utf8", tests, NULL, NULL);
}
