/* SPDX-License-Identifier: MIT */
/*
 * One lookup of a name, by c-ares: what is asked, and what was found.
 */
#ifndef TANDEM_NET_RESOLVER_H
#define TANDEM_NET_RESOLVER_H

#include <sys/socket.h>

#include "tandem/lookup.h"

#define HOST_MAX 256     /* bytes of a name, the final zero included: RFC 1035, 2.3.4 */
#define SERVICE_MAX 64

struct query {
    char host[HOST_MAX], service[SERVICE_MAX];
    int family;          /* AF_UNSPEC, AF_INET, AF_INET6 */
    int count;
    td_address found[TD_LOOKUP_MAX];
};

/* Adds an address, if it is one of a kind that we know and not there yet. */
void query_keep(struct query *query, const struct sockaddr *at, socklen_t size);

/*
 * Resolves it. For a task with a stack of RESOLVER_STACK. Checkpoint: yes; a cancellation ends it at once. Returns as td_lookup,
 * or 0.
 */
#define RESOLVER_STACK (64 * 1024)
int resolver_ask(struct query *query, const td_lookup_opts *opts);

#endif
