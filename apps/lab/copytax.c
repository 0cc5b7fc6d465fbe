/* SPDX-License-Identifier: MIT */
/*
 * copytax: what it costs to move bytes to another process, and back.
 *
 * Neighbours get the same bytes and give them back. Two are plain children, on a pipe and on a Unix socket, with blocking
 * calls: the least that those can cost. The third is a worker process of a pool, which is handed the address. All change
 * the first and the last byte, so that nobody can give back what never arrived. Times are halves of exchanges, and of each
 * the lower quartile: what the machine's other programs add is not the tax.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <tandem.h>

#include "experiment.h"
#include "neighbour.h"

#define LARGEST NEIGHBOUR_BYTES_MAX
#define TEN_MB ((size_t)10000000)
#define SIZES 5
#define TEN_MB_INDEX 3
#define ROUNDS_MAX 40

/* In shared memory, for the worker. */
struct parcel {
    size_t size;
    uint64_t sum;
    unsigned char *bytes;  /* at the same address there as here */
};

struct tax {
    struct findings *findings;
    struct neighbour pipe, socket;
    struct neighbour_order *order;     /* private, for pipe and socket; the bytes follow it */
    unsigned char *bytes;
    struct parcel *parcel;
    td_pool *pool;
    bool lost;               /* bytes, on any way */
};

typedef int (*exchange)(struct tax *tax, size_t size, bool sum, uint64_t *answer);

static const size_t sizes[SIZES] = {64, 4096, 262144, TEN_MB, LARGEST};
static const int rounds[SIZES] = {40, 40, 20, 12, 6};

static int by_pipe(struct tax *tax, size_t size, bool sum, uint64_t *answer)
{
    return neighbour_exchange(&tax->pipe, tax->order, size, sum, answer);
}

static int by_socket(struct tax *tax, size_t size, bool sum, uint64_t *answer)
{
    return neighbour_exchange(&tax->socket, tax->order, size, sum, answer);
}

/* Two jobs, in the worker process. */
static int touch_parcel(void *arg)
{
    struct parcel *parcel = arg;

    bytes_touch(parcel->bytes, parcel->size);
    return 0;
}

static int sum_parcel(void *arg)
{
    struct parcel *parcel = arg;

    parcel->sum = bytes_sum(parcel->bytes, parcel->size);
    return 0;
}

static int by_shared_memory(struct tax *tax, size_t size, bool sum, uint64_t *answer)
{
    int rc;

    tax->parcel->size = size;
    rc = td_offload(tax->pool, sum ? sum_parcel : touch_parcel, tax->parcel);
    *answer = tax->parcel->sum;
    return rc;
}

/* Nobody's process but ours: the floor under the sums. */
static int in_place(struct tax *tax, size_t size, bool sum, uint64_t *answer)
{
    *answer = sum ? bytes_sum(tax->bytes, size) : 0;
    return 0;
}

static unsigned char *bytes_of(const struct tax *tax, exchange way)
{
    return way == by_shared_memory ? tax->parcel->bytes : tax->bytes;
}

/* One exchange; its microseconds in *us. The bytes are the same on every way, and what comes back is looked at. */
static int time_one(struct tax *tax, exchange way, size_t size, bool sum, double *us)
{
    unsigned char *bytes = bytes_of(tax, way);
    unsigned char first = bytes[0], last = bytes[size - 1];
    uint64_t answer = 0;
    td_time began;
    int rc = td_yield();  /* pipe and socket are no checkpoints, and somebody may want to stop this */

    if (rc < 0)
        return rc;
    began = td_now();
    rc = way(tax, size, sum, &answer);
    *us = (double)(td_now() - began) / 1e3;
    if (rc < 0)
        return rc;
    if (sum)
        tax->lost |= answer != bytes_sum(bytes, size);
    else
        tax->lost |= bytes[0] != (unsigned char)(first + 1) || bytes[size - 1] != (unsigned char)(last + 1);
    return 0;
}

/* All ways in turns; the lower quartile of each in us[]. */
static int time_ways(struct tax *tax, const exchange *ways, int count, size_t size, bool sum, int times, double *us)
{
    double took[4][ROUNDS_MAX];

    for (int round = -1; round < times; round++) {  /* the first is for warming up */
        for (int way = 0; way < count; way++) {
            int rc = time_one(tax, ways[way], size, sum, &took[way][round < 0 ? 0 : round]);

            if (rc < 0)
                return rc;
        }
    }
    for (int way = 0; way < count; way++)
        us[way] = quantile(took[way], (size_t)times, 0.25);
    return 0;
}

/*
 * Shared memory alone, all sizes in turns: beside a pipe that takes milliseconds the worker would be asleep, and its
 * caches full of what the pipe copied; that would be a tax of ours.
 */
static int time_shared(struct tax *tax, double *us)
{
    double took[SIZES][ROUNDS_MAX];

    for (int round = -1; round < ROUNDS_MAX; round++) {
        for (int i = 0; i < SIZES; i++) {
            int rc = time_one(tax, by_shared_memory, sizes[i], false, &took[i][round < 0 ? 0 : round]);

            if (rc < 0)
                return rc;
        }
    }
    for (int i = 0; i < SIZES; i++)
        us[i] = quantile(took[i], ROUNDS_MAX, 0.25) / 2;
    return 0;
}

