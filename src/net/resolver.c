/* SPDX-License-Identifier: MIT */
/*
 * A lookup has a c-ares channel of its own: it sees the machine's configuration as it is now, asks from ports that nobody can
 * have learnt from another lookup, and ends without a trace when its task is cancelled. Reading the configuration is for a
 * thread, since files may be on a disk; from then on the loop waits for the channel's sockets.
 */
#include "net/resolver.h"

#include <ares.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "loop/loop.h"
#include "tandem/select.h"

#define ALL_NS 30000000000     /* however many servers and tries the configuration has */
#define CASES_MAX (2 * ARES_GETSOCK_MAXNUM + 1)
#define POLL_AGAIN_NS 1000000000  /* should c-ares wait for neither a socket nor a time */

struct resolution {
    struct query *query;
    const td_lookup_opts *opts;
    ares_channel channel;
    struct io_call call;
    bool begun, done;
    int status;
    td_case cases[CASES_MAX];
    struct watch { int fd; bool writes; } watches[CASES_MAX];
};

static int error_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
    case ARES_ENONAME:
        return -ENOENT;
    case ARES_ESERVICE:
    case ARES_EBADNAME:
    case ARES_EBADSTR:
        return -EINVAL;
    case ARES_ENOMEM:
        return -ENOMEM;
    default:
        return -EHOSTUNREACH;  /* whom to ask does not answer, or not in earnest */
    }
}

static void finished(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
    struct resolution *resolution = arg;

    (void)timeouts;
    resolution->done = true;
    resolution->status = status;
    if (!found)
        return;
    for (const struct ares_addrinfo_node *one = found->nodes; one; one = one->ai_next)
        query_keep(resolution->query, one->ai_addr, one->ai_addrlen);
    ares_freeaddrinfo(found);
}

static int open_channel(struct resolution *resolution)
{
    const td_lookup_opts *opts = resolution->opts;
    struct ares_options wanted = {.tries = opts->tries, .timeout = (int)((opts->timeout + 999999) / 1000000)};
    int mask = (opts->tries > 0 ? ARES_OPT_TRIES : 0) | (opts->timeout > 0 ? ARES_OPT_TIMEOUTMS : 0);
    int status = ares_init_options(&resolution->channel, &wanted, mask);

    if (status == ARES_SUCCESS && opts->servers) {
        status = ares_set_servers_ports_csv(resolution->channel, opts->servers);
        if (status != ARES_SUCCESS)
            ares_destroy(resolution->channel);
    }
    return status;
}

/* In a thread: reads resolv.conf, hosts, services and so on, and sends what is to be sent first. */
static int begin(struct io_call *call)
{
    struct resolution *resolution = container_of(call, struct resolution, call);
    struct ares_addrinfo_hints hints = {.ai_family = resolution->query->family, .ai_socktype = SOCK_STREAM};
    int status = open_channel(resolution);

    if (status != ARES_SUCCESS)
        return status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
    resolution->begun = true;
    ares_getaddrinfo(resolution->channel, resolution->query->host, resolution->query->service, &hints, finished, resolution);
    return 0;
}

static void watch(struct resolution *resolution, size_t *count, int fd, bool writes)
{
    resolution->watches[*count] = (struct watch){fd, writes};
    resolution->cases[(*count)++] = writes ? td_on_writable(fd) : td_on_readable(fd);
}

/* How long c-ares waits for an answer. */
static td_time patience(ares_channel channel)
{
    struct timeval room, *left = ares_timeout(channel, NULL, &room);

    return left ? left->tv_sec * (td_time)1000000000 + left->tv_usec * (td_time)1000 : POLL_AGAIN_NS;
}

/* Waits for a socket or a time, and lets c-ares go on. */
static int step(struct resolution *resolution, td_time limit)
{
    ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
    unsigned bits = (unsigned)ares_getsock(resolution->channel, sockets, ARES_GETSOCK_MAXNUM);
    int rc;
    td_time until = td_after(patience(resolution->channel));
    size_t count = 0, which = 0;

    for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
        /* As ARES_GETSOCK_READABLE and ..._WRITABLE have it, but for their shifting into the sign. */
        if (bits >> i & 1)
            watch(resolution, &count, sockets[i], false);
        if (bits >> (ARES_GETSOCK_MAXNUM + i) & 1)
            watch(resolution, &count, sockets[i], true);
    }
    resolution->cases[count] = td_on_time(until < limit ? until : limit);
    rc = td_select(resolution->cases, count + 1, &which);
    if (rc < 0)
        return rc;
    if (which == count)
        ares_process_fd(resolution->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    else if (resolution->watches[which].writes)
        ares_process_fd(resolution->channel, ARES_SOCKET_BAD, resolution->watches[which].fd);
    else
        ares_process_fd(resolution->channel, resolution->watches[which].fd, ARES_SOCKET_BAD);
    return !resolution->done && td_now() >= limit ? -ETIMEDOUT : 0;
}

static int drive(struct resolution *resolution, struct loop *loop)
{
    td_time limit = td_after(ALL_NS);
    int rc = 0;

    loop->outside_pending++;  /* answers are not in a virtual time either: it stands while somebody may answer */
    while (rc == 0 && !resolution->done)
        rc = step(resolution, limit);
    loop->outside_pending--;
    return rc;
}

int resolver_ask(struct query *query, const td_lookup_opts *opts)
{
    struct td_task *self = task_self(__func__);
    struct resolution *resolution = calloc(1, sizeof *resolution);
    struct io_op op = {.kind = IO_RUN};
    int rc;

    if (!resolution)
        return -ENOMEM;
    resolution->query = query;
    resolution->opts = opts;
    resolution->call.run = begin;
    op.call = &resolution->call;
    rc = loop_io(self, &op, "a resolver to be set up");
    if (rc == 0)
        rc = drive(resolution, loop_of(self));
    if (rc == 0)
        rc = error_of(resolution->status);
    if (resolution->begun)
        ares_destroy(resolution->channel);
    free(resolution);
    return rc < 0 ? rc : query->count > 0 ? 0 : -ENOENT;
}
