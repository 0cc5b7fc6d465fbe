/* SPDX-License-Identifier: MIT */
/*
 * What a context switch must keep. Needs only src/task/context.*, so that it can be compiled for another processor:
 *
 *     echo '#include "task/switch.h"
 *           int main(void) { return switch_all(); }' >/tmp/switch.c
 *     aarch64-linux-gnu-gcc -static -O2 -D_GNU_SOURCE -DTD_SWITCH_ASM -Isrc -Iinclude -Itests \
 *         /tmp/switch.c src/task/context.c src/task/context_switch.S -o /tmp/switch
 *     qemu-aarch64 /tmp/switch; echo $?
 *
 * Each function returns 0, or the number of the line that went wrong.
 */
#ifndef TANDEM_TESTS_TASK_SWITCH_H
#define TANDEM_TESTS_TASK_SWITCH_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "task/context.h"

#define SWITCH_STACK (64 * 1024)
#define SWITCH_RING 100
#define SAME(a, b) do { if ((a) != (b)) return __LINE__; } while (0)

struct switch_side {
    struct context context, *other;
    _Alignas(64) char stack[SWITCH_STACK];
    uint64_t seed, rounds;
    uintptr_t frame;
    int wrong;
    struct switch_side *next;
};

/* Keeps more values alive across switches than there are registers that a call preserves, integers and doubles. */
__attribute__((noinline)) static int switch_churn(struct context *from, struct context *to, uint64_t seed, uint64_t rounds)
{
    uint64_t a = seed, b = seed * 3, c = seed * 5, d = seed * 7, e = seed * 11, f = seed * 13, g = seed * 17, h = seed * 19;
    uint64_t i = seed * 23, j = seed * 29, k = seed * 31;
    double p = (double)seed, q = p * 3, r = p * 5, s = p * 7, t = p * 11, u = p * 13, v = p * 17, w = p * 19;

    for (uint64_t n = 0; n < rounds; n++) {
        context_switch(from, to, 0);
        a += 1, b += 1, c += 1, d += 1, e += 1, f += 1, g += 1, h += 1, i += 1, j += 1, k += 1;
        p += 1, q += 1, r += 1, s += 1, t += 1, u += 1, v += 1, w += 1;
    }
    SAME(a, seed + rounds);
    SAME(b, seed * 3 + rounds);
    SAME(c, seed * 5 + rounds);
    SAME(d, seed * 7 + rounds);
    SAME(e, seed * 11 + rounds);
    SAME(f, seed * 13 + rounds);
    SAME(g, seed * 17 + rounds);
    SAME(h, seed * 19 + rounds);
    SAME(i, seed * 23 + rounds);
    SAME(j, seed * 29 + rounds);
    SAME(k, seed * 31 + rounds);
    SAME((uint64_t)(p + q + r + s), seed * 16 + 4 * rounds);
    SAME((uint64_t)(t + u + v + w), seed * 60 + 4 * rounds);
    return 0;
}

static void switch_churn_side(void *arg)
{
    struct switch_side *side = arg;

    context_arrived();
    side->wrong = switch_churn(&side->context, side->other, side->seed, side->rounds);
    for (;;)
        context_switch(&side->context, side->other, 0);
}

static void switch_side_make(struct switch_side *side, struct context *other, context_entry entry)
{
    memset(&side->context, 0, sizeof side->context);
    side->other = other;
    side->wrong = -1;
    context_make(&side->context, side->stack, sizeof side->stack, entry, side);
}

static int switch_keeps_registers(uint64_t rounds)
{
    static struct switch_side side;
    struct context here;
    int wrong;

    memset(&here, 0, sizeof here);
    context_adopt_thread(&here);
    switch_side_make(&side, &here, switch_churn_side);
    side.seed = 1000003;
    side.rounds = rounds;
    wrong = switch_churn(&here, &side.context, 77777, rounds);
    context_switch(&here, &side.context, 0);  /* its last round ends */
    SAME(side.wrong, 0);
    return wrong;
}

static void switch_look(void *arg)
{
    struct switch_side *side = arg;
    _Alignas(16) volatile char aligned[16] = {0};
    char text[64];

    context_arrived();
    side->frame = (uintptr_t)aligned;
    snprintf(text, sizeof text, "%.3f %d", 1.5, 42);  /* saves vector registers with aligned stores */
    side->wrong = strcmp(text, "1.500 42");
    for (;;)
        context_switch(&side->context, side->other, 0);
}

static int switch_starts_aligned(void)
{
    static struct switch_side side;
    struct context here;

    memset(&here, 0, sizeof here);
    context_adopt_thread(&here);
    switch_side_make(&side, &here, switch_look);
    context_switch(&here, &side.context, 0);
    SAME(side.wrong, 0);
    SAME(side.frame % 16, 0u);
    return 0;
}

static void switch_pass_on(void *arg)
{
    struct switch_side *side = arg;

    context_arrived();
    for (;;) {
        side->rounds++;
        context_switch(&side->context, side->next ? &side->next->context : side->other, 0);
    }
}

/* Round and round through many contexts, each of which hands on to the next. */
static int switch_ring(int sides, uint64_t rounds)
{
    static struct switch_side ring[SWITCH_RING];
    struct context here;

    memset(&here, 0, sizeof here);
    context_adopt_thread(&here);
    for (int i = 0; i < sides; i++) {
        switch_side_make(&ring[i], &here, switch_pass_on);
        ring[i].next = i + 1 < sides ? &ring[i + 1] : NULL;
        ring[i].rounds = 0;
    }
    for (uint64_t i = 0; i < rounds; i++)
        context_switch(&here, &ring[0].context, 0);
    for (int i = 0; i < sides; i++)
        SAME(ring[i].rounds, rounds);
    return 0;
}

static void switch_fill_stack(void *arg)
{
    struct switch_side *side = arg;
    volatile unsigned char kept[SWITCH_STACK / 4];

    context_arrived();
    for (size_t i = 0; i < sizeof kept; i++)
        kept[i] = (unsigned char)(side->seed + i);
    context_switch(&side->context, side->other, 0);
    side->wrong = 0;
    for (size_t i = 0; i < sizeof kept; i++)
        side->wrong |= kept[i] != (unsigned char)(side->seed + i);
    for (;;)
        context_switch(&side->context, side->other, 0);
}

static int switch_keeps_stacks_apart(void)
{
    static struct switch_side sides[10];
    struct context here;

    memset(&here, 0, sizeof here);
    context_adopt_thread(&here);
    for (int i = 0; i < 10; i++) {
        switch_side_make(&sides[i], &here, switch_fill_stack);
        sides[i].seed = (uint64_t)i * 31;
    }
    for (int turn = 0; turn < 2; turn++)
        for (int i = 0; i < 10; i++)
            context_switch(&here, &sides[i].context, 0);
    for (int i = 0; i < 10; i++)
        SAME(sides[i].wrong, 0);
    return 0;
}

__attribute__((unused)) static int switch_all(void)
{
    int wrong = switch_keeps_registers(100000);

    wrong = wrong ? wrong : switch_starts_aligned();
    wrong = wrong ? wrong : switch_ring(SWITCH_RING, 1000);
    return wrong ? wrong : switch_keeps_stacks_apart();
}

#endif
