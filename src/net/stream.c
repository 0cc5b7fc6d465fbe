/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. `bytes` is the sum of the queued blocks' sizes less head_sent. 2. While blocks are queued and
 * there is no error, a send is under way or the stream is in its loop's list of turn ends. 3. With an error the
 * queue is empty.
 */
#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "sync/cases.h"

#define QUEUE_FIRST 4
#define SINK_BYTES 4096
#define FLUSH_CALLS 16  /* in one go, before others get their turn */

struct block *block_new(size_t size)
{
    struct block *block = size <= SIZE_MAX / 2 ? malloc(sizeof *block + size) : NULL;

    if (!block)
        return NULL;
    block->refs = 1;
    block->size = size;
    return block;
}

void block_release(struct block *block)
{
    if (block && --block->refs == 0)
        free(block);
}

static void flush(struct turn_end *end);

int stream_adopt(struct loop *loop, int fd, td_stream **out)
{
    td_stream *stream = calloc(1, sizeof *stream);

    if (!stream) {
        loop->table->sockets->close(loop, fd);
        return -ENOMEM;
    }
    loop->table->sockets->tune(loop, fd);  /* written once a turn, so Nagle's algorithm could only delay */
    stream->loop = loop;
    io_file_init(&stream->file, fd);
    list_init(&stream->flush.link);
    stream->flush.run = flush;
    list_init(&stream->waiters);
    *out = stream;
    return 0;
}

/* A task that waits for the queue to shrink to `bytes`. */
struct sent_wait {
    struct wait wait;
    struct td_list link;
    struct td_task *task;
    size_t bytes;
};

static void wake_waiters(td_stream *stream)
{
    for (struct td_list *at = stream->waiters.next, *next; at != &stream->waiters; at = next) {
        struct sent_wait *waiter = container_of(at, struct sent_wait, link);

        next = at->next;
        if (stream->error || stream_charge(stream) <= waiter->bytes) {
            list_remove(at);
            task_unpark(waiter->task, stream->error);
        }
    }
}

static void drop_first(td_stream *stream)
{
    struct block *block = stream->queue[stream->head];

    stream->bytes -= block->size - stream->head_sent;
    stream->head_sent = 0;
    stream->head = (stream->head + 1) % stream->room;
    stream->count--;
    block_release(block);
    if (stream->count == 0 && stream->room > QUEUE_FIRST) {
        free(stream->queue);  /* a burst is no reason to hold its memory for good */
        stream->queue = NULL;
        stream->room = stream->head = 0;
    }
}

/* Takes note of `sent` bytes that left, or of an error. */
static void advance(td_stream *stream, int sent)
{
    if (sent == -EINTR || sent == -EAGAIN)
        return;
    if (sent < 0) {
        stream->error = sent;
        while (stream->count > 0)
            drop_first(stream);
        /* Posting told nobody, and not every error ends a connection (ENOBUFS): whoever reads is to see that it is over. */
        if (sent != -ECANCELED)
            stream_break(stream);
        return;
    }
    while (sent > 0) {
        size_t left = stream->queue[stream->head]->size - stream->head_sent;

        if ((size_t)sent < left) {
            stream->head_sent += (size_t)sent;
            stream->bytes -= (size_t)sent;
            return;
        }
        sent -= (int)left;
        drop_first(stream);
    }
}

static void sent_some(struct io_op *op, int result)
{
    td_stream *stream = container_of(op, td_stream, send_op);

    stream->sending = false;
    advance(stream, result);
    wake_waiters(stream);
    flush(&stream->flush);
}

/* Describes the head of the queue to sendmsg. */
static void gather(td_stream *stream)
{
    unsigned n = stream->count < STREAM_IOV ? stream->count : STREAM_IOV;

    for (unsigned i = 0; i < n; i++) {
        struct block *block = stream->queue[(stream->head + i) % stream->room];
        size_t skip = i == 0 ? stream->head_sent : 0;

        stream->iov[i] = (struct iovec){block->bytes + skip, block->size - skip};
    }
    stream->message = (struct msghdr){.msg_iov = stream->iov, .msg_iovlen = n};
}

