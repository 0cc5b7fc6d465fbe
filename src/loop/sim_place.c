/* SPDX-License-Identifier: MIT */
/* Places of the simulated network: hosts, ports, and the ways between them that are cut. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "loop/sim.h"

/* A path has no port that would have to be chosen. */
in_port_t sim_port(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_UNIX)
        return htons(1);
    return address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                          : ((const struct sockaddr_in *)address)->sin_port;
}

void sim_set_port(struct sockaddr_storage *address, in_port_t port)
{
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = port;
    else if (address->ss_family == AF_INET)
        ((struct sockaddr_in *)address)->sin_port = port;
}

bool sim_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)a, *b6 = (const struct sockaddr_in6 *)b;

    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_UNIX)
        return memcmp(a, b, sizeof(struct sockaddr_un)) == 0;
    if (a->ss_family == AF_INET6)
        return memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof a6->sin6_addr) == 0;
    return ((const struct sockaddr_in *)a)->sin_addr.s_addr == ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

bool sim_is_any(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)address)->sin6_addr);
    return address->ss_family == AF_INET && ((const struct sockaddr_in *)address)->sin_addr.s_addr == INADDR_ANY;
}

static bool matches(const struct sim_place *place, const struct sockaddr_storage *address)
{
    return place->any || (sim_same_host(&place->address, address) &&
                          (!place->has_port || sim_port(&place->address) == sim_port(address)));
}

bool sim_is_cut(const struct backend *sim, const struct sim_socket *socket)
{
    for (unsigned i = 0; i < sim->cut_count; i++) {
        const struct sim_cut *cut = &sim->cuts[i];

        if ((matches(&cut->a, &socket->local) && matches(&cut->b, &socket->remote)) ||
            (matches(&cut->b, &socket->local) && matches(&cut->a, &socket->remote)))
            return true;
    }
    return false;
}

static int parse_host(const char *text, struct sockaddr_storage *address)
{
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, text, &((struct sockaddr_in *)address)->sin_addr) == 1)
        address->ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)address)->sin6_addr) == 1)
        address->ss_family = AF_INET6;
    else
        return -EINVAL;
    return 0;
}

/* "10.0.0.1", "10.0.0.1:80", "::1", "[::1]:80" */
static int parse_place(const char *text, struct sim_place *place)
{
    char host[INET6_ADDRSTRLEN + 2], *end;
    const char *colon;
    unsigned long port;
    size_t length;

    memset(place, 0, sizeof *place);
    place->any = text == NULL;
    if (!text || parse_host(text, &place->address) == 0)
        return 0;
    colon = strrchr(text, ':');
    length = colon ? (size_t)(colon - text) : 0;
    if (length < 2 || length >= sizeof host)
        return -EINVAL;
    port = strtoul(colon + 1, &end, 10);
    if (*end || end == colon + 1 || port == 0 || port > 65535)
        return -EINVAL;
    if (text[0] == '[' && text[length - 1] == ']') {
        text++;
        length -= 2;
    }
    memcpy(host, text, length);
    host[length] = '\0';
    if (parse_host(host, &place->address) < 0)
        return -EINVAL;
    place->has_port = true;
    sim_set_port(&place->address, htons((uint16_t)port));
    return 0;
}

int td_sim_partition(const char *a, const char *b, bool cut)
{
    struct backend *sim = sim_current();
    struct sim_cut wanted;

    if (!sim)
        return -ENOSYS;
    if (parse_place(a, &wanted.a) < 0 || parse_place(b, &wanted.b) < 0)
        return -EINVAL;
    for (unsigned i = 0; i < sim->cut_count; i++) {
        if (memcmp(&sim->cuts[i], &wanted, sizeof wanted) != 0)
            continue;
        if (!cut)
            sim->cuts[i] = sim->cuts[--sim->cut_count];
        sim_net_mended(sim);
        return 0;
    }
    if (!cut || sim->cut_count == SIM_CUTS)
        return cut ? -ENOSPC : -ENOENT;
    sim->cuts[sim->cut_count++] = wanted;
    sim_note(sim, "cut", sim->cut_count, 0);
    return 0;
}

int td_sim_host(const char *host)
{
    struct backend *sim = sim_current();

    if (!sim)
        return -ENOSYS;
    return parse_host(host, &sim->host);
}
