/* SPDX-License-Identifier: MIT */
/* Called by ./run. The best of many rounds, in bytes a nanosecond of this thread; memory is in the cache, as after a read. */
#include <stdio.h>
#include <time.h>

#include "ws/mask.h"
#include "ws/utf8.h"

#define BYTES 65536u
#define ROUNDS 40
#define BYTES_A_ROUND 2000000u

static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double mask_rate(const struct ws_mask_way *way, uint8_t *bytes, size_t size)
{
    unsigned count = BYTES_A_ROUND / (unsigned)size;
    double best = 1e18;

    for (int round = 0; round < ROUNDS; round++) {
        double begin = now_ns(), ns;

        for (unsigned i = 0; i < count; i++)
            way->run(bytes, bytes + 6, size, 0x12345678u + i);  /* over a frame's header, as messages that came whole */
        ns = (now_ns() - begin) / count;
        best = ns < best ? ns : best;
    }
    return (double)size / best;
}

static double text_rate(uint32_t (*feed)(uint32_t, const uint8_t *, size_t), const uint8_t *bytes, size_t size)
{
    double best = 1e18;

    for (int round = 0; round < ROUNDS; round++) {
        double begin = now_ns(), ns;
        uint32_t state = feed(UTF8_ACCEPT, bytes, size);

        ns = now_ns() - begin;
        best = state != UTF8_REJECT && ns < best ? ns : best;
    }
    return (double)size / best;
}

int main(void)
{
    static const struct { const char *name, *text; } texts[] = {
        {"English", "hello tandem, "}, {"German", "Gr\xC3\xBC\xC3\x9F" "e aus der K\xC3\xBC" "che, "},
        {"Russian", "\xD0\xBF\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82 "}, {"Chinese", "\xE4\xBD\xA0\xE5\xA5\xBD"},
    };
    static uint8_t bytes[BYTES + 64];
    const struct ws_mask_way *way;

    printf("## Masking and UTF-8, GB/s\n\n| masking | 64 B | 512 B | 4 KiB | 64 KiB |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; (way = ws_mask_way(i)) != NULL; i++)
        if (way->works())
            printf("| %s | %.1f | %.1f | %.1f | %.1f |\n", way->name, mask_rate(way, bytes, 64), mask_rate(way, bytes, 512),
                   mask_rate(way, bytes, 4096), mask_rate(way, bytes, BYTES));
    printf("\n| UTF-8, 64 KiB | scalar | chosen |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t n = strlen(texts[i].text), size = 0;

        for (; size + n <= BYTES; size += n)
            memcpy(bytes + size, texts[i].text, n);
        printf("| %s | %.1f | %.1f |\n", texts[i].name, text_rate(utf8_feed_scalar, bytes, size),
               text_rate(utf8_feed, bytes, size));
    }
    return 0;
}
