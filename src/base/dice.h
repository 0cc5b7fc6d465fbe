/* SPDX-License-Identifier: MIT */
/*
 * A small fast generator: xoshiro256** 1.0 by David Blackman and Sebastiano Vigna ("Scrambled linear pseudorandom
 * number generators", ACM Transactions on Mathematical Software 47, 2021), its state filled by splitmix64 as they
 * advise. For decisions and tests, never for secrets: its past and future follow from a few outputs.
 */
#ifndef TANDEM_BASE_DICE_H
#define TANDEM_BASE_DICE_H

#include <stdint.h>

struct dice {
    uint64_t state[4];
};

/* Different streams of one seed do not depend on each other. */
void dice_seed(struct dice *dice, uint64_t seed, uint64_t stream);

static inline uint64_t dice_rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline uint64_t dice_next(struct dice *dice)
{
    uint64_t *s = dice->state, result = dice_rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = dice_rotate(s[3], 45);
    return result;
}

/* Less than `limit`, which is not 0. The bias is below limit / 2^64. */
static inline uint64_t dice_below(struct dice *dice, uint64_t limit)
{
    return (uint64_t)((unsigned __int128)dice_next(dice) * limit >> 64);
}

/* True with this probability. */
static inline int dice_chance(struct dice *dice, double probability)
{
    return (double)(dice_next(dice) >> 11) * 0x1p-53 < probability;
}

#endif
