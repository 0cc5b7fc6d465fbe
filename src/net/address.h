/* SPDX-License-Identifier: MIT */
/*
 * Addresses between text and the kernel's form (tandem/net.h has the syntax). Neither function waits.
 */
#ifndef TANDEM_NET_ADDRESS_H
#define TANDEM_NET_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "tandem/net.h"

/*
 * Returns 0; -EINVAL for text that is no address; -ENAMETOOLONG for a path or name that the kernel has no room for;
 * -ENODEV for an IPv6 scope that is no interface of this machine.
 */
int address_parse(const char *text, struct sockaddr_storage *address, socklen_t *size);

/* `size` bytes of the address count; a Unix socket without a name is "unix:". */
void address_format(const struct sockaddr_storage *address, socklen_t size, char text[TD_ADDRESS_MAX]);

/* It is a Unix socket's, with a path in the file system. */
bool address_is_path(const struct sockaddr_storage *address);

#endif
