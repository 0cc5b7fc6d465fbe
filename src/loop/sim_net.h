/* SPDX-License-Identifier: MIT */
/* Between the simulation's sockets and the table of calls on them. */
#ifndef TANDEM_LOOP_SIM_NET_H
#define TANDEM_LOOP_SIM_NET_H

#include "loop/sim.h"

struct sim_socket *sim_net_open(struct backend *sim);  /* NULL when memory is short */
bool sim_net_in_use(struct backend *sim, const struct sockaddr_storage *address);
int sim_net_send(struct sim_socket *socket, const struct msghdr *message);
int sim_net_shutdown(struct sim_socket *socket, int how);
void sim_net_close(struct sim_socket *socket);

#endif
