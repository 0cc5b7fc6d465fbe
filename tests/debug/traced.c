/* SPDX-License-Identifier: MIT */
/* For test_trace.py: `traced BACKEND FILE LOOPS ROUNDS` runs tasks that compute, sleep and talk, and writes their trace. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem.h"

#define GRINDERS 5

static int rounds;

static int grind(void *arg)
{
    td_time end = td_after(td_ms(3));

    while (td_now() < end)
        ;
    return td_sleep(td_ms(5));
}

static int listen_to(void *arg)
{
    int word, rc;

    while ((rc = td_chan_receive(arg, &word)) == 0)
        ;
    return rc == -EPIPE ? 0 : rc;
}

static int talk(void *arg)
{
    td_chan *chan;
    td_scope scope;
    int rc = td_chan_open(&chan, &(td_chan_opts){.item_size = sizeof(int), .capacity = 1, .name = "the \"phone\""});

    if (rc < 0)
        return rc;
    td_scope_open(&scope);
    td_spawn_at(&scope, listen_to, chan, "ear.c:2");
    for (int i = 0; i < GRINDERS; i++)
        td_spawn_at(&scope, grind, NULL, "mill.c:1");
    for (int i = 0; i < rounds && rc == 0; i++)
        rc = td_chan_send(chan, &i);
    td_chan_close(chan);
    if (rc == 0)
        rc = td_scope_join(&scope);
    td_chan_free(chan);
    return rc;
}

int main(int argc, char **argv)
{
    td_opts opts = {.stall_after = TD_FOREVER};
    int rc;

    if (argc != 5)
        return 2;
    opts.backend = strcmp(argv[1], "uring") == 0 ? TD_BACKEND_URING : TD_BACKEND_EPOLL;
    opts.trace_path = argv[2];
    opts.loops = (unsigned)strtoul(argv[3], NULL, 10);
    rounds = (int)strtol(argv[4], NULL, 10);
    rc = td_run_with(&opts, talk, NULL);
    if (rc == -ENOSYS || rc == -EPERM || rc == -EACCES)
        return 77;
    return rc < 0;
}