static void flush(struct turn_end *end)
{
    td_stream *stream = container_of(end, td_stream, flush);

    for (int calls = 0; stream->count > 0 && !stream->sending && !stream->writing && !stream->error; calls++) {
        if (calls == FLUSH_CALLS) {
            loop_at_turn_end(stream->loop, end);
            return;
        }
        gather(stream);
        stream->send_op = (struct io_op){.kind = IO_SEND, .file = &stream->file, .done = sent_some,
                                         .message = &stream->message};
        stream->sending = true;
        if (!loop_io_start(stream->loop, &stream->send_op))
            return;
        stream->sending = false;
        advance(stream, stream->send_op.result);
        wake_waiters(stream);
    }
}

/* Before a block is refused: what the socket takes at once does not count. Returns 0, or what sending failed with. */
static int flush_now(td_stream *stream)
{
    int n = 1;

    while (n > 0 && stream->count > 0 && !stream->sending && !stream->writing && !stream->error) {
        gather(stream);
        n = stream->loop->table->sockets->send_now(stream->loop, stream->file.fd, &stream->message);
        advance(stream, n);
    }
    wake_waiters(stream);
    return stream->error;
}

static int grow(td_stream *stream)
{
    unsigned room = stream->room ? stream->room * 2 : QUEUE_FIRST;
    struct block **queue = malloc(room * sizeof(struct block *));

    if (!queue)
        return -ENOMEM;
    for (unsigned i = 0; i < stream->count; i++)
        queue[i] = stream->queue[(stream->head + i) % stream->room];
    free(stream->queue);
    stream->queue = queue;
    stream->head = 0;
    stream->room = room;
    return 0;
}

int stream_post(td_stream *stream, struct block *block, size_t bytes_max)
{
    if (stream->loop->sched.forked)
        return -EOWNERDEAD;  /* it would speak on its parent's socket */
    if (stream->error)
        return stream->error;
    if (stream->count > 0 && stream_charge(stream) + block->size > bytes_max) {
        if (flush_now(stream) < 0)
            return stream->error;
        if (stream->count > 0 && stream_charge(stream) + block->size > bytes_max)
            return -EBUSY;
    }
    if (block->size == 0)
        return 0;
    if (stream->count == stream->room && grow(stream) < 0)
        return -ENOMEM;
    block->refs++;
    stream->queue[(stream->head + stream->count++) % stream->room] = block;
    stream->bytes += block->size;
    if (!stream->sending)
        loop_at_turn_end(stream->loop, &stream->flush);
    return 0;
}

void stream_drop_backlog(td_stream *stream, bool keep_last)
{
    /* A send under way reads the blocks it was given, so as many as that stay; else the one that left in part. */
    unsigned keep = stream->sending ? (unsigned)stream->message.msg_iovlen : stream->head_sent > 0;
    struct block *last = NULL;

    if (keep_last && stream->count > keep)
        last = stream->queue[(stream->head + --stream->count) % stream->room];
    while (stream->count > keep) {
        struct block *block = stream->queue[(stream->head + --stream->count) % stream->room];

        stream->bytes -= block->size;
        block_release(block);
    }
    if (last)
        stream->queue[(stream->head + stream->count++) % stream->room] = last;
    wake_waiters(stream);
}

static void sent_wait_abort(struct wait *wait)
{
    struct sent_wait *waiter = container_of(wait, struct sent_wait, wait);

    list_remove(&waiter->link);
    task_unpark(waiter->task, -ECANCELED);
}

