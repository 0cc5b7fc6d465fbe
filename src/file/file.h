/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share.
 */
#ifndef TANDEM_FILE_FILE_H
#define TANDEM_FILE_FILE_H

#include <sys/stat.h>

#include "loop/loop.h"
#include "tandem/file.h"

/* The most that Linux reads or writes in one call, and io_uring can be asked for. */
#define FILE_BYTES_MAX 0x7ffff000u

/* Does a call for the calling task; checkpoint and errors as loop_io, but tried again when it was interrupted. */
int file_call(struct td_task *self, enum io_kind kind, struct io_call *call, const char *what);

/* Closes a descriptor without blocking the loop, cancelled or not. Returns what close(2) said. */
int file_close_descriptor(struct td_task *self, int fd);

void file_info_from(td_file_info *info, const struct statx *status);

#endif
