/* SPDX-License-Identifier: MIT */
/*
 * map: one function over many items, on worker processes.
 *
 * Three parts. Four squares, which a child can check. A million squares, for order and memory: the work of an item is
 * nothing there, so all that could grow is what the pool keeps about items. And a few thousand items with real work, for
 * speed, against a plain loop and against the same work divided by hand among forked processes: what this machine gives at this
 * moment, with whatever else it does.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <tandem.h>
#include <unistd.h>

#include "experiment.h"
#include "machine.h"

#define MILLION 1000000
#define ITEMS 8000        /* with real work */
#define ROUNDS 4

struct squares {
    struct findings *findings;
    unsigned cores;
    int rc;
};

struct walk {
    uint32_t from, steps;
    pid_t walker;         /* the process that did it */
};

struct speed {
    struct walk *items;   /* the map has a copy of its own, in Tandem's shared memory */
    unsigned cores;
    double ms, cpu_ms;
};

static int square(void *arg)
{
    int64_t *item = arg;

    *item *= *item;
    return 0;
}

/* Steps that numbers take down to 1 by halving and tripling (Collatz): arithmetic that nobody can shorten. */
static int walk_down(void *arg)
{
    struct walk *item = arg;

    item->walker = getpid();
    item->steps = 0;
    for (uint32_t i = 0; i < 300; i++)
        for (uint64_t n = item->from + i; n != 1; item->steps++)
            n = n % 2 ? 3 * n + 1 : n / 2;
    return 0;
}

struct memory_watch {
    double peak_kib;
    bool done;
};

static int watch_memory(void *arg)
{
    struct memory_watch *watch = arg;
    int rc = 0;

    for (; rc == 0 && !watch->done; rc = td_sleep(td_ms(1))) {
        double kib = machine_private_kib();

        if (kib > watch->peak_kib)
            watch->peak_kib = kib;
    }
    return rc;
}

static int watched_map(td_pool *pool, int64_t *items, double *grown_kib)
{
    struct memory_watch watch = {.peak_kib = machine_private_kib()};
    double before = watch.peak_kib;
    td_scope scope;
    int rc, joined;

    td_scope_open(&scope);
    rc = td_spawn(&scope, watch_memory, &watch);
    if (rc == 0)
        rc = td_pool_map(pool, square, items, MILLION, sizeof *items);
    watch.done = true;
    joined = td_scope_join(&scope);
    *grown_kib = watch.peak_kib - before;
    return rc < 0 ? rc : joined;
}

static int four(struct squares *squares, td_pool *pool)
{
    int64_t *items = td_shared_calloc(4, sizeof *items);
    int rc;

    if (!items)
        return -ENOMEM;
    for (int i = 0; i < 4; i++)
        items[i] = i + 1;
    rc = td_pool_map(pool, square, items, 4, sizeof *items);
    if (rc == 0) {
        findings_line(squares->findings, "map(square, [1, 2, 3, 4]) = [%lld, %lld, %lld, %lld]", (long long)items[0],
                      (long long)items[1], (long long)items[2], (long long)items[3]);
        findings_claim(squares->findings, (struct claim){COUNTED, "four squares that are right", "", EXACTLY, 4,
                       (items[0] == 1) + (items[1] == 4) + (items[2] == 9) + (items[3] == 16)});
    }
    td_shared_free(items);
    return rc;
}

