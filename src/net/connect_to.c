/* SPDX-License-Identifier: MIT */
/*
 * Happy Eyeballs, version 2 (RFC 8305). Both families are looked up at once, each by a task; each attempt to connect is a
 * task too. The caller starts them, one after the other, and waits for the first that succeeds: then the scope with all
 * others is cancelled.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "net/address.h"
#include "tandem/error.h"
#include "tandem/lookup.h"
#include "tandem/net.h"
#include "tandem/scope.h"

#define RESOLUTION_DELAY_NS 50000000  /* RFC 8305, 3: how long IPv4's answer waits for IPv6's */
#define ATTEMPT_DELAY_NS 250000000    /* RFC 8305, 5 */

enum { V6, V4, FAMILIES };

struct lookup {
    struct race *race;
    td_lookup_opts opts;
    td_address found[TD_LOOKUP_MAX];
    int count, next;              /* those before `next` were tried */
    int rc;
    bool done;
};

struct attempt {
    struct race *race;
    const char *address;
    int rc;
};

struct race {
    const char *place;
    struct lookup lookups[FAMILIES];
    struct attempt attempts[FAMILIES * TD_LOOKUP_MAX];
    int count, running;
    int turn;                     /* whose family the next attempt is */
    td_time next_at;              /* not before that, unless nothing runs */
    td_scope scope;
    td_event changed;
    td_stream *won;
};

static int look_up(void *arg)
{
    struct lookup *lookup = arg;
    struct race *race = lookup->race;

    lookup->rc = td_lookup_with(&lookup->opts, race->place, lookup->found, TD_LOOKUP_MAX);
    lookup->count = lookup->rc > 0 ? lookup->rc : 0;
    lookup->done = true;
    if (lookup == &race->lookups[V4] && !race->lookups[V6].done)
        race->next_at = td_after(RESOLUTION_DELAY_NS);
    else if (race->count == 0)
        race->next_at = 0;
    td_event_set(&race->changed);
    return 0;
}

static int try(void *arg)
{
    struct attempt *attempt = arg;
    struct race *race = attempt->race;
    td_stream *stream;

    attempt->rc = td_connect(&stream, attempt->address);
    if (attempt->rc == 0 && race->won)
        td_stream_close(stream);
    else if (attempt->rc == 0)
        race->won = stream;
    else
        race->next_at = 0;  /* what has failed need not be waited for */
    race->running--;
    td_event_set(&race->changed);
    return 0;
}

static bool is_left(const struct race *race, int family)
{
    return race->lookups[family].next < race->lookups[family].count;
}

static bool some_left(const struct race *race)
{
    return is_left(race, V6) || is_left(race, V4);
}

static bool is_lost(const struct race *race)
{
    return race->running == 0 && !some_left(race) && race->lookups[V6].done && race->lookups[V4].done;
}

/* Families take turns: RFC 8305, 4, with a First Address Family Count of 1. */
static int start(struct race *race, td_time delay)
{
    int family = is_left(race, race->turn) ? race->turn : FAMILIES - 1 - race->turn, rc;
    struct lookup *lookup = &race->lookups[family];
    struct attempt *attempt = &race->attempts[race->count++];

    *attempt = (struct attempt){race, lookup->found[lookup->next++].text, -EINPROGRESS};
    race->turn = FAMILIES - 1 - family;
    race->next_at = td_after(delay);
    rc = td_spawn(&race->scope, try, attempt);
    if (rc < 0)
        attempt->rc = rc;
    else
        race->running++;
    return rc;
}

static int wait_for_news(struct race *race)
{
    td_case cases[] = {td_on_event(&race->changed), td_on_time(some_left(race) ? race->next_at : TD_FOREVER)};
    size_t which;

    return td_select(cases, 2, &which);
}

static int run(struct race *race, td_time delay)
{
    int rc = 0;

    while (rc == 0 && !race->won && !is_lost(race)) {
        td_event_clear(&race->changed);
        if (some_left(race) && td_now() >= race->next_at)
            rc = start(race, delay);
        else
            rc = wait_for_news(race);
    }
    return rc;
}

/* How much an error says about the other side: who refuses is there. */
static int weight(int rc)
{
    static const int order[] = {-ECONNREFUSED, -ECONNRESET, -EACCES, -EPERM, -ETIMEDOUT, -EHOSTUNREACH, -ENETUNREACH};
    int i = 0;

    while (i < (int)(sizeof order / sizeof *order) && order[i] != rc)
        i++;
    return rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT ? i + 1 : i;  /* this machine has no such addresses at all */
}

static int verdict(const struct race *race)
{
    int rc = race->count > 0 ? race->attempts[0].rc : race->lookups[V6].rc;

    for (int i = 1; i < race->count; i++)
        if (weight(race->attempts[i].rc) < weight(rc))
            rc = race->attempts[i].rc;
    /* Without any attempt: that one family has no address is nothing against what went wrong with the other. */
    return race->count == 0 && rc == -ENOENT ? race->lookups[V4].rc : rc;
}

static void explain(const struct race *race, const td_connect_opts *opts, int rc)
{
    size_t at = 0;
    int n;

    if (!opts->why || opts->why_size == 0)
        return;
    n = race->count > 0 ? snprintf(opts->why, opts->why_size, "cannot connect to %s: ", race->place)
                        : snprintf(opts->why, opts->why_size, "cannot look up %s: %s", race->place, td_strerror(rc));
    for (int i = 0; n >= 0 && (at += (size_t)n) < opts->why_size && i < race->count; i++)
        n = snprintf(opts->why + at, opts->why_size - at, "%s%s: %s", i > 0 ? "; " : "", race->attempts[i].address,
                     td_strerror(race->attempts[i].rc));
}

static int connect_by_name(struct race *race, td_stream **stream, const td_connect_opts *opts)
{
    int rc = 0;

    td_event_init(&race->changed);
    td_scope_open(&race->scope);
    for (int i = 0; i < FAMILIES && rc == 0; i++) {
        struct lookup *lookup = &race->lookups[i];

        lookup->race = race;
        if (opts->lookup)
            lookup->opts = *opts->lookup;
        lookup->opts.family = i == V6 ? AF_INET6 : AF_INET;
        rc = td_spawn(&race->scope, look_up, lookup);
    }
    if (rc == 0)
        rc = run(race, opts->attempt_delay > 0 ? opts->attempt_delay : ATTEMPT_DELAY_NS);
    td_scope_cancel(&race->scope);
    td_scope_join(&race->scope);
    if (race->won) {
        *stream = race->won;
        return 0;
    }
    if (rc == 0)
        rc = verdict(race);
    explain(race, opts, rc);
    return rc;
}

int td_connect_to(td_stream **stream, const char *place, const td_connect_opts *opts)
{
    static const td_connect_opts none;
    struct sockaddr_storage address;
    struct race *race;
    socklen_t size;
    int rc = task_checkpoint(task_self(__func__));

    opts = opts ? opts : &none;
    if (opts->why && opts->why_size > 0)
        opts->why[0] = '\0';
    if (rc < 0)
        return rc;
    race = calloc(1, sizeof *race);
    if (!race)
        return -ENOMEM;
    race->place = place;
    rc = address_parse(place, &address, &size);
    if (rc == 0) {
        rc = td_connect(stream, place);
        race->attempts[race->count++] = (struct attempt){race, place, rc};
        if (rc < 0)
            explain(race, opts, rc);
    } else if (rc == -EINVAL) {
        rc = connect_by_name(race, stream, opts);
    }
    free(race);
    return rc;
}
