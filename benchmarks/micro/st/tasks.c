/* SPDX-License-Identifier: MIT */
/*
 * tasks switch|spawn|channel COUNT [TASKS]: the same on State Threads. It has neither a yield (a sleep of zero goes
 * through its timers and a system call) nor channels: tasks hand on to each other with condition variables, the fastest
 * it offers, and the channel is a slot with two of them.
 */
#include <st.h>

#include "../measure.h"

#define STACK 65536

struct slot {
    st_cond_t changed;
    int value, full;
};

struct turn {
    st_cond_t mine, *next;
    long rounds;
};

static struct slot there, back;

static void *yielder(void *arg)
{
    struct turn *turn = arg;

    for (long i = 0; i < turn->rounds; i++) {
        st_cond_wait(turn->mine);
        st_cond_signal(*turn->next);
    }
    return NULL;
}

static void measure_switch(long count, long tasks)
{
    struct turn *turns = calloc((size_t)tasks, sizeof *turns);
    st_thread_t *threads = calloc((size_t)tasks, sizeof(st_thread_t));

    if (!turns || !threads)
        exit(1);
    for (long i = 0; i < tasks; i++)
        turns[i] = (struct turn){st_cond_new(), &turns[(i + 1) % tasks].mine, count / tasks};
    for (long i = 0; i < tasks; i++)
        threads[i] = st_thread_create(yielder, &turns[i], 1, STACK);
    st_usleep(0);  /* now all wait */
    st_cond_signal(turns[0].mine);
    for (long i = 0; i < tasks; i++)
        st_thread_join(threads[i], NULL);
    free(threads);
    free(turns);
}

static void *nothing(void *arg)
{
    return arg;
}

static void measure_spawn(long count, long tasks)
{
    (void)tasks;
    for (long i = 0; i < count; i++)
        st_thread_join(st_thread_create(nothing, NULL, 1, STACK), NULL);
}

static void send_to(struct slot *slot, int value)
{
    while (slot->full)
        st_cond_wait(slot->changed);
    slot->value = value;
    slot->full = 1;
    st_cond_signal(slot->changed);
}

static int receive_from(struct slot *slot)
{
    while (!slot->full)
        st_cond_wait(slot->changed);
    slot->full = 0;
    st_cond_signal(slot->changed);
    return slot->value;
}

static void *answer(void *arg)
{
    for (;;)
        send_to(&back, receive_from(&there));
    return arg;
}

static void measure_channel(long count, long tasks)
{
    (void)tasks;
    there = back = (struct slot){0};
    there.changed = st_cond_new();
    back.changed = st_cond_new();
    st_thread_create(answer, NULL, 0, STACK);
    for (long i = 0; i < count; i++) {
        send_to(&there, (int)i);
        receive_from(&back);
    }
}

int main(int argc, char **argv)
{
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0, tasks = argc > 3 ? strtol(argv[3], NULL, 10) : 2;
    void (*run)(long, long);
    struct stopwatch watch;

    if (count < 1 || st_set_eventsys(ST_EVENTSYS_ALT) < 0 || st_init() < 0)
        return 1;
    run = strcmp(argv[1], "switch") == 0 ? measure_switch : strcmp(argv[1], "spawn") == 0 ? measure_spawn : measure_channel;
    run(count / 10, tasks);
    watch = start_watch();
    run(count, tasks);
    print_each(watch, count);
    return 0;
}
