/* SPDX-License-Identifier: MIT */
#ifndef TANDEM_SERVE_SERVE_H
#define TANDEM_SERVE_SERVE_H

#include "options.h"

/*
 * One server process: serves until SIGTERM or SIGINT, drains. The line that says where it listens goes to the pipe
 * `ready`, or to standard output when that is -1. Returns the exit status.
 */
int serve_process(const struct serve_options *options, int ready);

/* Several of them on one port, supervised. Returns the exit status. */
int serve_workers(const struct serve_options *options);

#endif
