/* SPDX-License-Identifier: MIT */
/*
 * What a task costs: prints "name value" lines for one run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <tandem.h>

#define SWITCHES 2000000
#define SPAWNS 1000000
#define MESSAGES 1000000
#define SLEEPERS 100000

static double cpu_ns(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return ((double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec) * 1e9 +
           ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) * 1e3;
}

static int yielder(void *arg)
{
    (void)arg;
    for (int i = 0; i < SWITCHES / 2; i++)
        td_yield();
    return 0;
}

static void measure_switch(void)
{
    td_time began = td_now();
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, yielder, NULL);
    td_spawn(&scope, yielder, NULL);
    td_scope_join(&scope);
    printf("switch_ns %.2f\n", (double)(td_now() - began) / SWITCHES);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void measure_spawn(void)
{
    td_time began = td_now();

    for (int i = 0; i < SPAWNS; i++) {
        td_scope scope;

        td_scope_open(&scope);
        td_spawn(&scope, nothing, NULL);
        td_scope_join(&scope);
    }
    printf("spawn_join_ns %.2f\n", (double)(td_now() - began) / SPAWNS);
}

struct pair {
    td_chan *there, *back;
};

static int answer(void *arg)
{
    struct pair *pair = arg;
    int value;

    while (td_chan_receive(pair->there, &value) == 0)
        td_chan_send(pair->back, &value);
    return 0;
}

static void measure_channel(void)
{
    td_chan_opts opts = {.item_size = sizeof(int), .capacity = 1};
    struct pair pair;
    td_scope scope;
    td_time began;

    if (td_chan_open(&pair.there, &opts) < 0 || td_chan_open(&pair.back, &opts) < 0)
        exit(1);
    td_scope_open(&scope);
    td_spawn(&scope, answer, &pair);
    began = td_now();
    for (int i = 0; i < MESSAGES; i++) {
        td_chan_send(pair.there, &i);
        td_chan_receive(pair.back, &i);
    }
    printf("channel_round_trip_ns %.2f\n", (double)(td_now() - began) / MESSAGES);
    td_chan_close(pair.there);
    td_scope_join(&scope);
    td_chan_free(pair.there);
    td_chan_free(pair.back);
}

static td_time late[SLEEPERS];

static int sleeper(void *arg)
{
    td_time *slot = arg, until = td_after(td_ms(1000 + (slot - late) % 1000));

    td_sleep(until - td_now());
    *slot = td_now() - until;
    return 0;
}

static int by_size(const void *a, const void *b)
{
    td_time x = *(const td_time *)a, y = *(const td_time *)b;

    return (x > y) - (x < y);
}

static void measure_sleepers(void)
{
    double began = cpu_ns();
    td_scope scope;

    td_scope_open(&scope);
    for (int i = 0; i < SLEEPERS; i++)
        if (td_spawn(&scope, sleeper, &late[i]) < 0)
            exit(1);
    td_scope_join(&scope);
    printf("sleepers_cpu_ms %.1f\n", (cpu_ns() - began) / 1e6);
    qsort(late, SLEEPERS, sizeof *late, by_size);
    printf("sleepers_late_p99_ms %.3f\n", (double)late[SLEEPERS * 99 / 100] / 1e6);
}

static int all(void *arg)
{
    (void)arg;
    measure_switch();
    measure_spawn();
    measure_channel();
    measure_sleepers();
    return 0;
}

int main(void)
{
    return td_run_with(&(td_opts){.stall_after = TD_FOREVER}, all, NULL) < 0;
}
