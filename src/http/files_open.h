/* SPDX-License-Identifier: MIT */
/*
 * Opening a file below a folder, and nothing else, without holding the loop.
 */
#ifndef TANDEM_HTTP_FILES_OPEN_H
#define TANDEM_HTTP_FILES_OPEN_H

#include <sys/stat.h>

#include "file/file.h"

/*
 * Opens what is at `path` below the folder `root` for reading, and looks at it. Links that stay below the folder are followed.
 * Checkpoint. Returns a descriptor, to be closed by file_close_descriptor; -EXDEV for a path that leads out; what open(2) says;
 * -ECANCELED.
 */
int files_open_below(struct td_task *self, int root, const char *path, struct stat *status);

#endif
