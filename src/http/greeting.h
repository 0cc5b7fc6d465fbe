/* SPDX-License-Identifier: MIT */
/*
 * What comes before a connection where the server encrypts: the TLS handshake, in a task that ends with it.
 */
#ifndef TANDEM_HTTP_GREETING_H
#define TANDEM_HTTP_GREETING_H

#include "http/server.h"

/*
 * Takes a stream that was accepted, and serves it, or with `refused` refuses it, when its client has shaken hands. On an error it
 * is still the caller's. Not a checkpoint. Returns 0 or -ENOMEM.
 */
int greeting_start(td_http_server *server, td_stream *stream, bool refused);

#endif
