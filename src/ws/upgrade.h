/* SPDX-License-Identifier: MIT */
/*
 * How a request becomes a WebSocket, and how one ends.
 */
#ifndef TANDEM_WS_UPGRADE_H
#define TANDEM_WS_UPGRADE_H

#include "ws/connection.h"

/* Does the server's part of the handshake. Checkpoint. Returns as td_ws_accept; a conversation has room for receiving. */
int ws_upgrade(td_http *http, const td_ws_handler *handler, const td_ws_opts *opts, td_ws **ws);

/* A WebSocket over this stream, which it owns, watched by the endpoint, whose reference it takes. NULL: no memory. */
td_ws *ws_new(td_stream *stream, struct ws_endpoint *endpoint, bool client);

/* Closes the stream in the gentle way, and frees everything. Not reached by cancellation. Checkpoint. */
void ws_part(td_ws *ws);

#endif
