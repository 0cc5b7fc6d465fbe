/* SPDX-License-Identifier: MIT */
/*
 * Sockets that have a path: the file that is left behind by a server that died, and the one that is ours to remove.
 */
#ifndef TANDEM_NET_UNIX_H
#define TANDEM_NET_UNIX_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

/* The file that a socket of ours is bound to. */
struct unix_file {
    dev_t device;
    ino_t inode;
    char path[sizeof ((struct sockaddr_un *)NULL)->sun_path + 1];  /* "": none */
};

/*
 * Binds the socket to the path, and, when `backlog` is not 0, listens. A socket file in the way is replaced when nobody
 * is behind it any more: who dies cannot remove his own. `mode` is the file's permissions, exactly; 0: those that the
 * umask leaves. Does not wait (for a moment, where another process looks for a dead socket in the same folder).
 *
 * Returns 0 and *file; -EADDRINUSE when there is somebody behind the socket, or something else has the path; -ENOENT,
 * -EACCES, ... On an error nothing of ours is left.
 */
int unix_bind(int fd, const struct sockaddr_un *address, socklen_t size, unsigned mode, int backlog, struct unix_file *file);

/* Removes the file, if it is still that of our socket. */
void unix_remove(struct unix_file *file);

#endif
