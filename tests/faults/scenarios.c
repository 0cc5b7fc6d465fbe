/* SPDX-License-Identifier: MIT */
#include "faults/scenarios.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/arena.h"

static int nothing(void *arg)
{
    return 0;
}

#define MANY 150  /* more than one slab of stacks holds */

static int count_up(void *arg)
{
    int *count = arg, rc = td_yield();

    ++*count;
    return rc;
}

static int spawn_many(void *arg)
{
    int count = 0, spawned = 0, rc = 0, joined;
    td_scope scope;

    td_scope_open(&scope);
    while (spawned < MANY && (rc = td_spawn(&scope, count_up, &count)) == 0)
        spawned++;
    joined = td_scope_join(&scope);
    truth(joined == 0 && count == spawned);
    return rc < 0 ? rc : joined;
}

static int sleep_briefly(void *arg)
{
    return td_sleep(td_us(200));
}

static int wait_for_pipe(void *arg)
{
    const int *fd = arg;
    char byte;
    int rc = td_wait_readable(*fd);

    if (rc == 0)
        truth(read(*fd, &byte, 1) == 1);
    return rc;
}

/* Sleeps, a deadline, and two tasks that wait for one descriptor. */
static int wait_all(void *arg)
{
    int pair[2], rc, joined;
    td_scope scope;

    if (!truth(pipe2(pair, 0) == 0))
        return -EIO;
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_sec(8)));
    rc = td_spawn(&scope, sleep_briefly, NULL);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = td_spawn(&scope, wait_for_pipe, &pair[0]);
    if (rc == 0)
        rc = td_sleep(td_us(100));
    truth(write(pair[1], "ab", 2) == 2);
    if (rc < 0)
        td_scope_cancel(&scope);
    joined = td_scope_join(&scope);
    close(pair[0]);
    close(pair[1]);
    if (rc < 0 || joined < 0)
        return rc < 0 ? rc : joined;
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_us(100)));
    rc = td_sleep(td_sec(5));
    joined = td_scope_join(&scope);
    truth(rc == -ECANCELED && joined == -ETIMEDOUT);
    return 0;
}

#define ITEMS 20

static int send_items(void *arg)
{
    td_chan *chan = arg;
    int rc = 0;

    for (int i = 0; i < ITEMS && rc == 0; i++)
        rc = td_chan_send(chan, &i);
    td_chan_close(chan);
    return rc;
}

static int set_event(void *arg)
{
    td_event_set(arg);
    return 0;
}

static int sync_all(void *arg)
{
    td_chan *chan;
    td_event event;
    td_scope scope;
    int got, next = 0, received, joined, rc = td_chan_open(&chan, &(td_chan_opts){.item_size = sizeof(int), .capacity = 3});

    if (rc < 0)
        return rc;
    td_event_init(&event);
    td_scope_open(&scope);
    rc = td_spawn(&scope, send_items, chan);
    if (rc == 0) {
        while ((received = td_chan_receive(chan, &got)) == 0)
            truth(got == next++);
        truth(received == -EPIPE && next == ITEMS);
        rc = td_spawn(&scope, set_event, &event);
    }
    if (rc == 0)
        rc = td_event_wait(&event);
    joined = td_scope_join(&scope);
    td_chan_free(chan);
    return rc < 0 ? rc : joined;
}

/* What the kernel has reserved for us is what we think: each file's header has a page besides. */
static void check_pages(void)
{
    size_t bytes = 0;
    td_shared_stats stats;

    for (int i = 0; i < ARENA_REGIONS; i++) {
        struct stat status;

        truth(fstat(arena_region(arena_current(), i)->fd, &status) == 0);
        bytes += (size_t)status.st_blocks * 512 - (size_t)sysconf(_SC_PAGESIZE);
    }
    td_shared_statistics(&stats);
    truth(stats.reserved_bytes == bytes);
}

