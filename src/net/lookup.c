/* SPDX-License-Identifier: MIT */
/*
 * Lookups are jobs of the names class. What a job reads and writes is one block of shared memory, so that its caller can go
 * when its time is over, and the resolver does not notice: the pool holds the block until it has returned.
 */
#include "tandem/lookup.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "loop/sim.h"
#include "net/address.h"
#include "tandem/classes.h"
#include "tandem/job.h"
#include "tandem/shared.h"

#define HOST_MAX 256     /* bytes of a name, the final zero included: RFC 1035, 2.3.4 */
#define SERVICE_MAX 64

struct query {
    char host[HOST_MAX], service[SERVICE_MAX];
    int count;
    td_address found[TD_LOOKUP_MAX];
};

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

static void keep(struct query *query, const struct sockaddr *at, socklen_t size)
{
    struct sockaddr_storage address = {0};
    td_address *next = &query->found[query->count];

    if ((at->sa_family != AF_INET && at->sa_family != AF_INET6) || size > sizeof address)
        return;
    memcpy(&address, at, size);
    address_format(&address, size, next->text);
    for (int i = 0; i < query->count; i++)
        if (strcmp(query->found[i].text, next->text) == 0)
            return;  /* /etc/hosts may well say so twice */
    query->count++;
}

/* The job. */
static int resolve(void *arg)
{
    static const struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct query *query = arg;
    struct addrinfo *found;
    int failed = getaddrinfo(query->host, query->service, &wanted, &found);

    if (failed)
        return error_of(failed);
    for (const struct addrinfo *one = found; one && query->count < TD_LOOKUP_MAX; one = one->ai_next)
        keep(query, one->ai_addr, one->ai_addrlen);
    freeaddrinfo(found);
    return query->count ? 0 : -ENOENT;
}

/* The simulation's network is in memory, and has no name server. */
static int resolve_simulated(struct query *query)
{
    struct sockaddr_storage address;
    char text[HOST_MAX + SERVICE_MAX];
    socklen_t size;

    if (strcmp(query->host, "localhost") != 0)
        return -ENOENT;
    snprintf(text, sizeof text, "127.0.0.1:%s", query->service);
    if (address_parse(text, &address, &size) < 0)
        return -EINVAL;
    keep(query, (const struct sockaddr *)&address, size);
    return 0;
}

static int ask(struct query *query, struct loop *loop)
{
    int rc = loop_is_simulated(loop) ? td_yield() : td_offload(td_pool_of(TD_CLASS_NAMES), resolve, query);

    return rc == 0 && loop_is_simulated(loop) ? resolve_simulated(query) : rc;
}

/* What is an address already. */
static int as_address(const char *place, td_address *found)
{
    struct sockaddr_storage address;
    socklen_t size;

    if (address_parse(place, &address, &size) < 0)
        return -EINVAL;
    address_format(&address, size, found->text);
    return 1;
}

int td_lookup(const char *place, td_address *found, size_t max)
{
    struct td_task *self;
    struct query *query;
    int rc;

    if (td_in_job())
        return -EDEADLK;
    self = task_self(__func__);
    rc = task_checkpoint(self);
    if (rc < 0)
        return rc;
    if (max == 0)
        return -EINVAL;
    if (as_address(place, found) == 1)
        return 1;
    query = td_shared_alloc(sizeof *query);
    if (!query)
        return -ENOMEM;
    rc = split(query, place);
    if (rc == 0)
        rc = ask(query, loop_of(self));
    if (rc == 0) {
        rc = max < (size_t)query->count ? (int)max : query->count;
        memcpy(found, query->found, (size_t)rc * sizeof *found);
    }
    td_shared_free(query);
    return rc;
}
