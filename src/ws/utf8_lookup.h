/* SPDX-License-Identifier: MIT */
/*
 * UTF-8 validation by table look-ups, many bytes at a time: the algorithm of John Keiser and Daniel Lemire ("Validating UTF-8
 * in less than one instruction per byte", 2021), written for any vector. Included by files that define `vec`, VEC_BYTES,
 * and vec_load, vec_table, vec_splat, vec_and, vec_or, vec_xor, vec_high (each byte's upper four bits), vec_find (an entry of a
 * table of 16), vec_before(now, last, n) (what lies n bytes before each byte), vec_less (subtraction that stops at 0), vec_any.
 *
 * Two bytes in a row can be wrong in eight ways, a bit each. A table says which of them the first byte's upper half allows,
 * one its lower half, one the second byte's upper half; what all three allow is wrong with the pair. The eighth bit says that two
 * continuation bytes follow each other, which is right exactly when a lead of three or four bytes stands before them.
 */
#define TOO_SHORT (1 << 0)   /* a lead, and no continuation */
#define TOO_LONG (1 << 1)    /* ASCII, and a continuation */
#define LONG_3 (1 << 2)      /* E0 80..9F: overlong */
#define SURROGATE (1 << 4)   /* ED A0..BF */
#define LONG_2 (1 << 5)      /* C0, C1: overlong */
#define TOO_LARGE (1 << 3)   /* F4 90..BF, F5..FF 80..BF */
#define LARGE_OR_LONG_4 (1 << 6)  /* F5..FF 80..8F, F0 80..8F */
#define TWO_NEXT (1 << 7)    /* two continuations */
#define ANY_LOW (TOO_SHORT | TOO_LONG | TWO_NEXT)  /* what does not depend on the first byte's lower half */

static const uint8_t first_high[16] = {
    TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
    TWO_NEXT, TWO_NEXT, TWO_NEXT, TWO_NEXT,
    TOO_SHORT | LONG_2,
    TOO_SHORT,
    TOO_SHORT | LONG_3 | SURROGATE,
    TOO_SHORT | TOO_LARGE | LARGE_OR_LONG_4,
};
static const uint8_t first_low[16] = {
    ANY_LOW | LONG_2 | LONG_3 | LARGE_OR_LONG_4,
    ANY_LOW | LONG_2,
    ANY_LOW, ANY_LOW,
    ANY_LOW | TOO_LARGE,
    ANY_LOW | TOO_LARGE | LARGE_OR_LONG_4, ANY_LOW | TOO_LARGE | LARGE_OR_LONG_4, ANY_LOW | TOO_LARGE | LARGE_OR_LONG_4,
    ANY_LOW | TOO_LARGE | LARGE_OR_LONG_4, ANY_LOW | TOO_LARGE | LARGE_OR_LONG_4, ANY_LOW | TOO_LARGE | LARGE_OR_LONG_4,
    ANY_LOW | TOO_LARGE | LARGE_OR_LONG_4, ANY_LOW | TOO_LARGE | LARGE_OR_LONG_4,
    ANY_LOW | TOO_LARGE | LARGE_OR_LONG_4 | SURROGATE,
    ANY_LOW | TOO_LARGE | LARGE_OR_LONG_4, ANY_LOW | TOO_LARGE | LARGE_OR_LONG_4,
};
static const uint8_t second_high[16] = {
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
    TOO_LONG | LONG_2 | TWO_NEXT | LONG_3 | LARGE_OR_LONG_4,
    TOO_LONG | LONG_2 | TWO_NEXT | LONG_3 | TOO_LARGE,
    TOO_LONG | LONG_2 | TWO_NEXT | SURROGATE | TOO_LARGE,
    TOO_LONG | LONG_2 | TWO_NEXT | SURROGATE | TOO_LARGE,
    TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
};

/* What is wrong in `now`, which follows `last`: any byte that is not 0. */
VEC_TARGET static inline vec block_flaws(vec now, vec last, vec table_1, vec table_2, vec table_3)
{
    vec one = vec_before(now, last, 1);
    vec pairs = vec_and(vec_and(vec_find(table_1, vec_high(one)), vec_find(table_2, vec_and(one, vec_splat(0x0F)))),
                        vec_find(table_3, vec_high(now)));
    /* The top bit is set where two bytes before there is a lead of three or four, or three bytes before one of four. */
    vec third = vec_less(vec_before(now, last, 2), vec_splat(0xE0 - 0x80));
    vec fourth = vec_less(vec_before(now, last, 3), vec_splat(0xF0 - 0x80));

    return vec_xor(pairs, vec_and(vec_or(third, fourth), vec_splat(0x80)));
}

/*
 * Checks whole blocks that begin at a character's start. Returns how many bytes it looked at, a multiple of VEC_BYTES, or
 * SIZE_MAX when they are not UTF-8. Whether the last character is whole is not looked at.
 */
VEC_TARGET static size_t blocks_check(const uint8_t *bytes, size_t size)
{
    vec table_1 = vec_table(first_high), table_2 = vec_table(first_low), table_3 = vec_table(second_high);
    vec last = vec_splat(0), flaws = vec_splat(0);
    size_t at = 0;
    bool ascii = true;

    for (; size - at >= VEC_BYTES; at += VEC_BYTES) {
        vec now = vec_load(bytes + at);

        if (vec_any(vec_and(now, vec_splat(0x80)))) {
            flaws = vec_or(flaws, block_flaws(now, last, table_1, table_2, table_3));
            ascii = false;
        } else if (!ascii) {
            /* the block before may have ended inside a character */
            flaws = vec_or(flaws, block_flaws(now, last, table_1, table_2, table_3));
            ascii = true;
        }
        last = now;
    }
    return vec_any(flaws) ? SIZE_MAX : at;
}
