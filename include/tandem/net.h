/* SPDX-License-Identifier: MIT */
/*
 * Byte streams over TCP and Unix sockets.
 *
 * Addresses are text: "127.0.0.1:8080", "[::1]:8080", "[fe80::1%eth0]:8080"; port 0 lets the system choose. Unix sockets are
 * "unix:/run/service.sock", up to 107 bytes of path, or "unix:@name" in the abstract name space, which needs no file. For names
 * there are td_connect_to and tandem/lookup.h.
 *
 * Everything here is for tasks of the loop that made the object. At most one task reads a stream at a time, and one
 * writes.
 */
#ifndef TANDEM_NET_H
#define TANDEM_NET_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "tandem/select.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_listener td_listener;
typedef struct td_stream td_stream;

#define TD_ADDRESS_MAX 128  /* bytes of an address as text, the final zero included */

typedef struct td_listen_opts {
    int backlog;      /* connections the kernel holds until they are accepted; 0: 4096 */
    int share_port;   /* other listeners, of other processes too, may listen on the same port (SO_REUSEPORT) */
    int v6_only;      /* an IPv6 address takes no IPv4 connections, so that another listener may */
    unsigned mode;    /* of a Unix socket's file: who may write to it may connect; 0: as the umask has it */
    /*
     * What those hear, before their connection is closed, for whom there is no descriptor (a 503, say); kept by the caller. NULL:
     * nothing.
     */
    const void *farewell;
    size_t farewell_size;
} td_listen_opts;

/*
 * Listens on an address. opts may be NULL. A Unix socket's file that is in the way is removed when nobody is behind it any
 * more, which is what a server leaves that was killed. Not a checkpoint.
 *
 * Returns 0 and *listener; -EINVAL for text that is no address; -ENAMETOOLONG for a path beyond what the kernel takes; -ENODEV
 * for an IPv6 scope that is none; -EADDRINUSE: somebody listens there, or the path is another file's; -EACCES, -ENOENT (the
 * path's folder), -ENOMEM and what else the system says.
 */
int td_listen(td_listener **listener, const char *address, const td_listen_opts *opts);

/* Closes it, and removes the file of its Unix socket; no task may be accepting. Not a checkpoint. */
void td_listener_close(td_listener *listener);

/* The address it listens on, with the real port. Valid as long as the listener. */
const char *td_listener_address(const td_listener *listener);

typedef struct td_listener_stats {
    unsigned long long accepted;
    unsigned long long turned_away;  /* closed because there was no descriptor for them */
} td_listener_stats;

/* How many it has had so far. Not a checkpoint. */
void td_listener_statistics(const td_listener *listener, td_listener_stats *stats);

/*
 * Waits for a connection. While nobody accepts, connections wait in the kernel (td_listen_opts.backlog): that is how to pause.
 *
 * When the process or the machine is out of descriptors, those who come are turned away with the farewell, by a descriptor
 * that the listener holds in reserve; the first that there is a descriptor for is accepted again. The log tells, every ten
 * seconds at the most.
 *
 * Checkpoint: yes. After 16 connections in a row the other tasks have their turn.
 * Returns 0 and *stream, to be closed; -ECANCELED; -ENOMEM, -ENOBUFS when the system is short of memory: try again a little
 * later. A connection that broke before it was accepted is passed over.
 */
int td_accept(td_listener *listener, td_stream **stream);

/* Connects. Checkpoint: yes. Returns 0 and *stream; -EINVAL; -ECONNREFUSED and the like; -ECANCELED. */
int td_connect(td_stream **stream, const char *address);

typedef struct td_lookup_opts td_lookup_opts;  /* tandem/lookup.h */

typedef struct td_connect_opts {
    const td_lookup_opts *lookup;  /* how names are looked up; NULL: as td_lookup does. Its family does not count */
    td_time attempt_delay;         /* how long an attempt has before the next begins beside it; 0: 250 ms */
    char *why;                     /* on failure, a sentence that has each address and what came of it; may be NULL */
    size_t why_size;
} td_connect_opts;

/*
 * Connects to a place, "example.org:443", or an address: to whichever of its addresses answers first (Happy Eyeballs, RFC
 * 8305). IPv6 and IPv4 are looked up at the same time, and tried in turns, each attempt a while after the one before, or when
 * that has failed. opts may be NULL. A deadline is the scope's.
 *
 * Checkpoint: yes. Returns 0 and *stream, and all other attempts are closed; -ECANCELED; what td_lookup says; or, when every
 * address failed, the error that tells most (who refuses is there): -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH, ...
 */
int td_connect_to(td_stream **stream, const char *place, const td_connect_opts *opts);

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

/* The same from `count` pieces, as if they were one: with one system call where they fit. Also -EINVAL: too much at once. */
ssize_t td_stream_writev(td_stream *stream, const struct iovec *pieces, int count);

/*
 * Writes `size` bytes of a file from `offset` on; td_file_descriptor has a td_file's descriptor, whose own offset stays as it is.
 * To a socket the kernel sends them itself, without a copy, and the loop never waits for the disk. Checkpoint: yes.
 *
 * Returns the bytes given to the system, less than `size` when the file ends before, or as with td_stream_write; when that was
 * none: what td_stream_write says, -EINVAL for a range that is none, -EBADF, -ESPIPE for what has no positions, -EIO, -ENOMEM.
 */
ssize_t td_stream_send_file(td_stream *stream, int fd, int64_t offset, size_t size);

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