static int million(struct squares *squares, td_pool *pool)
{
    int64_t *items = td_shared_alloc(MILLION * sizeof *items), right = 0;
    td_pool_stats before, after;
    double grown_kib;
    int rc;

    if (!items)
        return -ENOMEM;
    for (int64_t i = 0; i < MILLION; i++)
        items[i] = i;
    td_pool_statistics(pool, &before);
    rc = watched_map(pool, items, &grown_kib);
    td_pool_statistics(pool, &after);
    for (int64_t i = 0; i < MILLION; i++)
        right += items[i] == i * i;
    td_shared_free(items);
    if (rc < 0)
        return rc;
    findings_line(squares->findings, "a million items: %llu chunks for %u workers, at most %zu waiting;", after.ok - before.ok,
                  squares->cores, after.depth_peak);
    findings_line(squares->findings, "    the program grew by %.0f KiB beside the items' own 7,813 KiB", grown_kib);
    findings_claim(squares->findings, (struct claim){COUNTED, "a million squares, in order", "", EXACTLY, MILLION,
                   (double)right});
    findings_claim(squares->findings, (struct claim){COUNTED, "chunks under way at a time", "", AT_MOST, 2.0 * squares->cores,
                   (double)(after.depth_peak + squares->cores)});
    findings_claim(squares->findings, (struct claim){COUNTED, "memory the map takes", "KiB", AT_MOST, 1024, grown_kib});
    return 0;
}

static int on_loop(void *arg)
{
    struct squares *squares = arg;
    td_pool *pool;
    int rc = td_pool_open(&pool, &(td_pool_opts){.kind = TD_PROCESSES, .workers = squares->cores, .name = "map"});

    if (rc < 0)
        return rc;
    rc = four(squares, pool);
    if (rc == 0)
        rc = million(squares, pool);
    td_pool_close(pool);
    return rc;
}

static void plain_loop(struct speed *speed)
{
    double cpu_before = machine_thread_cpu_ms();
    td_time began = td_now();

    for (int i = 0; i < ITEMS; i++)
        walk_down(&speed->items[i]);
    speed->ms = (double)(td_now() - began) / 1e6;
    speed->cpu_ms = machine_thread_cpu_ms() - cpu_before;
}

/* Every n-th item to the n-th process: the best that there is without knowing the items. */
static int by_hand(struct speed *speed)
{
    td_time began = td_now();
    pid_t pids[MACHINE_CORES_MAX];
    unsigned started = 0;
    int status, rc = 0;

    for (; started < speed->cores; started++) {
        pids[started] = fork();
        if (pids[started] < 0) {
            rc = -errno;
            break;
        }
        if (pids[started] == 0) {
            (void)setpriority(PRIO_PROCESS, 0, MACHINE_WORKER_NICE);
            for (unsigned i = started; i < ITEMS; i += speed->cores)
                walk_down(&speed->items[i]);
            _exit(0);
        }
    }
    while (started > 0)
        if (waitpid(pids[--started], &status, 0) < 0 || status != 0)
            rc = -ECHILD;
    speed->ms = (double)(td_now() - began) / 1e6;
    return rc;
}

static int real_map(void *arg)
{
    struct speed *speed = arg;
    struct walk *items = td_shared_alloc(ITEMS * sizeof *items);
    td_pool *pool = NULL;
    td_time began;
    int rc = items ? td_pool_open(&pool, &(td_pool_opts){.kind = TD_PROCESSES, .workers = speed->cores, .name = "map"}) : -ENOMEM;

    if (rc == 0) {
        memcpy(items, speed->items, ITEMS * sizeof *items);
        rc = td_pool_map(pool, walk_down, items, speed->cores, sizeof *items);  /* the workers are there now */
    }
    if (rc == 0) {
        began = td_now();
        rc = td_pool_map(pool, walk_down, items, ITEMS, sizeof *items);
        speed->ms = (double)(td_now() - began) / 1e6;
        memcpy(speed->items, items, ITEMS * sizeof *items);
    }
    if (pool)
        td_pool_close(pool);
    td_shared_free(items);
    return rc;
}

static unsigned walkers(const struct speed *speed)
{
    pid_t seen[MACHINE_CORES_MAX];
    unsigned count = 0;

    for (int i = 0; i < ITEMS; i++) {
        unsigned at = 0;

        while (at < count && seen[at] != speed->items[i].walker)
            at++;
        if (at == count && count < MACHINE_CORES_MAX)
            seen[count++] = speed->items[i].walker;
    }
    return count;
}

