/* SPDX-License-Identifier: MIT */
#include "ws/utf8.h"

#ifdef __aarch64__

#include <arm_neon.h>

#define VEC_TARGET
#define VEC_BYTES 16

typedef uint8x16_t vec;

static inline vec vec_load(const uint8_t *at)
{
    return vld1q_u8(at);
}

static inline vec vec_table(const uint8_t table[16])
{
    return vld1q_u8(table);
}

static inline vec vec_splat(uint8_t byte)
{
    return vdupq_n_u8(byte);
}

static inline vec vec_and(vec a, vec b)
{
    return vandq_u8(a, b);
}

static inline vec vec_or(vec a, vec b)
{
    return vorrq_u8(a, b);
}

static inline vec vec_xor(vec a, vec b)
{
    return veorq_u8(a, b);
}

static inline vec vec_less(vec a, vec b)
{
    return vqsubq_u8(a, b);
}

static inline vec vec_high(vec a)
{
    return vshrq_n_u8(a, 4);
}

static inline vec vec_find(vec table, vec index)
{
    return vqtbl1q_u8(table, index);
}

static inline bool vec_any(vec a)
{
    return vmaxvq_u8(a) != 0;
}

/* A macro, because the instruction has the distance inside it. */
#define vec_before(now, last, n) vextq_u8(last, now, 16 - (n))

#include "ws/utf8_lookup.h"

size_t utf8_blocks_neon(const uint8_t *bytes, size_t size)
{
    return blocks_check(bytes, size);
}

#endif
