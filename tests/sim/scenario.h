/* SPDX-License-Identifier: MIT */
/*
 * What scenarios of the simulation share. A scenario is a program whose first task builds a little world, lets it run
 * under the faults that its seed draws, and checks what must hold in every run. Luck comes from td_random alone.
 */
#ifndef TANDEM_TESTS_SIM_SCENARIO_H
#define TANDEM_TESTS_SIM_SCENARIO_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem.h"

struct world {
    char complaint[512];  /* the first thing that did not hold; empty while all is well */
};

struct scenario {
    const char *name;
    td_fn run;            /* its argument is a struct world */
};

extern const struct scenario scenario_echo, scenario_cancel, scenario_chat, scenario_http, scenario_program, scenario_walk,
    scenario_pool, scenario_sync;

__attribute__((format(printf, 2, 3))) __attribute__((unused))
static void complain(struct world *world, const char *format, ...)
{
    va_list args;

    if (world->complaint[0])
        return;
    va_start(args, format);
    vsnprintf(world->complaint, sizeof world->complaint, format, args);
    va_end(args);
}

/* Checks what must hold; says whether it did. */
#define must(world, condition, ...) ((condition) || (complain((world), #condition ": " __VA_ARGS__), false))

/* Less than `limit`. */
static inline size_t pick(size_t limit)
{
    return (size_t)(td_random() % limit);
}

static inline bool one_in(size_t n)
{
    return pick(n) == 0;
}

/* Faults of a random kind and strength; half of the seeds see a network that only delays and divides. */
__attribute__((unused)) static bool draw_faults(void)
{
    td_sim_fault_opts opts = {.delay_max = td_us(1) << pick(18), .partial = one_in(4) ? -1 : 0.1 * (double)(1 + pick(9)),
                              .straggler = one_in(3) ? 0.02 : 0, .slow_peer = one_in(3) ? 0.3 : 0,
                              .interrupted = one_in(2) ? 0.05 : 0};
    bool harsh = one_in(2);

    if (harsh) {
        opts.reset = one_in(2) ? 0.01 : 0;
        opts.refused = one_in(2) ? 0.1 : 0;
        opts.aborted = one_in(2) ? 0.1 : 0;
        opts.shortage = one_in(2) ? 0.02 : 0;
        opts.death = one_in(2) ? 0.05 : 0;
    }
    td_sim_faults(&opts);
    return harsh;
}

/* Nobody waits in a channel for what is there: a wake-up that was lost shows here, however soon a deadline would hide it. */
__attribute__((unused)) static void check_channel(struct world *world, const td_chan *chan)
{
    td_chan_stats stats;

    td_chan_statistics(chan, &stats);
    must(world, stats.count <= stats.capacity, "%zu items of %zu", stats.count, stats.capacity);
    must(world, !stats.receivers_waiting || stats.count == 0, "%zu wait for one of %zu items", stats.receivers_waiting,
         stats.count);
    must(world, !stats.senders_waiting || stats.count == stats.capacity, "%zu wait for room, %zu items of %zu",
         stats.senders_waiting, stats.count, stats.capacity);
}

/* The i-th byte of a stream that both sides can compute. */
static inline unsigned char byte_at(uint64_t stream, size_t i)
{
    uint64_t z = (stream + 1) * 0x9E3779B97F4A7C15u + i * 0xBF58476D1CE4E5B9u;

    return (unsigned char)(z ^ z >> 29 ^ z >> 47);
}

__attribute__((unused)) static void fill(unsigned char *bytes, size_t size, uint64_t stream, size_t from)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(stream, from + i);
}

/* How many of the bytes are as they should be. */
__attribute__((unused)) static size_t agrees(const unsigned char *bytes, size_t size, uint64_t stream, size_t from)
{
    size_t i = 0;

    while (i < size && bytes[i] == byte_at(stream, from + i))
        i++;
    return i;
}

/* What a network may answer that resets connections, refuses them, or is short of something. */
__attribute__((unused)) static bool is_network_error(ssize_t rc)
{
    return rc == -ECONNRESET || rc == -EPIPE || rc == -ECONNREFUSED || rc == -EHOSTUNREACH || rc == -ENETUNREACH ||
           rc == -EADDRNOTAVAIL || rc == -ETIMEDOUT || rc == -EMFILE || rc == -ENFILE || rc == -ENOBUFS || rc == -ENOMEM ||
           rc == -ENOTCONN;
}

#endif
