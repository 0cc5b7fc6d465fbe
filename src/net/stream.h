/* SPDX-License-Identifier: MIT */
/*
 * A stream's inside: its socket, and the queue of blocks that leave it.
 *
 * Any task of the loop may post blocks; they are counted references, so one block can be in a thousand queues. The
 * queue is flushed at the end of the loop's turn with one vectored call (cork), by callbacks: sending needs no
 * task.
 */
#ifndef TANDEM_NET_STREAM_H
#define TANDEM_NET_STREAM_H

#include <sys/uio.h>

#include "loop/sockets.h"
#include "tandem/net.h"

/* An immutable, counted piece of output. Lives on one loop. */
struct block {
    size_t refs;
    size_t size;
    unsigned char bytes[];
};

struct block *block_new(size_t size);  /* one reference; NULL when memory is short */
void block_release(struct block *block);

#define STREAM_IOV 16
#define STREAM_BLOCK_BYTES 96  /* what a queued block costs besides its bytes: tiny ones are not free */

struct td_stream {
    struct loop *loop;
    struct io_file file;
    struct block **queue;        /* a ring of `room` places */
    unsigned head, count, room;
    size_t head_sent;            /* bytes of the first block that are out */
    size_t bytes;                /* queued, not yet out */
    int error;                   /* of sending; sticky */
    bool sending;
    bool writing;                /* a task is in td_stream_write: the queue waits */
    struct turn_end flush;
    struct td_list waiters;      /* tasks that wait for the queue to shrink */
    struct io_op send_op;
    struct msghdr message;
    struct iovec iov[STREAM_IOV];
};

/*
 * Queues a reference to the block. `bytes_max` bounds the queue: past it the block is refused with -EBUSY, unless
 * the queue is empty (any one block may pass). -EPIPE and the like when sending has failed; -ENOMEM. Not a
 * checkpoint.
 */
int stream_post(td_stream *stream, struct block *block, size_t bytes_max);

/* Bytes that the queue is charged with against a bound; 0 exactly when nothing is queued. */
static inline size_t stream_charge(const td_stream *stream)
{
    return stream->bytes + (size_t)stream->count * STREAM_BLOCK_BYTES;
}

/* Forgets queued blocks, except those that have left in part or are leaving, and the last one when keep_last is set. */
void stream_drop_backlog(td_stream *stream, bool keep_last);

/*
 * Waits until the queue is charged with at most `bytes`. Checkpoint. Returns 0, -ECANCELED, or what sending failed
 * with.
 */
int stream_wait_sent(td_stream *stream, size_t bytes);

/* Breaks the connection under whoever reads or writes: they see its end, or an error. */
void stream_break(td_stream *stream);

/*
 * Closes in the way that lets the peer read our last words: sends what is queued, says the end, and reads the rest
 * of what the peer sends (unread bytes would make the kernel reset the connection and throw our words away), for
 * `grace_ns` at the most. Not reached by cancellation. The stream is freed.
 */
void stream_close_gently(td_stream *stream, td_time grace_ns);

int address_parse(const char *text, struct sockaddr_storage *address, socklen_t *size);
void address_format(const struct sockaddr_storage *address, char text[TD_ADDRESS_MAX]);
int stream_adopt(struct loop *loop, int fd, td_stream **stream);

#endif
