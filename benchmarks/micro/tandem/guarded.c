/* SPDX-License-Identifier: MIT */
/*
 * guarded stacks MAX: how many tasks, each on a guarded stack of its own, there can be before one is refused.
 */
#include <tandem.h>

#include "../measure.h"

struct crowd {
    long max, spawned, ran;
};

static int wait_for_the_end(void *arg)
{
    ((struct crowd *)arg)->ran++;  /* it has used its stack */
    return td_sleep(td_sec(3600));
}

static int fill(void *arg)
{
    struct crowd *crowd = arg;
    td_scope scope;

    td_scope_open(&scope);
    while (crowd->spawned < crowd->max && td_spawn(&scope, wait_for_the_end, crowd) == 0)
        crowd->spawned++;
    while (crowd->ran < crowd->spawned)
        td_sleep(td_ms(10));
    printf("stacks %ld\n", crowd->ran);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    return 0;
}

int main(int argc, char **argv)
{
    struct crowd crowd = {.max = argc > 2 ? strtol(argv[2], NULL, 10) : 0};

    return crowd.max < 1 || td_run_with(&(td_opts){.stall_after = TD_FOREVER}, fill, &crowd) < 0;
}
