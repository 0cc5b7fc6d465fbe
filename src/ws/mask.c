/* SPDX-License-Identifier: MIT */
/*
 * Every way goes upwards and reads a block whole before it writes it, which is what lets `to` overlap `from` from below.
 * Blocks are multiples of 4 bytes, so the key needs no turning on the way.
 */
#include "ws/mask.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif
#ifdef __ARM_NEON
#include <arm_neon.h>
#endif

static inline void mask_words(uint8_t *to, const uint8_t *from, size_t size, ws_key key)
{
    uint64_t both = (uint64_t)key << 32 | key, word;
    uint8_t bytes[sizeof key];
    size_t i = 0;

    for (; size - i >= sizeof word; i += sizeof word) {
        memcpy(&word, from + i, sizeof word);
        word ^= both;
        memcpy(to + i, &word, sizeof word);
    }
    memcpy(bytes, &key, sizeof bytes);
    for (; i < size; i++)
        to[i] = from[i] ^ bytes[i % sizeof bytes];
}

static void mask_scalar(uint8_t *to, const uint8_t *from, size_t size, ws_key key)
{
    mask_words(to, from, size, key);
}

static bool always(void)
{
    return true;
}

#ifdef __x86_64__

static void mask_sse2(uint8_t *to, const uint8_t *from, size_t size, ws_key key)
{
    __m128i keys = _mm_set1_epi32((int)key);

    for (; size >= 32; size -= 32, to += 32, from += 32) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)from);
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(from + 16));

        _mm_storeu_si128((__m128i *)(void *)to, _mm_xor_si128(a, keys));
        _mm_storeu_si128((__m128i *)(void *)(to + 16), _mm_xor_si128(b, keys));
    }
    mask_words(to, from, size, key);
}

__attribute__((target("avx2"))) static void mask_avx2(uint8_t *to, const uint8_t *from, size_t size, ws_key key)
{
    __m256i keys = _mm256_set1_epi32((int)key);

    for (; size >= 64; size -= 64, to += 64, from += 64) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)from);
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(from + 32));

        _mm256_storeu_si256((__m256i *)(void *)to, _mm256_xor_si256(a, keys));
        _mm256_storeu_si256((__m256i *)(void *)(to + 32), _mm256_xor_si256(b, keys));
    }
    mask_words(to, from, size, key);
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

#endif
#ifdef __ARM_NEON

static void mask_neon(uint8_t *to, const uint8_t *from, size_t size, ws_key key)
{
    uint8x16_t keys = vreinterpretq_u8_u32(vdupq_n_u32(key));

    for (; size >= 32; size -= 32, to += 32, from += 32) {
        uint8x16_t a = vld1q_u8(from), b = vld1q_u8(from + 16);

        vst1q_u8(to, veorq_u8(a, keys));
        vst1q_u8(to + 16, veorq_u8(b, keys));
    }
    mask_words(to, from, size, key);
}

#endif

void ws_mask(uint8_t *to, const uint8_t *from, size_t size, ws_key key)
{
    if (key == 0) {
        if (to != from && size > 0)
            memmove(to, from, size);
        return;
    }
    if (size < 32) {
        mask_words(to, from, size, key);
        return;
    }
#ifdef __x86_64__
    if (size >= 64 && has_avx2())
        mask_avx2(to, from, size, key);
    else
        mask_sse2(to, from, size, key);
#elif defined(__ARM_NEON)
    mask_neon(to, from, size, key);
#else
    mask_words(to, from, size, key);
#endif
}

const struct ws_mask_way *ws_mask_way(size_t i)
{
    static const struct ws_mask_way ways[] = {
        {"scalar", mask_scalar, always},
#ifdef __x86_64__
        {"SSE2", mask_sse2, always},
        {"AVX2", mask_avx2, has_avx2},
#endif
#ifdef __ARM_NEON
        {"NEON", mask_neon, always},
#endif
        {"chosen", ws_mask, always},
    };

    return i < sizeof ways / sizeof *ways ? &ways[i] : NULL;
}
