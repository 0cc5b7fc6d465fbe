/* SPDX-License-Identifier: MIT */
/*
 * A stream's inside: the bytes that came and nobody has consumed, and the queue of blocks that leave it.
 *
 * Kinds of streams (a socket, TLS over a socket, a stream of HTTP/2) differ in what carries their bytes: struct
 * stream_kind. Whoever speaks a protocol over a stream sees none of that, and does it in one of two shapes:
 *
 * - A task that waits: stream_wait_input, stream_peek, stream_consume.
 * - A callback, and no task while nothing comes: stream_on_input. The callback usually leases a task, which consumes what
 *   is there and ends when nothing is left. So an idle connection costs no stack.
 *
 * Input: the kind hands over buffers as they come, until the stream holds its credit, `input_max` bytes; then it is told to
 * stop, and the pressure reaches the peer. Consuming lets it go on.
 *
 * Output: any task or callback of the loop may post blocks. The queue is flushed at the end of the loop's turn with one
 * vectored call (cork), by callbacks: sending needs no task.
 */
#ifndef TANDEM_NET_STREAM_H
#define TANDEM_NET_STREAM_H

#include <sys/uio.h>

#include "loop/receive.h"
#include "loop/sockets.h"
#include "net/block.h"
#include "tandem/net.h"

#define STREAM_BLOCK_BYTES 96  /* what a queued block costs besides its bytes: tiny ones are not free */
#define STREAM_INPUT_MAX (32 * 1024)

struct stream_kind {
    const char *name;
    void (*read)(td_stream *stream, bool on);  /* begin to hand over input, also at once; or stop: what came still comes */
    void (*flush)(td_stream *stream);          /* send from the queue what can be sent now, and go on by yourself */
    ssize_t (*write)(td_stream *stream, const void *data, size_t size);  /* a task's td_stream_write; NULL: through the queue */
    ssize_t (*send_now)(td_stream *stream);    /* what can leave at once: bytes that left, -EAGAIN; NULL: nothing can */
    int (*end)(td_stream *stream);             /* the queue is empty: say that nothing more will come */
    void (*abort)(td_stream *stream);          /* break it, both ways: its input ends */
    void (*close)(td_stream *stream);          /* end what is under way, call stream_fini, and free it. A task calls this */
};

struct td_stream {
    const struct stream_kind *kind;
    struct loop *loop;
    /* Input. */
    struct input *input, *input_last;
    uint32_t input_bytes, input_max;
    int input_end;                /* 1: more may come; 0: the peer's end; negative: what receiving failed with */
    bool reading, wanted;         /* the kind was told to; somebody has asked for input */
    bool closing;
    /* Output. */
    bool sending;                 /* the kind has `in_flight` blocks under way */
    bool writing;                 /* a task is in td_stream_write: the queue waits */
    uint32_t head, count, room;
    uint32_t in_flight;
    uint32_t first_end;           /* behind the last block that was posted first, counted from the head */
    int error;                    /* of sending; sticky */
    struct block **queue;         /* a ring of `room` places */
    size_t head_sent, bytes;      /* of the first block: are out; of all blocks: are not */
    struct turn_end flush;
    struct td_list readers;       /* of struct waiter: tasks that wait for input, or for its end alone */
    struct td_list waiters;       /* tasks that wait for the queue to shrink */
    void (*on_input)(td_stream *stream);
    void (*on_sent)(td_stream *stream);
    void *owner;                  /* of the two */
};

/*
 * For those who speak a protocol: input.
 */

/* Waits until there is input. Checkpoint: yes. Returns 1; 0 at the end; -ECANCELED; what receiving failed with. */
int stream_wait_input(td_stream *stream);

/*
 * The first piece of what is there; NULL and 0 when there is nothing. It may be written to (bytes are unmasked in place), and
 * stays where it is until it is consumed.
 */
static inline unsigned char *stream_peek(const td_stream *stream, size_t *size)
{
    struct input *input = stream->input;

    *size = input ? input->end - input->begin : 0;
    return input ? input->bytes + input->begin : NULL;
}

