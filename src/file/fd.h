/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that tasks read and write: the inside.
 */
#ifndef TANDEM_FILE_FD_H
#define TANDEM_FILE_FD_H

#include "loop/loop.h"
#include "tandem/io.h"

/* Wraps a descriptor made with the backend's file_flags. Returns 0 and *fd, or -ENOMEM; then the descriptor is closed. */
int fd_wrap(struct loop *loop, int descriptor, td_fd **fd);

#endif