int stream_wait_sent(td_stream *stream, size_t bytes)
{
    struct td_task *self = task_self(__func__);
    struct sent_wait waiter = {.wait = {sent_wait_abort, "a peer to read", 0}, .task = self, .bytes = bytes};
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    if (stream->error || stream_charge(stream) <= bytes)
        return stream->error;
    list_init(&waiter.link);
    list_push_back(&stream->waiters, &waiter.link);
    return task_park(self, &waiter.wait);
}

ssize_t td_stream_read(td_stream *stream, void *data, size_t size)
{
    struct td_task *self = task_self(__func__);
    int rc;

    do {
        struct io_op op = {.kind = IO_RECEIVE, .file = &stream->file, .buffer = {data, size}};

        rc = loop_io(self, &op, "bytes from a peer");
    } while (rc == -EINTR || rc == -EAGAIN);
    return rc;
}

td_case td_on_stream(td_stream *stream)
{
    return (td_case){.kind = &case_readable, .on = &stream->file};
}

ssize_t td_stream_write(td_stream *stream, const void *data, size_t size)
{
    struct td_task *self = task_self(__func__);
    size_t sent = 0;
    int rc = stream_wait_sent(stream, 0);

    if (rc == -EOWNERDEAD)
        return rc;
    if (stream->writing)
        fail("td_stream_write: another task is writing to this stream; let one task write, or a channel order them");
    stream->writing = true;
    while (rc >= 0 && sent < size) {
        struct iovec iov = {(char *)(uintptr_t)data + sent, size - sent};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
        struct io_op op = {.kind = IO_SEND, .file = &stream->file, .message = &message};

        rc = loop_io(self, &op, "a peer to read");
        if (rc == -EINTR || rc == -EAGAIN)
            rc = 0;
        sent += rc > 0 ? (size_t)rc : 0;
    }
    stream->writing = false;
    if (stream->count > 0)
        loop_at_turn_end(stream->loop, &stream->flush);
    return sent > 0 || rc >= 0 ? (ssize_t)sent : rc;
}

int td_stream_end(td_stream *stream)
{
    if (stream->loop->sched.forked)
        return -EOWNERDEAD;
    return stream->loop->table->sockets->shutdown(stream->loop, stream->file.fd, SHUT_WR);
}

void stream_break(td_stream *stream)
{
    if (!stream->loop->sched.forked)
        (void)stream->loop->table->sockets->shutdown(stream->loop, stream->file.fd, SHUT_RDWR);
}

/* A send under way must end before its blocks and its stream are freed. */
static void end_sending(td_stream *stream)
{
    struct sent_wait waiter = {.wait = {NULL, "a send to be cancelled", 0}, .task = task_self(__func__)};

    list_init(&waiter.link);
    while (stream->sending) {
        if (stream->error == 0)
            stream->error = -EPIPE;  /* sent_some wakes us and starts no other send */
        loop_io_cancel(stream->loop, &stream->send_op);
        if (!stream->sending)
            break;
        list_push_back(&stream->waiters, &waiter.link);
        task_park(waiter.task, &waiter.wait);
    }
}

void td_stream_close(td_stream *stream)
{
    task_self(__func__);
    stream->error = stream->error ? stream->error : -EPIPE;
    end_sending(stream);
    assert(list_empty(&stream->waiters));
    while (stream->count > 0)
        drop_first(stream);
    list_remove(&stream->flush.link);
    loop_forget(stream->loop, &stream->file);
    stream->loop->table->sockets->close(stream->loop, stream->file.fd);
    free(stream->queue);
    free(stream);
}

void stream_close_gently(td_stream *stream, td_time grace_ns)
{
    char sink[SINK_BYTES];
    td_scope scope;

    td_scope_open_shielded(&scope, grace_ns);
    if (stream_wait_sent(stream, 0) == 0 && td_stream_end(stream) == 0)
        while (td_stream_read(stream, sink, sizeof sink) > 0)
            ;
    td_scope_join(&scope);
    td_stream_close(stream);
}