/* Blocks of every size, each filled, so that a page that is not there would be found out. The largest comes in pieces. */
static int shared_all(void *arg)
{
    static const size_t sizes[] = {1, 64, 1000, 30000, 40000, 1000, 5 * 1024 * 1024};
    struct arena *arena = arena_current();
    char *blocks[2][sizeof sizes / sizeof *sizes];
    td_shared_stats stats;
    int rc = 0;

    if (!arena)  /* td_run goes on without it */
        return -ENOMEM;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        blocks[0][i] = td_shared_alloc(sizes[i]);
        blocks[1][i] = arena_reserve(arena, i < 6 ? sizes[i] : 70000, 1);
        for (int j = 0; j < 2; j++)
            if (blocks[j][i])
                memset(blocks[j][i], (int)i + 1, sizes[i] < 65536 ? sizes[i] : 65536);
            else
                rc = -ENOMEM;
    }
    check_pages();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        truth(!blocks[0][i] || blocks[0][i][0] == (char)(i + 1));
        td_shared_free(blocks[0][i]);
        if (blocks[1][i] && i % 2)
            arena_take_back(arena, blocks[1][i]);
    }
    (void)arena_reclaim(arena, 1);
    check_pages();
    td_shared_statistics(&stats);
    truth(stats.blocks == 0 && stats.used_bytes == 0 && stats.owned_bytes == 0);
    return rc;
}

/* Jobs for both kinds of pools: they square numbers. */
static int square(void *arg)
{
    int *number = arg;

    *number *= *number;
    return 7;
}

static int square_elsewhere(void *arg)
{
    const int *number = arg;
    int *output = td_job_output(NULL);

    *output = *number * *number;
    return 0;
}

static int offload_all(td_pool *pool, td_fn fn, int *numbers)
{
    int rc = td_offload(pool, fn, &numbers[0]);

    if (rc >= 0) {
        truth(rc == 7 && numbers[0] == 9);
        rc = td_pool_map(pool, fn, numbers + 1, 10, sizeof *numbers);
    }
    for (int i = 1; i <= 10 && rc >= 0; i++)
        truth(numbers[i] == i * i);
    return rc < 0 ? rc : 0;
}

static int use_pool(const td_pool_opts *opts, td_fn fn, int *numbers)
{
    td_pool *pool;
    int rc = td_pool_open(&pool, opts), closed;

    if (rc < 0)
        return rc;
    numbers[0] = 3;
    for (int i = 1; i <= 10; i++)
        numbers[i] = i;
    rc = offload_all(pool, fn, numbers);
    closed = td_pool_close(pool);
    return rc < 0 ? rc : closed;
}

static int use_threads(void *arg)
{
    int numbers[11];

    return use_pool(&(td_pool_opts){.kind = TD_THREADS, .workers = 2}, square, numbers);
}

static int use_shared(const td_pool_opts *opts, td_fn fn)
{
    int *numbers = td_shared_calloc(11, sizeof *numbers), rc;

    if (!numbers)
        return -ENOMEM;
    rc = use_pool(opts, fn, numbers);
    td_shared_free(numbers);
    return rc;
}

static int use_processes(void *arg)
{
    return use_shared(&(td_pool_opts){.kind = TD_PROCESSES, .workers = 2}, square);
}

/* A program that knows two functions; the second squares. */
static int use_command(void *arg)
{
    static const char *const command[] = {COMMAND_WORKER, NULL};

    return use_shared(&(td_pool_opts){.kind = TD_PROCESSES, .workers = 2, .command = command, .memory_max = 1 << 28,
                                      .cpu_max_ns = td_sec(9)}, td_op(2));
}

/* Where they can be neither strict nor limited there are none. */
static int use_strict(void *arg)
{
    td_pool *pool;
    int *number = td_shared_calloc(1, sizeof *number), rc, closed;
    void *output = NULL;

    if (!number)
        return -ENOMEM;
    *number = 6;
    rc = td_pool_open(&pool, &(td_pool_opts){.kind = TD_PROCESSES, .workers = 1, .strict = true, .memory_max = 1 << 28,
                                             .cpu_max_ns = td_sec(9)});
    if (rc == 0) {
        rc = td_offload_with(pool, square_elsewhere, number, &(td_offload_opts){.output_bytes = sizeof(int), .output = &output});
        truth(rc < 0 || (output && *(int *)output == 36));
        closed = td_pool_close(pool);
        rc = rc < 0 ? rc : closed;
    }
    td_shared_free(output);
    td_shared_free(number);
    return rc;
}

const struct scenario scenarios[] = {
    {"run", nothing, .watched = true},
    {"spawn", spawn_many},
    {"wait", wait_all},
    {"sync", sync_all},
    {"shared", shared_all},
    {"threads", use_threads, .slow = true},
    {"processes", use_processes, .slow = true},
    {"strict", use_strict, .slow = true},
    {"command", use_command, .slow = true},
    {NULL},
};
