/* SPDX-License-Identifier: MIT */
#include "ws/utf8.h"

#ifdef __x86_64__

#include <immintrin.h>

#define VEC_TARGET __attribute__((target("avx2")))
#define VEC_BYTES 32

typedef __m256i vec;

VEC_TARGET static inline vec vec_load(const uint8_t *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

VEC_TARGET static inline vec vec_table(const uint8_t table[16])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));
}

VEC_TARGET static inline vec vec_splat(int byte)
{
    return _mm256_set1_epi8((char)byte);
}

VEC_TARGET static inline vec vec_and(vec a, vec b)
{
    return _mm256_and_si256(a, b);
}

VEC_TARGET static inline vec vec_or(vec a, vec b)
{
    return _mm256_or_si256(a, b);
}

VEC_TARGET static inline vec vec_xor(vec a, vec b)
{
    return _mm256_xor_si256(a, b);
}

VEC_TARGET static inline vec vec_less(vec a, vec b)
{
    return _mm256_subs_epu8(a, b);
}

VEC_TARGET static inline vec vec_high(vec a)
{
    return _mm256_and_si256(_mm256_srli_epi16(a, 4), _mm256_set1_epi8(0x0F));
}

VEC_TARGET static inline vec vec_find(vec table, vec index)
{
    return _mm256_shuffle_epi8(table, index);
}

VEC_TARGET static inline bool vec_any(vec a)
{
    return !_mm256_testz_si256(a, a);
}

/* A macro, because the instruction has the distance inside it. */
#define vec_before(now, last, n) _mm256_alignr_epi8(now, _mm256_permute2x128_si256(last, now, 0x21), 16 - (n))

#include "ws/utf8_lookup.h"

size_t utf8_blocks_avx2(const uint8_t *bytes, size_t size)
{
    return blocks_check(bytes, size);
}

#endif
