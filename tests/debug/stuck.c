/* SPDX-License-Identifier: MIT */
/* For test_gdb.py: a few tasks that wait, until the end of standard input. The argument is the backend. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tandem.h"

static int knead(void *arg)
{
    int rc = td_chan_receive(arg, &(int){0});

    printf("kneaded\n");
    return rc;
}

static int bake(void *arg)
{
    td_scope scope;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_sec(1000)));
    td_spawn_at(&scope, knead, arg, "dough.c:2");
    return td_scope_join(&scope);
}

static int bakery(void *arg)
{
    td_chan *flour;
    td_scope scope;
    int rc;

    rc = td_chan_open(&flour, &(td_chan_opts){.item_size = sizeof(int), .capacity = 1, .name = "flour"});
    if (rc < 0)
        return rc;
    td_scope_open(&scope);
    td_spawn_at(&scope, bake, flour, "oven.c:1");
    td_yield();
    td_yield();
    printf("ready\n");
    fflush(stdout);
    td_wait_readable(0);
    td_scope_cancel(&scope);
    rc = td_scope_join(&scope);
    td_chan_free(flour);
    return rc == -ECANCELED ? 0 : rc;
}

int main(int argc, char **argv)
{
    td_opts opts = {.backend = argc > 1 && strcmp(argv[1], "uring") == 0 ? TD_BACKEND_URING : TD_BACKEND_EPOLL,
                    .shared_bytes_max = 1 << 20};  /* a core file has all of it */

    return td_run_with(&opts, bakery, NULL) < 0;
}
