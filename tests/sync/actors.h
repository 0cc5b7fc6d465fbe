/* SPDX-License-Identifier: MIT */
/*
 * Tasks that each do one thing, and can each be cancelled: what the tests of this room play with.
 */
#ifndef TANDEM_TESTS_SYNC_ACTORS_H
#define TANDEM_TESTS_SYNC_ACTORS_H

#include "run/harness.h"

struct actor {
    int (*act)(struct actor *self);
    void *on;         /* what it acts on */
    long item;        /* what it sends, or got */
    int rc;
    bool started, done;
    int *count, rank; /* if `count` is set, it was the rank-th to be done, from 0 */
    td_scope scope;
};

UNUSED static int actor_run(void *arg)
{
    struct actor *self = arg;

    td_scope_open(&self->scope);
    self->started = true;
    self->rc = self->act(self);
    (void)td_scope_join(&self->scope);
    self->done = true;
    if (self->count)
        self->rank = (*self->count)++;
    return 0;
}

/* Starts it; it has acted, or waits, when all have settled. */
UNUSED static struct actor *actor_start(td_scope *scope, struct actor *actor)
{
    actor->started = actor->done = false;
    expect_int(td_spawn(scope, actor_run, actor), 0);
    return actor;
}

UNUSED static bool actor_waits(const struct actor *actor)
{
    return actor->started && !actor->done;
}

UNUSED static void actor_cancel(struct actor *actor)
{
    expect(actor_waits(actor));
    td_scope_cancel(&actor->scope);
}

/* Lets it end, which it must be able to. */
UNUSED static int actor_result(struct actor *actor)
{
    settle();
    expect(actor->done);
    return actor->done ? actor->rc : -1000;
}

#endif
