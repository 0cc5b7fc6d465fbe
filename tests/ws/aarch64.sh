#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Masking and UTF-8 by aarch64's vectors, against the scalar ways: compiled for it, and run by an emulator.
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../run/aarch64.sh"
cat >"$folder/vectors.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
#include "ws/mask.h"
#include "ws/utf8.h"

static int masks(void)
{
    uint8_t plain[300], wanted[300], got[310];

    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * 31);
    for (size_t way = 1; ws_mask_way(way); way++)
        for (size_t size = 0; size <= sizeof plain; size++)
            for (size_t shift = 0; shift < 10; shift++) {
                ws_mask_way(0)->run(wanted, plain, size, 0xA1B2C3D4);
                memcpy(got + shift, plain, size);
                ws_mask_way(way)->run(got, got + shift, size, 0xA1B2C3D4);
                if (memcmp(got, wanted, size))
                    return printf("masking by %s fails at %zu bytes\n", ws_mask_way(way)->name, size), 1;
            }
    return 0;
}

static int texts(void)
{
    static const uint8_t borders[] = {0, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5};
    const size_t n = sizeof borders;
    uint8_t bytes[80];

    for (size_t i = 0; i < n * n * n * n; i++) {
        memset(bytes, 'a', sizeof bytes);
        for (size_t k = 0, rest = i; k < 4; k++, rest /= n)
            bytes[12 + i % 5 + k] = borders[rest % n];
        if (utf8_feed(UTF8_ACCEPT, bytes, 16 * 4 + i % 17) != utf8_feed_scalar(UTF8_ACCEPT, bytes, 16 * 4 + i % 17))
            return printf("text %zu is judged wrongly\n", i), 1;
    }
    return 0;
}

int main(void)
{
    return masks() || texts();
}
END
aarch64-linux-gnu-gcc -static -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -I"$root/src" "$folder/vectors.c" \
    "$root"/src/ws/{mask,utf8,utf8_neon}.c -o "$folder/vectors"
qemu-aarch64 "$folder/vectors"
