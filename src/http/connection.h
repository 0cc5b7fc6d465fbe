/* SPDX-License-Identifier: MIT */
/*
 * A connection of HTTP/1.
 *
 * Between requests it is a struct: no task, no buffer. When bytes come a task is leased for it, which reads and answers requests
 * until nothing is left, and ends. Its good-bye needs no task either.
 */
#ifndef TANDEM_HTTP_CONNECTION_H
#define TANDEM_HTTP_CONNECTION_H

#include "http/server.h"

/* Takes the stream over and serves it; on an error it is still the caller's. Not a checkpoint. Returns 0 or -ENOMEM. */
int connection_start(td_http_server *server, td_stream *stream);

/* Answers 503 whatever the client wants, and closes. Otherwise as connection_start. */
int connection_refuse(td_http_server *server, td_stream *stream);

/* Closes the connection that has waited longest for a request. False: none has waited for some seconds. */
bool connection_shed(td_http_server *server);

#endif
