/* SPDX-License-Identifier: MIT */
#include "tandem/gather.h"

#include <errno.h>

#include "task/task.h"

/* Spawns fn(arg) for each call; on an error cancels those before. */
static int spawn_all(td_scope *scope, td_call *calls, size_t count, const char *site)
{
    int rc = task_verdict(task_self("td_gather"));  /* nothing begins for a caller that is cancelled */

    for (size_t i = 0; i < count; i++)
        calls[i].rc = -ECANCELED;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = td_spawn_with_at(scope, &(td_spawn_opts){.result = &calls[i].rc}, calls[i].fn, calls[i].arg, site);
    if (rc < 0)
        td_scope_cancel(scope);
    return rc;
}

static int gather(td_call *calls, size_t count, bool all, const char *site)
{
    td_scope scope;
    int spawned, joined;

    td_scope_open(&scope);
    if (all)
        td_scope_collect(&scope);
    spawned = spawn_all(&scope, calls, count, site);
    joined = td_scope_join(&scope);
    return spawned < 0 ? spawned : joined;
}

int td_gather_at(td_call *calls, size_t count, const char *site)
{
    return gather(calls, count, false, site);
}

int td_gather_all_at(td_call *calls, size_t count, const char *site)
{
    return gather(calls, count, true, site);
}

struct race {
    td_scope scope;
    td_call *winner;
    int last_error;
};

/* A task of the race: its home scope leads to the race. */
static int run(void *arg)
{
    struct race *race = container_of(task_self("td_race")->home, struct race, scope);
    td_call *call = arg;

    call->rc = call->fn(call->arg);
    if (race->winner)
        return 0;
    if (call->rc < 0) {
        race->last_error = call->rc;
        return 0;
    }
    race->winner = call;
    td_scope_cancel(&race->scope);
    return 0;
}

int td_race_at(td_call *calls, size_t count, size_t *winner, const char *site)
{
    struct race race = {.last_error = -EINVAL};
    int rc = task_verdict(task_self("td_race")), joined;

    td_scope_open(&race.scope);
    for (size_t i = 0; i < count; i++)
        calls[i].rc = -ECANCELED;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = calls[i].fn ? td_spawn_at(&race.scope, run, &calls[i], site) : -EINVAL;
    if (rc < 0)
        td_scope_cancel(&race.scope);
    joined = td_scope_join(&race.scope);
    if (rc < 0)
        return rc;
    if (!race.winner)
        return joined < 0 ? joined : race.last_error;
    if (winner)
        *winner = (size_t)(race.winner - calls);
    return race.winner->rc;
}
