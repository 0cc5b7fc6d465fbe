/* SPDX-License-Identifier: MIT */
/* What a test asks of the simulation, and what it sees: faults, failures, the trace, the order of ready tasks. */
#include <errno.h>
#include <inttypes.h>

#include "loop/sim.h"

#define CHOICES 16  /* the next task is one of so many that are ready: any order comes about, and none waits for ever */

struct backend *sim_current(void)
{
    struct loop *loop = loop_current();

    return loop && loop_is_simulated(loop) ? loop->backend : NULL;
}

static bool is_probability(double value)
{
    return value >= 0 && value <= 1;
}

int td_sim_faults(const td_sim_fault_opts *opts)
{
    struct backend *sim = sim_current();

    if (!sim)
        return -ENOSYS;
    if (opts->delay_min < 0 || opts->delay_max < 0 || opts->delay_max > td_sec(3600) ||
        opts->delay_min > (opts->delay_max ? opts->delay_max : td_ms(1)) || opts->partial > 1 ||
        !is_probability(opts->straggler) || !is_probability(opts->slow_peer) || !is_probability(opts->reset) ||
        !is_probability(opts->refused) || !is_probability(opts->aborted) || !is_probability(opts->interrupted) ||
        !is_probability(opts->shortage) || !is_probability(opts->death))
        return -EINVAL;
    sim->faults = *opts;
    return 0;
}

int td_sim_fail(td_sim_call call, unsigned long long nth, int error)
{
    struct backend *sim = sim_current();

    if (!sim)
        return -ENOSYS;
    if ((unsigned)call >= TD_SIM_CALLS || error >= 0)
        return -EINVAL;
    sim->fails[call].nth = nth;
    sim->fails[call].error = error;
    return 0;
}

int td_sim_statistics(td_sim_stats *stats)
{
    struct backend *sim = sim_current();

    if (!sim)
        return -ENOSYS;
    *stats = sim->stats;
    return 0;
}

int td_sim_trace(const char *path)
{
    struct backend *sim = sim_current();

    if (!sim)
        return -ENOSYS;
    if (sim->trace)
        fclose(sim->trace);
    sim->trace = fopen(path, "we");
    return sim->trace ? 0 : -errno;
}

/* FNV-1a (Fowler, Noll, Vo), over words for speed. */
static uint64_t hash_in(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x100000001B3u;
    return hash ^ hash >> 32;
}

void sim_note(struct backend *sim, const char *what, long long a, long long b)
{
    td_time now = sim->loop->virtual_now;
    uint64_t hash = sim->stats.trace ^ 0xCBF29CE484222325u;

    hash = hash_in(hash, (uint64_t)now);
    for (const char *at = what; *at; at++)
        hash = hash_in(hash, (unsigned char)*at);
    hash = hash_in(hash, (uint64_t)a);
    sim->stats.trace = hash_in(hash, (uint64_t)b);
    sim->stats.events++;
    if (sim->trace)
        fprintf(sim->trace, "%" PRId64 ".%09" PRId64 " %s %lld %lld\n", now / 1000000000, now % 1000000000, what, a, b);
}

struct td_task *sim_choose(struct sched *sched)
{
    struct backend *sim = container_of(sched, struct loop, sched)->backend;
    struct td_task **at = &sched->ready, *task;
    unsigned count = 0;

    for (task = sched->ready; task && count < CHOICES; task = task->next)
        count++;
    for (uint64_t skip = dice_below(&sim->order, count); skip > 0; skip--)
        at = &(*at)->next;
    task = *at;
    *at = task->next;
    if (!*at)
        sched->ready_end = at;
    sim_note(sim, "task", (long long)task->id, 0);
    return task;
}
