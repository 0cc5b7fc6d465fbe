/* SPDX-License-Identifier: MIT */
#include "tandem/lookup.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/sim.h"
#include "net/address.h"
#include "net/resolver.h"
#include "tandem/classes.h"
#include "tandem/job.h"
#include "tandem/shared.h"

/* Cuts "host:service" at the last colon; [brackets] around the host are not part of it. */
static int split(struct query *query, const char *place)
{
    const char *colon = strrchr(place, ':'), *host = place, *end = colon;
    size_t length;

    if (!colon || !colon[1] || strlen(colon + 1) >= SERVICE_MAX)
        return -EINVAL;
    if (*host == '[' && end[-1] == ']') {
        host++;
        end--;
    }
    if (end <= host || (length = (size_t)(end - host)) >= HOST_MAX)
        return -EINVAL;
    if (host == place && strcspn(host, "[]:") < length)
        return -EINVAL;  /* an IPv6 address needs its brackets */
    memcpy(query->host, host, length);
    query->host[length] = '\0';
    memcpy(query->service, colon + 1, strlen(colon + 1) + 1);
    query->count = 0;
    return 0;
}

void query_keep(struct query *query, const struct sockaddr *at, socklen_t size)
{
    struct sockaddr_storage address = {0};
    td_address *next = &query->found[query->count];

    if (query->count == TD_LOOKUP_MAX || (at->sa_family != AF_INET && at->sa_family != AF_INET6) || size > sizeof address)
        return;
    memcpy(&address, at, size);
    address_format(&address, size, next->text);
    for (int i = 0; i < query->count; i++)
        if (strcmp(query->found[i].text, next->text) == 0)
            return;  /* /etc/hosts may well say so twice */
    query->count++;
}

static int error_of(int failed)
{
    switch (failed) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return -ENOENT;
    case EAI_SERVICE:
        return -EINVAL;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return errno ? -errno : -EIO;
    default:
        return -EHOSTUNREACH;  /* EAI_AGAIN, EAI_FAIL: whom to ask does not answer, or not in earnest */
    }
}

/* A job of the names class, for the system's resolver. */
static int resolve(void *arg)
{
    struct query *query = arg;
    struct addrinfo wanted = {.ai_family = query->family, .ai_socktype = SOCK_STREAM}, *found;
    int failed = getaddrinfo(query->host, query->service, &wanted, &found);

    if (failed)
        return error_of(failed);
    for (const struct addrinfo *one = found; one; one = one->ai_next)
        query_keep(query, one->ai_addr, one->ai_addrlen);
    freeaddrinfo(found);
    return query->count ? 0 : -ENOENT;
}

/* What the job uses is shared memory, which the pool holds until the job has returned: its caller may go before. */
static int ask_system(struct query *query)
{
    struct query *shared = td_shared_alloc(sizeof *shared);
    int rc;

    if (!shared)
        return -ENOMEM;
    memcpy(shared, query, sizeof *query);
    rc = td_offload(td_pool_of(TD_CLASS_NAMES), resolve, shared);
    if (rc == 0)
        memcpy(query, shared, sizeof *query);
    td_shared_free(shared);
    return rc;
}

/* The simulation's network is in memory, and has no name server. */
static int ask_simulation(struct query *query)
{
    struct sockaddr_storage address;
    char text[HOST_MAX + SERVICE_MAX];
    socklen_t size;
    int rc = td_yield();

    if (rc < 0)
        return rc;
    if (strcmp(query->host, "localhost") != 0 || query->family == AF_INET6)
        return -ENOENT;
    snprintf(text, sizeof text, "127.0.0.1:%s", query->service);
    if (address_parse(text, &address, &size) < 0)
        return -EINVAL;
    query_keep(query, (const struct sockaddr *)&address, size);
    return 0;
}

struct asking {
    struct query *query;
    const td_lookup_opts *opts;
};

static int ask_servers(void *arg)
{
    struct asking *asking = arg;

    return resolver_ask(asking->query, asking->opts);
}

/* By a task of its own: the caller's stack may be a small one, and c-ares reads lines and packets into arrays. */
static int ask(struct query *query, const td_lookup_opts *opts)
{
    struct asking asking = {query, opts};
    td_scope scope;
    int rc, joined;

    td_scope_open(&scope);
    rc = td_spawn_with(&scope, &(td_spawn_opts){.stack_size = RESOLVER_STACK, .name = "td_lookup"}, ask_servers, &asking);
    joined = td_scope_join(&scope);
    return rc < 0 ? rc : joined;
}

/* What is an address already. Returns 1; 0 when it is none. */
static int as_address(const char *place, td_address *found)
{
    struct sockaddr_storage address;
    socklen_t size;
    int rc = address_parse(place, &address, &size);

    if (rc == -EINVAL)
        return 0;
    if (rc == 0)
        address_format(&address, size, found->text);
    return rc < 0 ? rc : 1;
}

static int look_up(struct query *query, const td_lookup_opts *opts, const char *place, td_address *found, size_t max)
{
    struct loop *loop = loop_of(task_self("td_lookup"));
    int rc = split(query, place);

    query->family = opts->family;
    if (rc == 0)
        rc = loop_is_simulated(loop) ? ask_simulation(query) : opts->system ? ask_system(query) : ask(query, opts);
    if (rc < 0)
        return rc;
    rc = max < (size_t)query->count ? (int)max : query->count;
    memcpy(found, query->found, (size_t)rc * sizeof *found);
    return rc;
}

int td_lookup_with(const td_lookup_opts *opts, const char *place, td_address *found, size_t max)
{
    struct query *query;
    int rc;

    if (td_in_job())
        return -EDEADLK;
    rc = task_checkpoint(task_self("td_lookup"));
    if (rc < 0)
        return rc;
    if (max == 0)
        return -EINVAL;
    rc = as_address(place, found);
    if (rc != 0)
        return rc;
    query = malloc(sizeof *query);
    if (!query)
        return -ENOMEM;
    rc = look_up(query, opts ? opts : &(td_lookup_opts){0}, place, found, max);
    free(query);
    return rc;
}

int td_lookup(const char *place, td_address *found, size_t max)
{
    return td_lookup_with(NULL, place, found, max);
}
