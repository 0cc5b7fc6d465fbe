/* SPDX-License-Identifier: MIT */
/*
 * Datagrams, over UDP and Unix sockets: each arrives whole, or cut, or not at all.
 *
 *     td_datagram *socket;
 *     char data[1500];
 *     td_address from;
 *
 *     rc = td_datagram_open(&socket, &(td_datagram_opts){.bind = "127.0.0.1:5300"});
 *     while ((n = td_datagram_receive(socket, data, sizeof data, &from)) >= 0)
 *         td_datagram_send(socket, data, (size_t)n, from.text);
 *
 * Addresses are those of tandem/net.h. Everything here is for tasks of the loop that opened the socket; one task at a time
 * receives, and one sends. Not in a simulation, which has no datagrams (-EOPNOTSUPP).
 */
#ifndef TANDEM_DATAGRAM_H
#define TANDEM_DATAGRAM_H

#include "tandem/lookup.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_datagram td_datagram;

/* One of the addresses at least. */
typedef struct td_datagram_opts {
    const char *bind;     /* where they arrive; NULL: the system chooses at the first that is sent (for Unix: nowhere) */
    const char *connect;  /* where they go, and the one place they are taken from; NULL: each says where */
    int share_port;       /* other sockets may be bound to the same port; the system deals the datagrams out among them */
    int v6_only;          /* an IPv6 address takes no IPv4 datagrams */
    int broadcast;        /* they may go to broadcast addresses */
    unsigned mode;        /* of a Unix socket's file, as in td_listen_opts */
} td_datagram_opts;

/*
 * Opens a socket. A Unix socket's file that nobody is behind any more is replaced, as td_listen does. Not a checkpoint.
 *
 * Returns 0 and *socket; -EINVAL without an address, or for text that is none, or for two of different families; -EADDRINUSE,
 * -EACCES, -EMFILE, -ENOMEM, -ECONNREFUSED (connecting to a path behind which nobody is) and what else the system says.
 */
int td_datagram_open(td_datagram **socket, const td_datagram_opts *opts);

/* Closes it, and removes the file of its Unix socket; no task may be using it. Not a checkpoint. */
void td_datagram_close(td_datagram *socket);

/* The address it is bound to, with the real port. Valid as long as the socket. */
const char *td_datagram_address(const td_datagram *socket);

/*
 * Waits for a datagram and stores up to `size` bytes of it in data; and who sent it in *from, which may be NULL.
 *
 * Checkpoint: yes. Returns the size that the datagram had: more than `size` when it was cut, 0 when it is empty. -ECANCELED,
 * and none was taken; -ECONNREFUSED on a connected socket: nobody is there, one that was sent before has come back; ...
 */
ssize_t td_datagram_receive(td_datagram *socket, void *data, size_t size, td_address *from);

/*
 * Sends one datagram to an address; NULL: where the socket is connected to. Waits while the socket's buffer is full.
 *
 * Checkpoint: yes. Returns `size`; -EINVAL for text that is no address; -EDESTADDRREQ without any; -EMSGSIZE when it is too
 * large for one datagram; -ECONNREFUSED, -ECANCELED, -ENOBUFS, ... Then nothing was sent.
 */
ssize_t td_datagram_send(td_datagram *socket, const void *data, size_t size, const char *to);

/* A case of a td_select: a datagram has come, or an error, so receiving would not wait. It counts as receiving. */
td_case td_on_datagram(td_datagram *socket);

#ifdef __cplusplus
}
#endif
#endif