static void claim_exchanges(struct findings *findings, double (*copied)[2], double *shared)
{
    double pipe_to_shared = copied[TEN_MB_INDEX][0] / shared[TEN_MB_INDEX];
    double socket_to_shared = copied[TEN_MB_INDEX][1] / shared[TEN_MB_INDEX];
    double pipe_grows = copied[SIZES - 1][0] / copied[0][0];
    double dearest = quantile(shared, SIZES, 1), cheapest = quantile(shared, SIZES, 0);

    findings_claim(findings, (struct claim){TIMED, "10 MB: pipe to shared", "times", AT_LEAST, 10, pipe_to_shared});
    findings_claim(findings, (struct claim){TIMED, "10 MB: socket to shared", "times", AT_LEAST, 10, socket_to_shared});
    findings_claim(findings, (struct claim){TIMED, "pipe: 64 MiB to 64 B", "times", AT_LEAST, 100, pipe_grows});
    findings_claim(findings, (struct claim){TIMED, "shared: dearest to cheapest", "times", AT_MOST, 4, dearest / cheapest});
}

static int exchange_sizes(struct tax *tax)
{
    static const exchange ways[] = {by_pipe, by_socket};
    static const char *const names[] = {"64 B", "4 KiB", "256 KiB", "10 MB", "64 MiB"};
    double copied[SIZES][2], shared[SIZES];
    int rc = time_shared(tax, shared);

    for (int i = 0; rc == 0 && i < SIZES; i++)
        rc = time_ways(tax, ways, 2, sizes[i], false, rounds[i], copied[i]);
    if (rc < 0)
        return rc;
    findings_line(tax->findings, "microseconds each way         pipe  Unix socket  shared memory");
    for (int i = 0; i < SIZES; i++) {
        copied[i][0] /= 2;
        copied[i][1] /= 2;
        findings_line(tax->findings, "  %-20s  %10.1f   %10.1f     %10.1f", names[i], copied[i][0], copied[i][1], shared[i]);
    }
    claim_exchanges(tax->findings, copied, shared);
    return 0;
}

static int sum_ten_mb(struct tax *tax)
{
    static const exchange ways[] = {by_pipe, by_socket, by_shared_memory, in_place};
    double us[4];
    int rc = time_ways(tax, ways, 4, TEN_MB, true, 12, us);

    if (rc < 0)
        return rc;
    findings_line(tax->findings, "  %-20s  %8.0f     %8.0f       %8.0f", "10 MB, summed there", us[0], us[1], us[2]);
    findings_line(tax->findings, "  10 MB, summed here without any way: %.0f", us[3]);
    findings_claim(tax->findings, (struct claim){TIMED, "summed there: pipe to shared", "times", AT_LEAST, 1.5, us[0] / us[2]});
    findings_claim(tax->findings, (struct claim){COUNTED, "ways that lost bytes", "", EXACTLY, 0, tax->lost});
    return 0;
}

static int on_loop(void *arg)
{
    struct tax *tax = arg;
    int rc = -ENOMEM;

    tax->parcel = td_shared_calloc(1, sizeof *tax->parcel);
    if (!tax->parcel)
        return rc;
    tax->parcel->bytes = td_shared_alloc(LARGEST);
    if (tax->parcel->bytes) {
        memset(tax->parcel->bytes, 7, LARGEST);
        rc = td_pool_open(&tax->pool, &(td_pool_opts){.kind = TD_PROCESSES, .workers = 1, .name = "copytax"});
        if (rc == 0) {
            rc = exchange_sizes(tax);
            if (rc == 0)
                rc = sum_ten_mb(tax);
            td_pool_close(tax->pool);
        }
        td_shared_free(tax->parcel->bytes);
    }
    td_shared_free(tax->parcel);
    return rc;
}

static int run(struct findings *findings)
{
    struct tax tax = {.findings = findings, .pipe = {.to = -1}, .socket = {.to = -1}};
    int rc;

    tax.order = malloc(sizeof *tax.order + LARGEST);
    if (!tax.order)
        return -ENOMEM;
    tax.bytes = (unsigned char *)(tax.order + 1);
    memset(tax.bytes, 7, LARGEST);
    rc = neighbour_by_pipe(&tax.pipe);
    if (rc == 0)
        rc = neighbour_by_socket(&tax.socket);
    if (rc == 0)  /* pipe and socket hold the loop, which has nothing else to do */
        rc = td_run_with(&(td_opts){.stall_after = TD_FOREVER}, on_loop, &tax);
    neighbour_part(&tax.socket);  /* it has copies of the pipe's ends, which must be gone for the other to see the end */
    neighbour_part(&tax.pipe);
    free(tax.order);
    return rc;
}

const struct experiment experiment_copytax = {
    .name = "copytax",
    .summary = "what it costs to move bytes to another process, and back",
    .theory = "A pipe or a socket copies every byte twice, into the kernel and out of it: the cost grows with the size. Shared "
              "memory hands over an address, so 64 bytes cost what 64 MiB cost.",
    .because = "Two copies of 10 MB are 20 MB written and hundreds of system calls, before anybody has looked at a byte. A "
               "worker of Tandem maps the same memory at the same address, and what travels is a job of a few dozen "
               "bytes. So bytes that workers will need belong into shared memory from the start: a copy into it would be "
               "the tax again.",
    .run = run,
};
