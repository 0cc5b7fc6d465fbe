/* SPDX-License-Identifier: MIT */
/*
 * What leaves a stream: the queue of blocks, who waits for it to shrink, and writing.
 *
 * Invariants: 1. `bytes` is the sum of the queued blocks' sizes less head_sent. 2. While blocks are queued and
 * there is no error, the kind is sending or the stream is in its loop's list of turn ends, or a task writes. 3. With an
 * error the queue is empty. 4. Blocks below `in_flight` are not touched while the kind is sending.
 */
#include "net/output.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

#define QUEUE_FIRST 4
#define WRITE_BLOCK_MAX (64 * 1024)
#define FLUSH_BYTES (64 * 1024)  /* as much as this leaves before the turn's end, where it can: a burst is no slow peer */

/* A task that waits for the queue to shrink to `bytes`. */
struct sent_wait {
    struct wait wait;
    struct td_list link;
    struct td_task *task;
    size_t bytes;
};

static void flush(struct turn_end *end)
{
    td_stream *stream = container_of(end, td_stream, flush);

    if (stream_may_send(stream))
        stream->kind->flush(stream);
}

void output_init(td_stream *stream)
{
    list_init(&stream->flush.link);
    stream->flush.run = flush;
}

static struct block **place(const td_stream *stream, unsigned i)
{
    return &stream->queue[(stream->head + i) % stream->room];
}

static void drop_first(td_stream *stream)
{
    struct block *block = *place(stream, 0);

    stream->bytes -= block->size - stream->head_sent;
    stream->head_sent = 0;
    stream->head = (stream->head + 1) % stream->room;
    stream->count--;
    stream->first_end -= stream->first_end > 0;
    block_release(block);
    if (stream->count > 0)
        return;
    stream->head = 0;
    free(stream->queue);  /* an idle connection holds nothing */
    stream->queue = NULL;
    stream->room = 0;
}

void output_fini(td_stream *stream)
{
    assert(list_empty(&stream->waiters));
    while (stream->count > 0)
        drop_first(stream);
    free(stream->queue);  /* one that stream_drop_backlog has emptied */
    list_remove(&stream->flush.link);
}

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

static void fail_sending(td_stream *stream, int error)
{
    stream->error = error;
    while (stream->count > 0)
        drop_first(stream);
    /* Posting told nobody, and not every error ends a connection (ENOBUFS): whoever reads is to see that it is over. */
    if (error != -ECANCELED)
        stream_break(stream);
}

static void count_sent(td_stream *stream, size_t sent)
{
    while (sent > 0) {
        size_t left = (*place(stream, 0))->size - stream->head_sent;

        if (sent < left) {
            stream->head_sent += sent;
            stream->bytes -= sent;
            return;
        }
        sent -= left;
        drop_first(stream);
    }
}

void stream_sent(td_stream *stream, ssize_t sent)
{
    if (sent == -EINTR || sent == -EAGAIN)
        return;
    if (sent < 0)
        fail_sending(stream, (int)sent);
    else
        count_sent(stream, (size_t)sent);
    wake_waiters(stream);
    if (stream->on_sent)
        stream->on_sent(stream);
}

unsigned stream_gather(const td_stream *stream, struct iovec *iov, unsigned max)
{
    unsigned n = stream->count < max ? stream->count : max;

    for (unsigned i = 0; i < n; i++) {
        struct block *block = *place(stream, i);
        size_t skip = i == 0 ? stream->head_sent : 0;

        iov[i] = (struct iovec){block->bytes + skip, block->size - skip};
    }
    return n;
}

/* Before a block is refused: what can leave at once does not count. Returns 0, or what sending failed with. */
static int flush_now(td_stream *stream)
{
    while (stream->kind->send_now && stream_may_send(stream)) {
        ssize_t n = stream->kind->send_now(stream);

        if (n == -EAGAIN)
            break;
        stream_sent(stream, n);
    }
    return stream->error;
}

static int grow(td_stream *stream)
{
    unsigned room = stream->room ? stream->room * 2 : QUEUE_FIRST;
    struct block **queue = malloc(room * sizeof(struct block *));

    if (!queue)
        return -ENOMEM;
    for (unsigned i = 0; i < stream->count; i++)
        queue[i] = *place(stream, i);
    free(stream->queue);
    stream->queue = queue;
    stream->head = 0;
    stream->room = room;
    return 0;
}

/* Room for one more block. Returns 0 or a negative errno. */
static int prepare(td_stream *stream)
{
    if (stream->loop->sched.forked)
        return -EOWNERDEAD;  /* it would speak on its parent's socket */
    if (stream->error)
        return stream->error;
    return stream->count == stream->room ? grow(stream) : 0;
}

static void enqueued(td_stream *stream, struct block *block)
{
    block->refs++;
    stream->count++;
    stream->bytes += block->size;
    if (!stream->sending)
        loop_at_turn_end(stream->loop, &stream->flush);
}

