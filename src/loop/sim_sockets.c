/* SPDX-License-Identifier: MIT */
/* The calls on simulated sockets that are no operations. */
#include <arpa/inet.h>
#include <errno.h>

#include "loop/sim_net.h"

#define PORTS_FIRST 20000  /* that port 0 is given */

static struct sim_socket *find(struct loop *loop, int fd)
{
    return sim_socket_of(loop->backend, fd);
}

static int sockets_open(struct loop *loop, int family, int type)
{
    static const int short_of[] = {-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM};
    struct backend *sim = loop->backend;
    struct sim_socket *socket;
    int rc = sim_call(sim, TD_SIM_SOCKET);

    if (rc == 0 && sim_chance(sim, sim->faults.shortage, &sim->stats.shortages))
        rc = short_of[dice_below(&sim->net, 4)];
    if (rc < 0)
        return rc;
    socket = sim_net_open(sim);
    return socket ? socket->fd : -ENOMEM;
}

static int choose_port(struct backend *sim, struct sockaddr_storage *address)
{
    for (unsigned port = PORTS_FIRST; port < 32768; port++) {
        sim_set_port(address, htons((uint16_t)port));
        if (!sim_net_in_use(sim, address))
            return 0;
    }
    return -EADDRINUSE;
}

static int sockets_bind(struct loop *loop, int fd, const struct sockaddr_storage *address, socklen_t size, struct socket_how how)
{
    struct sim_socket *socket = find(loop, fd);
    int rc = 0;

    socket->local = *address;
    if (sim_port(address) == 0)
        rc = choose_port(loop->backend, &socket->local);
    else if (sim_net_in_use(loop->backend, address))
        rc = -EADDRINUSE;  /* also with share_port: there is one loop here, so nobody to share with */
    return rc;
}

static int sockets_listen(struct loop *loop, int fd, int backlog)
{
    struct sim_socket *socket = find(loop, fd);
    int rc = sim_call(loop->backend, TD_SIM_LISTEN);

    if (rc < 0)
        return rc;
    socket->state = SIM_LISTENING;
    socket->waiting_max = (unsigned)backlog;
    return 0;
}

static int sockets_name(struct loop *loop, int fd, struct sockaddr_storage *address, socklen_t *size)
{
    *address = find(loop, fd)->local;
    if (address->ss_family != AF_UNIX)  /* whose length is part of its name */
        *size = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    return 0;
}

static void sockets_tune(struct loop *loop, int fd)
{
    (void)find(loop, fd);
}

static int sockets_send_now(struct loop *loop, int fd, const struct msghdr *message)
{
    struct sim_socket *socket = find(loop, fd);
    int rc = sim_call(loop->backend, TD_SIM_SEND);

    if (rc == 0)
        rc = sim_net_send(socket, message);
    sim_note(loop->backend, "send", fd - SIM_FD_FIRST, rc);
    return rc;
}

static int sockets_shutdown(struct loop *loop, int fd, int how)
{
    sim_note(loop->backend, "shutdown", fd - SIM_FD_FIRST, how);
    return sim_net_shutdown(find(loop, fd), how);
}

static void sockets_close(struct loop *loop, int fd)
{
    sim_note(loop->backend, "close", fd - SIM_FD_FIRST, 0);
    sim_net_close(find(loop, fd));
}

const struct socket_table sockets_of_sim = {
    .open = sockets_open,
    .bind = sockets_bind,
    .listen = sockets_listen,
    .name = sockets_name,
    .tune = sockets_tune,
    .send_now = sockets_send_now,
    .shutdown = sockets_shutdown,
    .close = sockets_close,
};