/* Adds up, and forgets: the next one has to find it again. */
static uint64_t take_steps(struct speed *speed)
{
    uint64_t steps = 0;

    for (int i = 0; i < ITEMS; i++) {
        steps += speed->items[i].steps;
        speed->items[i].steps = 0;
    }
    return steps;
}

static int compare_speed(struct findings *findings, struct speed *speed)
{
    double plain[ROUNDS], hand[ROUNDS], map[ROUNDS], left[ROUNDS], gain[ROUNDS], plain_ms, hand_ms, map_ms;
    unsigned alike = 0, most = 0;

    for (int round = 0; round < ROUNDS; round++) {
        struct machine_effort before;
        uint64_t steps;
        int rc;

        plain_loop(speed);
        plain[round] = speed->ms;
        steps = take_steps(speed);
        rc = by_hand(speed);
        if (rc < 0)
            return rc;
        hand[round] = speed->ms;
        before = machine_effort();
        rc = td_run(real_map, speed);
        if (rc < 0)
            return rc;
        map[round] = speed->ms;
        most = walkers(speed) > most ? walkers(speed) : most;
        left[round] = machine_cores_left(speed->cores, before, machine_effort());
        gain[round] = speed->cpu_ms / map[round] / left[round];  /* the loop's time on a core of its own counts here */
        alike += take_steps(speed) == steps;
    }
    plain_ms = quantile(plain, ROUNDS, 0);
    hand_ms = quantile(hand, ROUNDS, 0);
    map_ms = quantile(map, ROUNDS, 0);
    findings_line(findings, "%d items with real work (%.2f ms each), the best of %d:", ITEMS, plain_ms / ITEMS, ROUNDS);
    findings_line(findings, "    a plain loop               %6.0f ms", plain_ms);
    findings_line(findings, "    forked and shared by hand  %6.0f ms  %5.2f times as fast", hand_ms, plain_ms / hand_ms);
    findings_line(findings, "    td_pool_map                %6.0f ms  %5.2f times as fast", map_ms, plain_ms / map_ms);
    findings_line(findings, "    other programs left %.2f of %u cores", quantile(left, ROUNDS, 0.5), speed->cores);
    findings_claim(findings, (struct claim){COUNTED, "rounds that came out alike", "", EXACTLY, ROUNDS, alike});
    findings_claim(findings, (struct claim){COUNTED, "workers that took part", "", EXACTLY, speed->cores, most});
    findings_claim(findings, (struct claim){TIMED, "time: map to hand-made", "times", AT_MOST, 1.5, map_ms / hand_ms});
    findings_claim(findings, (struct claim){TIMED, "speed for each core left", "times", AT_LEAST, 0.6,
                   quantile(gain, ROUNDS, 0.5)});
    return 0;
}

static int run(struct findings *findings)
{
    struct squares squares = {.findings = findings, .cores = machine_cores()};
    struct speed speed = {.cores = squares.cores};
    int rc;

    rc = td_run_with(&(td_opts){.stall_after = TD_FOREVER}, on_loop, &squares);  /* it fills and checks arrays on the loop */
    if (rc < 0)
        return rc;
    speed.items = mmap(NULL, ITEMS * sizeof *speed.items, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (speed.items == MAP_FAILED)
        return -ENOMEM;
    for (uint32_t i = 0; i < ITEMS; i++)
        speed.items[i].from = 1000 + 300 * i;
    rc = compare_speed(findings, &speed);
    munmap(speed.items, ITEMS * sizeof *speed.items);
    return rc;
}

const struct experiment experiment_map = {
    .name = "map",
    .summary = "one function over a million items, on every core",
    .theory = "The results stand where their items stood, whichever worker had them and whenever it was done. What is under way "
              "is bounded, so the memory does not grow with the items. Where an item is real work, the time is that of a plain "
              "loop divided by the cores, less a little for handing out.",
    .because = "Workers write into the items themselves, which lie in shared memory, so there is nothing to collect and nothing "
               "to sort. Items go out in chunks that shrink towards the end: large ones cost little, small ones let all "
               "workers finish together. A job for each of a million items would spend more on the handing out than on the work.",
    .run = run,
};
