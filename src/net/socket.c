/* SPDX-License-Identifier: MIT */
/*
 * The stream of a socket.
 *
 * Invariants: 1. A sender is taken from the loop exactly while `sending`. 2. When `closing`, the stream's owner is a task that
 * is parked until nothing is under way.
 */
#include <errno.h>
#include <stdlib.h>

#include "net/stream.h"

#define FLUSH_CALLS 16  /* in one go, before others get their turn */

struct socket_stream {
    td_stream stream;
    struct io_receiver receiver;
    struct io_sender *sender;
};

static struct socket_stream *socket_of(td_stream *stream)
{
    return container_of(stream, struct socket_stream, stream);
}

static void wake_closer(struct socket_stream *socket)
{
    if (!socket->stream.closing || socket->receiver.armed || socket->stream.sending)
        return;
    socket->stream.closing = false;  /* once */
    task_unpark(socket->stream.owner, 0);
}

static void came(struct io_receiver *receiver, struct input *input, int result)
{
    struct socket_stream *socket = container_of(receiver, struct socket_stream, receiver);
    td_stream *stream = &socket->stream;

    if (input)
        stream_input_came(stream, input);
    else if (result == -ECANCELED && stream->reading)
        loop_receive(stream->loop, receiver);  /* it was stopped, and is wanted again */
    else if (result != -ECANCELED)
        stream_input_ended(stream, result);
    wake_closer(socket);
}

static void socket_read(td_stream *stream, bool on)
{
    struct socket_stream *socket = socket_of(stream);

    if (!on)
        loop_receive_stop(stream->loop, &socket->receiver);
    else if (!socket->receiver.armed)
        loop_receive(stream->loop, &socket->receiver);
}

static void socket_flush(td_stream *stream);

static void give_sender(struct socket_stream *socket)
{
    socket->stream.sending = false;
    loop_sender_give(socket->stream.loop, socket->sender);
    socket->sender = NULL;
}

static void sent(struct io_op *op, int result)
{
    struct socket_stream *socket = op->owner;

    give_sender(socket);
    stream_sent(&socket->stream, result);
    wake_closer(socket);
    if (stream_may_send(&socket->stream))
        socket_flush(&socket->stream);
}

static void socket_flush(td_stream *stream)
{
    struct socket_stream *socket = socket_of(stream);

    for (int calls = 0; stream_may_send(stream); calls++) {
        struct io_sender *sender = calls < FLUSH_CALLS ? loop_sender_take(stream->loop) : NULL;

        if (!sender) {
            if (calls < FLUSH_CALLS)
                stream_sent(stream, -ENOMEM);
            else
                loop_at_turn_end(stream->loop, &stream->flush);
            return;
        }
        stream->in_flight = stream_gather(stream, sender->iov, SENDER_IOV);
        sender->message = (struct msghdr){.msg_iov = sender->iov, .msg_iovlen = stream->in_flight};
        sender->op = (struct io_op){.kind = IO_SEND, .file = &socket->receiver.file, .done = sent, .owner = socket,
                                    .message = &sender->message};
        stream->sending = true;
        socket->sender = sender;
        if (!loop_io_start(stream->loop, &sender->op))
            return;
        give_sender(socket);
        stream_sent(stream, sender->op.result);
    }
}

static ssize_t socket_write(td_stream *stream, const void *data, size_t size)
{
    struct td_task *self = task_self("td_stream_write");
    size_t done = 0;
    int rc = 0;

    while (rc >= 0 && done < size) {
        struct iovec iov = {(char *)(uintptr_t)data + done, size - done};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
        struct io_op op = {.kind = IO_SEND, .file = &socket_of(stream)->receiver.file, .message = &message};

        rc = loop_io(self, &op, "a peer to read");
        if (rc == -EINTR || rc == -EAGAIN)
            rc = 0;
        done += rc > 0 ? (size_t)rc : 0;
    }
    return done > 0 || rc >= 0 ? (ssize_t)done : rc;
}

static ssize_t socket_send_now(td_stream *stream)
{
    struct iovec iov[SENDER_IOV];
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = stream_gather(stream, iov, SENDER_IOV)};
    ssize_t n = stream->loop->table->sockets->send_now(stream->loop, socket_of(stream)->receiver.file.fd, &message);

    return n == -EINTR ? -EAGAIN : n;
}

static int socket_end(td_stream *stream)
{
    return stream->loop->table->sockets->shutdown(stream->loop, socket_of(stream)->receiver.file.fd, SHUT_WR);
}

static void socket_abort(td_stream *stream)
{
    (void)stream->loop->table->sockets->shutdown(stream->loop, socket_of(stream)->receiver.file.fd, SHUT_RDWR);
}

static void socket_close(td_stream *stream)
{
    struct socket_stream *socket = socket_of(stream);
    struct wait wait = {NULL, "a socket's operations to be cancelled", 0};

    stream->reading = false;
    stream->input_end = stream->input_end > 0 ? -EPIPE : stream->input_end;
    loop_receive_stop(stream->loop, &socket->receiver);
    if (stream->sending)
        loop_io_cancel(stream->loop, &socket->sender->op);
    if (socket->receiver.armed || stream->sending) {
        stream->owner = task_self("td_stream_close");
        stream->closing = true;
        stream->loop->io_pending++;  /* it does end */
        (void)task_park(stream->owner, &wait);
        stream->loop->io_pending--;
    }
    loop_forget(stream->loop, &socket->receiver.file);
    stream->loop->table->sockets->close(stream->loop, socket->receiver.file.fd);
    stream_fini(stream);
    free(socket);
}

static const struct stream_kind kind = {
    .name = "socket",
    .read = socket_read,
    .flush = socket_flush,
    .write = socket_write,
    .send_now = socket_send_now,
    .end = socket_end,
    .abort = socket_abort,
    .close = socket_close,
};

int stream_adopt(struct loop *loop, int fd, td_stream **out)
{
    struct socket_stream *socket = calloc(1, sizeof *socket);

    if (!socket) {
        loop->table->sockets->close(loop, fd);
        return -ENOMEM;
    }
    loop->table->sockets->tune(loop, fd);  /* written once a turn, so Nagle's algorithm could only delay */
    stream_init(&socket->stream, &kind, loop);
    io_file_init(&socket->receiver.file, fd);
    socket->receiver.came = came;
    *out = &socket->stream;
    return 0;
}

struct io_file *stream_socket(td_stream *stream)
{
    return stream->kind == &kind ? &socket_of(stream)->receiver.file : NULL;
}
