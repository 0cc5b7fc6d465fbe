/* SPDX-License-Identifier: MIT */
/*
 * WebSocket connections (RFC 6455), as conversations: a handler takes a request over with td_ws_accept, receives
 * and sends until it is done, and returns. Pings are answered and closes completed on the way, and the close frame
 * that is still owed when the handler returns is sent: 1000 after 0, 1001 after -ECANCELED, 1011 after another
 * error.
 *
 * Everything here is for tasks of the connection's loop. One task at a time receives; any may send.
 */
#ifndef TANDEM_WS_H
#define TANDEM_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/http.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_ws td_ws;

typedef enum td_ws_kind { TD_WS_TEXT = 1, TD_WS_BINARY = 2 } td_ws_kind;

/* Every field may be zero, for its default. */
typedef struct td_ws_opts {
    uint64_t message_bytes_max;  /* 64 KiB; a larger message ends the connection with 1009 */
    size_t queue_bytes_max;      /* 256 KiB: what td_ws_post lets wait for a slow peer */
} td_ws_opts;

/*
 * Completes the handshake. opts may be NULL. Checkpoint: yes.
 * Returns 0 and *ws, which lives until the handler returns; -EPROTO when the request was no proper handshake (it
 * has been answered: 400 or 426); -ENOMEM; what sending failed with.
 */
int td_ws_accept(td_http *http, td_ws **ws, const td_ws_opts *opts);

typedef struct td_message {
    td_ws_kind kind;
    size_t size;
    char *data;  /* followed by a zero byte that is not counted */
} td_message;

/* The message's bytes, as an argument for td_offload and the like. Any thread. */
static inline char *td_message_data(const td_message *message)
{
    return message->data;
}

/*
 * Receives a whole message; its data is valid until the next receive. Checkpoint: yes.
 * Returns 1; 0 when the conversation is over (the peer closed, or somebody here did); -EPROTO when the peer broke the
 * protocol (it has been told); -ENOMEM; -ECANCELED; -ECONNRESET and the like.
 */
int td_ws_receive(td_ws *ws, td_message *message);

typedef struct td_ws_part {
    td_ws_kind kind;
    bool begin, end;  /* of the message */
    size_t size;      /* bytes written to the buffer; 0 only for an empty message */
} td_ws_part;

/*
 * Receives the next part of a message straight into `data`: for messages of any size, and for bytes that must land
 * in a certain place, as in shared memory. `size` is at least 1. Not to be mixed with td_ws_receive inside a message.
 * Checkpoint: yes. Returns as td_ws_receive.
 */
int td_ws_read(td_ws *ws, void *data, size_t size, td_ws_part *part);

/*
 * Sends a message; waits while the peer is slow to read what was sent before. Checkpoint: yes.
 * Returns 0; -EPIPE after a close; -ETIMEDOUT when the peer did not read for the server's send_timeout; -ENOMEM;
 * -ECANCELED; and the like.
 */
int td_ws_send(td_ws *ws, td_ws_kind kind, const void *data, size_t size);

/* A message ready for the wire, built once and posted to any number of connections of the loop. */
typedef struct td_ws_frame td_ws_frame;

/* Builds a frame, and gives the caller one reference to it; NULL when memory is short. Not a checkpoint. */
td_ws_frame *td_ws_frame_new(td_ws_kind kind, const void *data, size_t size);

/* Gives the caller's reference back; connections that have the frame queued keep theirs. Not a checkpoint. */
void td_ws_frame_release(td_ws_frame *frame);

/*
 * Queues a frame without waiting. Not a checkpoint.
 * Returns 0; -EBUSY when the connection has queue_bytes_max waiting already (the frame is not queued); -EPIPE after
 * a close; -ENOMEM.
 */
int td_ws_post(td_ws *ws, td_ws_frame *frame);

/*
 * Begins to close: queues a close frame; what the peer still sends is dropped, and the handler's receive returns 0
 * when the peer has answered, or two seconds after the frame has left (twelve at the most, when the peer does not
 * read). `at_once` puts the frame ahead of everything that waits, which is forgotten. Harmless when closing
 * already. Not a checkpoint.
 */
void td_ws_close(td_ws *ws, uint16_t code, const char *reason, bool at_once);

#ifdef __cplusplus
}
#endif
#endif
