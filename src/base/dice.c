/* SPDX-License-Identifier: MIT */
#include "base/dice.h"

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

void dice_seed(struct dice *dice, uint64_t seed, uint64_t stream)
{
    uint64_t state = splitmix(&seed) ^ stream * 0xD1342543DE82EF95u;

    for (int i = 0; i < 4; i++)
        dice->state[i] = splitmix(&state);  /* four different outputs: never all zero */
}