static bool is_too_much(const td_stream *stream, const struct block *block, size_t bytes_max)
{
    size_t charge = stream_charge(stream) + STREAM_BLOCK_BYTES;

    return stream->count > 0 && (charge > bytes_max || block->size > bytes_max - charge);
}

int stream_post(td_stream *stream, struct block *block, size_t bytes_max)
{
    int rc;

    if (!stream->error && is_too_much(stream, block, bytes_max)) {
        rc = stream->loop->sched.forked ? -EOWNERDEAD : flush_now(stream);
        if (rc < 0)
            return rc;
        if (is_too_much(stream, block, bytes_max))
            return -EBUSY;
    }
    rc = prepare(stream);
    if (rc < 0 || block->size == 0)
        return rc;
    *place(stream, stream->count) = block;
    enqueued(stream, block);
    if (stream->bytes >= FLUSH_BYTES && !stream->on_sent)  /* who is told of what left is not told within the post */
        (void)flush_now(stream);
    return 0;
}

/* The newest instead of the last that was posted first and has not left; its size is taken off, and the new one's added. */
static int replace_first(td_stream *stream, struct block *block)
{
    struct block **at = place(stream, stream->first_end - 1);

    stream->bytes += block->size - (*at)->size;
    block_release(*at);
    block->refs++;
    *at = block;
    return 0;
}

int stream_post_first(td_stream *stream, struct block *block)
{
    int rc = prepare(stream);
    unsigned fixed = stream_fixed(stream), at = stream_data_at(stream);

    if (rc < 0 || block->size == 0)
        return rc;
    if (at - fixed >= STREAM_FIRST_MAX)
        return replace_first(stream, block);
    /* What is before it, which is little, moves; not what is behind. */
    stream->head = (stream->head + stream->room - 1) % stream->room;
    for (unsigned i = 0; i < at; i++)
        *place(stream, i) = *place(stream, i + 1);
    *place(stream, at) = block;
    stream->first_end = at + 1;
    enqueued(stream, block);
    return 0;
}

size_t stream_drop_oldest(td_stream *stream)
{
    unsigned at = stream_data_at(stream);
    struct block *block;
    size_t size;

    if (at >= stream->count)
        return 0;
    block = *place(stream, at);
    size = block->size;
    for (unsigned i = at; i > 0; i--)
        *place(stream, i) = *place(stream, i - 1);
    stream->head = (stream->head + 1) % stream->room;
    stream->count--;
    stream->bytes -= size;
    block_release(block);
    wake_waiters(stream);
    return size;
}

void stream_drop_backlog(td_stream *stream, bool keep_last)
{
    unsigned keep = stream_fixed(stream);
    struct block *last = NULL;

    if (keep_last && stream->count > keep)
        last = *place(stream, --stream->count);
    while (stream->count > keep) {
        struct block *block = *place(stream, --stream->count);

        stream->bytes -= block->size;
        block_release(block);
    }
    if (last)
        *place(stream, stream->count++) = last;
    stream->first_end = stream->first_end < keep ? stream->first_end : keep;
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

/* Through the queue, in pieces. */
static ssize_t write_queued(td_stream *stream, const void *data, size_t size)
{
    size_t posted = 0, part = 0, before;
    int rc = 0;

    while (rc >= 0 && posted < size) {
        struct block *block;

        part = size - posted < WRITE_BLOCK_MAX ? size - posted : WRITE_BLOCK_MAX;
        block = block_new(part);
        if (!block) {
            rc = -ENOMEM;
            break;
        }
        memcpy(block->bytes, (const char *)data + posted, part);
        rc = stream_post(stream, block, SIZE_MAX);
        block_release(block);
        if (rc < 0)
            break;
        rc = stream_wait_sent(stream, 0);
        posted += rc < 0 && stream->error ? 0 : part;  /* of a piece that met an error nobody knows how much is out */
    }
    before = stream->bytes;
    if (rc < 0 && before > 0) {
        stream_drop_backlog(stream, false);  /* has not been written, and is not going to be; what is under way will be */
        posted -= before - stream->bytes;
    }
    return posted > 0 || rc >= 0 ? (ssize_t)posted : rc;
}

ssize_t td_stream_write(td_stream *stream, const void *data, size_t size)
{
    int rc = stream_wait_sent(stream, 0);
    ssize_t n;

    if (rc < 0)
        return rc;
    if (stream->writing)
        fail("td_stream_write: another task is writing to this stream; let one task write, or a channel order them");
    if (!stream->kind->write)
        return write_queued(stream, data, size);
    stream->writing = true;
    n = stream->kind->write(stream, data, size);
    stream->writing = false;
    if (stream->count > 0)
        loop_at_turn_end(stream->loop, &stream->flush);
    return n;
}
