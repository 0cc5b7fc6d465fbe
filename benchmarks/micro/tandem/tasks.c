/* SPDX-License-Identifier: MIT */
/*
 * tasks switch|spawn|channel COUNT [TASKS]: what a task costs that never waits for time or I/O.
 */
#include <tandem.h>

#include "../measure.h"

struct work {
    const char *measure;
    long count, tasks;
    td_chan *there, *back;
};

static int yielder(void *arg)
{
    struct work *work = arg;

    for (long i = 0; i < work->count / work->tasks; i++)
        td_yield();
    return 0;
}

static void measure_switch(struct work *work)
{
    td_scope scope;

    td_scope_open(&scope);
    for (long i = 0; i < work->tasks; i++)
        if (td_spawn(&scope, yielder, work) < 0)
            exit(1);
    td_scope_join(&scope);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void measure_spawn(struct work *work)
{
    for (long i = 0; i < work->count; i++) {
        td_scope scope;

        td_scope_open(&scope);
        td_spawn(&scope, nothing, NULL);
        td_scope_join(&scope);
    }
}

static int answer(void *arg)
{
    struct work *work = arg;
    int value;

    while (td_chan_receive(work->there, &value) == 0)
        td_chan_send(work->back, &value);
    return 0;
}

static void measure_channel(struct work *work)
{
    td_chan_opts opts = {.item_size = sizeof(int), .capacity = 1};
    td_scope scope;
    int value = 0;

    if (td_chan_open(&work->there, &opts) < 0 || td_chan_open(&work->back, &opts) < 0)
        exit(1);
    td_scope_open(&scope);
    td_spawn(&scope, answer, work);
    for (long i = 0; i < work->count; i++) {
        td_chan_send(work->there, &value);
        td_chan_receive(work->back, &value);
    }
    td_chan_close(work->there);
    td_scope_join(&scope);
    td_chan_free(work->there);
    td_chan_free(work->back);
}

static int all(void *arg)
{
    struct work *work = arg, warm = {.count = work->count / 10, .tasks = work->tasks};
    void (*run)(struct work *) = strcmp(work->measure, "switch") == 0 ? measure_switch :
                                 strcmp(work->measure, "spawn") == 0 ? measure_spawn : measure_channel;
    struct stopwatch watch;

    run(&warm);
    watch = start_watch();
    run(work);
    print_each(watch, work->count);
    return 0;
}

int main(int argc, char **argv)
{
    struct work work = {.measure = argc > 2 ? argv[1] : "", .tasks = argc > 3 ? strtol(argv[3], NULL, 10) : 2};

    work.count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    return work.count < 1 || td_run(all, &work) < 0;
}
