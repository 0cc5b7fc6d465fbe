/* SPDX-License-Identifier: MIT */
/*
 * sleepers fire COUNT LEAD_MS: that many tasks sleep until their time, the first LEAD_MS after the start.
 * sleepers hold COUNT: the memory of that many tasks that sleep.
 */
#include <tandem.h>

#include "../measure.h"

struct crowd {
    long count, started;
    double lead_ns, last_start;
};

struct sleeper {
    struct crowd *crowd;
    double *due;  /* when to wake up; then how late it was */
};

static int fire(void *arg)
{
    struct sleeper *me = arg;

    me->crowd->last_start = now_ns();
    td_sleep((td_time)*me->due - td_now());
    *me->due = now_ns() - *me->due;
    return 0;
}

static int measure_fire(void *arg)
{
    struct crowd *crowd = arg;
    struct stopwatch watch = start_watch();
    double *due = malloc((size_t)crowd->count * sizeof *due);
    struct sleeper *sleepers = malloc((size_t)crowd->count * sizeof *sleepers);
    td_scope scope;

    if (!due || !sleepers)
        exit(1);
    td_scope_open(&scope);
    for (long i = 0; i < crowd->count; i++) {
        due[i] = watch.wall + crowd->lead_ns + due_ns(i, crowd->count);
        sleepers[i] = (struct sleeper){crowd, &due[i]};
        if (td_spawn(&scope, fire, &sleepers[i]) < 0)
            exit(1);
    }
    td_scope_join(&scope);
    print_sleepers(watch, due, crowd->count, crowd->last_start);
    free(sleepers);
    free(due);
    return 0;
}

static int hold(void *arg)
{
    ((struct crowd *)arg)->started++;
    return td_sleep(td_sec(3600));
}

static int measure_hold(void *arg)
{
    struct crowd *crowd = arg;
    double before = resident_bytes();
    struct stopwatch watch = start_watch();
    td_scope scope;

    td_scope_open(&scope);
    for (long i = 0; i < crowd->count; i++)
        if (td_spawn(&scope, hold, crowd) < 0)
            exit(1);
    while (crowd->started < crowd->count)
        td_sleep(td_ms(10));
    print_resident(watch, before, crowd->count);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    return 0;
}

int main(int argc, char **argv)
{
    struct crowd crowd = {.count = argc > 2 ? strtol(argv[2], NULL, 10) : 0};

    crowd.lead_ns = argc > 3 ? strtod(argv[3], NULL) * 1e6 : 0;
    /* No watchdog: to spawn them all at one go holds the loop, and is meant. */
    return crowd.count < 1 || td_run_with(&(td_opts){.stall_after = TD_FOREVER},
                                          strcmp(argv[1], "fire") == 0 ? measure_fire : measure_hold, &crowd) < 0;
}
