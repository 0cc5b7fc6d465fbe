/* SPDX-License-Identifier: MIT */
/*
 * Byte streams over TCP.
 *
 * Addresses are text: "127.0.0.1:8080", "[::1]:8080"; port 0 lets the system choose. For names there is tandem/lookup.h.
 *
 * Everything here is for tasks of the loop that made the object. At most one task reads a stream at a time, and one
 * writes.
 */
#ifndef TANDEM_NET_H
#define TANDEM_NET_H

#include <stddef.h>
#include <sys/types.h>

#include "tandem/select.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_listener td_listener;
typedef struct td_stream td_stream;

#define TD_ADDRESS_MAX 64  /* bytes of an address as text, the final zero included */

typedef struct td_listen_opts {
    int backlog;      /* connections the kernel holds until they are accepted; 0: 4096 */
    int share_port;   /* other listeners, of other processes too, may listen on the same port (SO_REUSEPORT) */
} td_listen_opts;

/*
 * Listens on an address. opts may be NULL. Not a checkpoint.
 * Returns 0 and *listener; -EINVAL for text that is no address; -EADDRINUSE, -EACCES, -ENOMEM and what else the
 * system says.
 */
int td_listen(td_listener **listener, const char *address, const td_listen_opts *opts);

/* Closes it; no task may be accepting. Not a checkpoint. */
void td_listener_close(td_listener *listener);

/* The address it listens on, with the real port. Valid as long as the listener. */
const char *td_listener_address(const td_listener *listener);

/*
 * Waits for a connection. Checkpoint: yes.
 * Returns 0 and *stream, to be closed; -ECANCELED; -EMFILE, -ENFILE, -ENOMEM when the system is short of something:
 * try again a little later. A connection that broke before it was accepted is passed over.
 */
int td_accept(td_listener *listener, td_stream **stream);

/* Connects. Checkpoint: yes. Returns 0 and *stream; -EINVAL; -ECONNREFUSED and the like; -ECANCELED. */
int td_connect(td_stream **stream, const char *address);

/*
 * Reads what is there, at least one byte, into data. Checkpoint: yes.
 * Returns the count; 0 at the end of the stream; -ECANCELED (then no byte was taken); -ECONNRESET and the like.
 */
ssize_t td_stream_read(td_stream *stream, void *data, size_t size);

/*
 * Writes all of data, or as much as it can before an error. What the stream still has queued goes first.
 * Checkpoint: yes.
 * Returns the bytes given to the system, less than `size` only when cancelled or broken on the way; when that was
 * none: -ECANCELED, -EPIPE, -ECONNRESET and the like.
 */
ssize_t td_stream_write(td_stream *stream, const void *data, size_t size);

/*
 * Cases of a td_select: the stream has something to read, or is at its end, or broken, so td_stream_read would not wait;
 * the listener has a connection, so td_accept would not. Each counts as reading, or accepting. Their result: 0, or what
 * the system says. Not a checkpoint.
 */
td_case td_on_stream(td_stream *stream);
td_case td_on_connection(td_listener *listener);

/* Says to the peer that nothing more will come. Queued bytes must have been sent. Not a checkpoint. */
int td_stream_end(td_stream *stream);

/* Closes the stream and frees it; what was queued and not sent is lost. Not a checkpoint, though it may wait a moment. */
void td_stream_close(td_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
