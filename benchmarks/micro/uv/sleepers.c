/* SPDX-License-Identifier: MIT */
/*
 * sleepers fire COUNT LEAD_MS | hold COUNT: the same waits on libuv. It has no tasks: a timer and a callback each, and
 * what the callback needs is in the program's own struct.
 */
#include <uv.h>

#include "../measure.h"

struct sleeper {
    uv_timer_t timer;
    double due;
};

static void fired(uv_timer_t *timer)
{
    struct sleeper *sleeper = timer->data;

    sleeper->due = now_ns() - sleeper->due;
    uv_close((uv_handle_t *)timer, NULL);
}

static void start(uv_loop_t *loop, struct sleeper *sleeper, double due)
{
    sleeper->due = due;
    sleeper->timer.data = sleeper;
    if (uv_timer_init(loop, &sleeper->timer) < 0)
        exit(1);
    /* Its unit is the millisecond, on the same clock: the first one that is not too early. */
    uv_timer_start(&sleeper->timer, fired, (uint64_t)(due / 1e6) + 1 - uv_now(loop), 0);
}

int main(int argc, char **argv)
{
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    double before = resident_bytes(), lead_ns = argc > 3 ? strtod(argv[3], NULL) * 1e6 : 3.6e12, last_start, *late;
    uv_loop_t *loop = uv_default_loop();
    struct stopwatch watch = start_watch();
    struct sleeper *sleepers;

    if (count < 1 || !(sleepers = malloc((size_t)count * sizeof *sleepers)) || !(late = malloc((size_t)count * sizeof *late)))
        return 1;
    for (long i = 0; i < count; i++)
        start(loop, &sleepers[i], watch.wall + lead_ns + due_ns(i, count));
    last_start = now_ns();
    if (strcmp(argv[1], "hold") == 0) {
        print_resident(watch, before, count);
        return 0;
    }
    uv_run(loop, UV_RUN_DEFAULT);
    for (long i = 0; i < count; i++)
        late[i] = sleepers[i].due;
    print_sleepers(watch, late, count, last_start);
    return 0;
}