/* Consumes so much of the first piece. May call on_input. */
void stream_consume(td_stream *stream, size_t size);

/* Puts bytes back in front of the input, for whoever reads next. Returns 0 or -ENOMEM. */
int stream_unread(td_stream *stream, const void *bytes, size_t size);

/*
 * `came` is called whenever there is new input, or it has ended, by the loop and in no task; also at once, when there is
 * some already or input is over. NULL: not any more. It must not free the stream: tasks do.
 */
void stream_on_input(td_stream *stream, void (*came)(td_stream *stream), void *owner);

/* A case of a select: the input has ended, whatever is unread. Up to STREAM_GONE_MAX unread bytes are looked past. */
#define STREAM_GONE_MAX (256 * 1024)
td_case stream_on_gone(td_stream *stream);

/*
 * Output.
 */

/*
 * Queues a reference to the block. `bytes_max` bounds the queue: past it the block is refused with -EBUSY, unless
 * the queue is empty (any one block may pass). -EPIPE and the like when sending has failed; -ENOMEM. Not a
 * checkpoint.
 */
int stream_post(td_stream *stream, struct block *block, size_t bytes_max);

/*
 * The same ahead of all that was queued by stream_post, though behind a block that has left in part: for control frames. Of
 * those that were posted like this, STREAM_FIRST_MAX may wait; then the newest takes the place of the last. Returns 0, or an
 * error as above.
 */
#define STREAM_FIRST_MAX 16
int stream_post_first(td_stream *stream, struct block *block);

/* Bytes that the queue is charged with against a bound; 0 exactly when nothing is queued. */
static inline size_t stream_charge(const td_stream *stream)
{
    return stream->bytes + (size_t)stream->count * STREAM_BLOCK_BYTES;
}

/* How many blocks at the head must stay as they are: those under way, or the one that has left in part. */
static inline unsigned stream_fixed(const td_stream *stream)
{
    return stream->sending ? stream->in_flight : stream->head_sent > 0;
}

/* Where the blocks begin that may give way: behind those, and what was posted first. */
static inline unsigned stream_data_at(const td_stream *stream)
{
    unsigned at = stream_fixed(stream);

    return at > stream->first_end ? at : stream->first_end;
}

/* Forgets queued blocks, except those that have left in part or are leaving, and the last one when keep_last is set. */
void stream_drop_backlog(td_stream *stream, bool keep_last);

/* Forgets the oldest block from stream_data_at on. Returns its size, 0 when there is none. */
size_t stream_drop_oldest(td_stream *stream);

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

/*
 * For kinds.
 */

/* In zeroed memory, at its start. */
void stream_init(td_stream *stream, const struct stream_kind *kind, struct loop *loop);

/* Frees the queue and the input; nobody waits any more. Does not free the stream. */
void stream_fini(td_stream *stream);

/* Hands over input, which is the stream's then. */
void stream_input_came(td_stream *stream, struct input *input);

/* 0 or a negative errno; once, and nothing comes after it. */
void stream_input_ended(td_stream *stream, int rc);

/*
 * Takes note that so many bytes of the queue left, or (negative) that sending failed: wakes who waits, calls on_sent.
 */
void stream_sent(td_stream *stream, ssize_t sent);

/* Describes the head of the queue. Returns how many places of iov are filled. */
unsigned stream_gather(const td_stream *stream, struct iovec *iov, unsigned max);

/* Whether the queue may be sent from now. */
static inline bool stream_may_send(const td_stream *stream)
{
    return stream->count > 0 && !stream->sending && !stream->writing && !stream->error;
}

/* Sockets. */

/* A connected socket becomes a stream. On an error it is closed. Returns 0, -ENOMEM. */
int stream_adopt(struct loop *loop, int fd, td_stream **stream);

/* What carries it, where it is a socket; else NULL. */
struct io_file *stream_socket(td_stream *stream);

#endif
