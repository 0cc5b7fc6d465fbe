/* SPDX-License-Identifier: MIT */
/*
 * Static files: a folder that clients of an HTTP server may read.
 *
 * Nothing outside the folder is served, whatever the path says: `..`, absolute symbolic links and those that lead out of it are
 * not found; nor are names that begin with a dot, but for `.well-known`. Conditions (If-Match and the like), ranges and HEAD
 * are answered as RFC 9110 has it. Where a file NAME has a NAME.gz beside it that is no older, clients that accept gzip get
 * that. Opening and reading never hold the loop.
 */
#ifndef TANDEM_FILES_H
#define TANDEM_FILES_H

#include "tandem/http.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_http_files td_http_files;

/*
 * Opens a folder to be served, for tasks of the caller's loop. Checkpoint: yes. Returns 0; -ENOENT, -ENOTDIR, -EACCES and the
 * like; -ENOMEM; -ECANCELED.
 */
int td_http_files_open(td_http_files **files, const char *root);

/*
 * Answers a request with a file. `path` is decoded and relative to the folder; slashes at its start do not count. For a folder it
 * is the index.html in it; a folder's path without a slash at its end is sent there. What cannot be read is answered 404 or 403,
 * another method than GET and HEAD 405. Checkpoint: yes.
 *
 * Returns 0 when something was answered; -EINVAL when the request was answered before; -EPIPE, -ETIMEDOUT and the like as
 * td_http_write; -EIO when the file became shorter meanwhile, and then the connection is broken.
 */
int td_http_send_file(td_http *http, td_http_files *files, const char *path);

/* Frees it, cancelled or not; no request may be using it. */
void td_http_files_close(td_http_files *files);

#ifdef __cplusplus
}
#endif
#endif
