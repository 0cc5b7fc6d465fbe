/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "ws/mask.h"

#define SIZE_MAX_TRIED 400u
#define SHIFT_MAX 70u

/* RFC 6455, 5.3, byte by byte. */
static void expect(uint8_t *to, const uint8_t *from, size_t size, const uint8_t key[4])
{
    for (size_t i = 0; i < size; i++)
        to[i] = from[i] ^ key[i % 4];
}

static void fill(uint8_t *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)((seed = seed * 1103515245u + 12345u) >> 16);
}

/* Every way this processor has, every size, and a distance that makes vectors overlap themselves in each manner. */
static void every_way_masks_alike(void **state)
{
    static const uint8_t key[] = {0x37, 0xFA, 0x21, 0x3D};
    uint8_t plain[SIZE_MAX_TRIED], wanted[SIZE_MAX_TRIED];
    const struct ws_mask_way *way;

    fill(plain, sizeof plain, 1);
    expect(wanted, plain, sizeof plain, key);
    for (size_t i = 0; (way = ws_mask_way(i)) != NULL; i++) {
        if (!way->works())
            continue;
        print_message("%s\n", way->name);
        for (size_t size = 0; size <= SIZE_MAX_TRIED; size++)
            for (size_t shift = 0; shift <= SHIFT_MAX; shift += size < 130 ? 1 : 7) {
                uint8_t *bytes = malloc(size + shift + 1);  /* to the byte, for the sanitizer */

                assert_non_null(bytes);
                bytes[size + shift] = 0xA5;
                memcpy(bytes + shift, plain, size);
                way->run(bytes, bytes + shift, size, ws_key_read(key));
                assert_memory_equal(bytes, wanted, size);
                assert_int_equal(bytes[size + shift], 0xA5);
                free(bytes);
            }
    }
}

/* Wherever a payload is cut, the turned key goes on where the last piece ended. */
static void the_key_turns_with_the_payload(void **state)
{
    const char *given = getenv("SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);
    uint8_t plain[SIZE_MAX_TRIED], wanted[SIZE_MAX_TRIED], out[SIZE_MAX_TRIED], key[4];

    print_message("SEED=%u shows this run again\n", seed);
    srandom(seed);
    for (int round = 0; round < 3000; round++) {
        fill(plain, sizeof plain, seed + (unsigned)round);
        fill(key, sizeof key, seed ^ (unsigned)round);
        expect(wanted, plain, sizeof plain, key);
        ws_key turned = ws_key_read(key);
        for (size_t at = 0, n; at < sizeof plain; at += n) {
            n = 1 + (size_t)random() % (round % 2 ? 7 : 200);
            n = n < sizeof plain - at ? n : sizeof plain - at;
            ws_mask(out + at, plain + at, n, turned);
            turned = ws_key_turn(turned, n);
        }
        assert_memory_equal(out, wanted, sizeof out);
    }
}

static void a_key_of_zero_copies(void **state)
{
    uint8_t bytes[] = "0123456789";

    ws_mask(bytes, bytes + 2, 8, 0);
    assert_string_equal((char *)bytes, "2345678989");
    ws_mask(bytes, bytes, 10, 0);
    assert_string_equal((char *)bytes, "2345678989");
    ws_mask(NULL, NULL, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_masks_alike),
        cmocka_unit_test(the_key_turns_with_the_payload),
        cmocka_unit_test(a_key_of_zero_copies),
    };

    return cmocka_run_group_tests_name("ws mask", tests, NULL, NULL);
}
