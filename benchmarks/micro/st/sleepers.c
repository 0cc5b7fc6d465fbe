/* SPDX-License-Identifier: MIT */
/* sleepers fire COUNT LEAD_MS | hold COUNT: the same on State Threads. */
#include <st.h>

#include "../measure.h"

#define STACK 65536

static double last_start;
static long started, woken;

static void *fire(void *arg)
{
    double *due = arg;

    last_start = now_ns();
    st_usleep((st_utime_t)(*due / 1e3) + 1 - st_utime_last_clock());  /* it counts from the time it looked at last */
    *due = now_ns() - *due;
    woken++;
    return NULL;
}

static int measure_fire(long count, double lead_ns)
{
    struct stopwatch watch = start_watch();
    double *due = malloc((size_t)count * sizeof *due);

    if (!due)
        return 1;
    for (long i = 0; i < count; i++) {
        due[i] = watch.wall + lead_ns + due_ns(i, count);
        if (!st_thread_create(fire, &due[i], 0, STACK))
            return 1;
    }
    while (woken < count)
        st_usleep(10000);
    print_sleepers(watch, due, count, last_start);
    return 0;
}

static void *hold(void *arg)
{
    started++;
    st_sleep(3600);
    return arg;
}

static int measure_hold(long count)
{
    double before = resident_bytes();
    struct stopwatch watch = start_watch();

    for (long i = 0; i < count; i++)
        if (!st_thread_create(hold, NULL, 0, STACK))
            return 1;
    while (started < count)
        st_usleep(10000);
    print_resident(watch, before, count);
    return 0;
}

static st_utime_t now_us(void)
{
    return (st_utime_t)(now_ns() / 1e3);
}

int main(int argc, char **argv)
{
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;

    if (count < 1 || st_set_utime_function(now_us) < 0 || st_set_eventsys(ST_EVENTSYS_ALT) < 0 || st_init() < 0)
        return 1;
    return strcmp(argv[1], "fire") == 0 ? measure_fire(count, argc > 3 ? strtod(argv[3], NULL) * 1e6 : 0) : measure_hold(count);
}
