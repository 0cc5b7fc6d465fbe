/* SPDX-License-Identifier: MIT */
/*
 * Files over streams. To a socket the kernel sends the file's pages itself (sendfile). It would wait for the disk where they are
 * not in memory, and the loop with it; so that is asked first (cachestat, Linux 6.5), and what is missing, or where nobody
 * knows, a thread of the loop's reads before. Other streams get the bytes as they get all others.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fail.h"
#include "loop/sim.h"
#include "net/stream.h"

#define PIECE_BYTES (256 * 1024)
#define PIECES_IN_A_ROW 4         /* then others have their turn */
#define COPY_BYTES (64 * 1024)
#define CACHESTAT 451             /* the same number on every machine; the C library does not name it yet */

struct sending {
    td_stream *stream;
    struct io_file *socket;
    struct loop *loop;
    int fd;
    int64_t offset;
    size_t left;
    unsigned in_a_row;
    struct io_call call;          /* of the thread that reads a piece */
};

static size_t piece(const struct sending *sending)
{
    return sending->left < PIECE_BYTES ? sending->left : PIECE_BYTES;
}

/* Whether the next piece is in memory, as far as the file goes; false, too, when nobody knows. */
static bool is_cached(const struct sending *sending)
{
    struct { uint64_t offset, size; } range = {(uint64_t)sending->offset, piece(sending)};
    struct { uint64_t cached, dirty, writeback, evicted, recently_evicted; } state;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), pages = (range.offset + range.size + page - 1) / page - range.offset / page;

    return syscall(CACHESTAT, sending->fd, &range, &state, 0) == 0 && state.cached >= pages;
}

/* In a thread: the bytes are read and forgotten, and their pages stay. */
static int warm_up(struct io_call *call)
{
    const struct sending *sending = container_of(call, struct sending, call);
    char sink[COPY_BYTES];
    size_t done = 0, size = piece(sending);
    ssize_t n = 1;

    while (done < size && n > 0) {
        n = pread(sending->fd, sink, size - done < sizeof sink ? size - done : sizeof sink, sending->offset + (int64_t)done);
        if (n < 0 && errno == EINTR)
            n = 1;
        else
            done += n > 0 ? (size_t)n : 0;
    }
    return n < 0 ? -errno : 0;
}

static int make_warm(struct sending *sending, struct td_task *self)
{
    struct io_op op = {.kind = IO_RUN, .call = &sending->call};

    if (is_cached(sending))
        return 0;
    sending->call = (struct io_call){.run = warm_up};
    return loop_io(self, &op, "a file to be read");
}

/*
 * sendfile(2) waits where the socket does, and with io_uring sockets do. Nothing else on the socket begins or goes on within
 * these calls: operations of the ring are carried out when the loop enters it.
 */
static ssize_t send_piece(struct sending *sending)
{
    bool blocks = !(sending->loop->table->file_flags & O_NONBLOCK);
    int flags = blocks ? fcntl(sending->socket->fd, F_GETFL) : 0;
    off_t offset = sending->offset;
    ssize_t n;

    if (flags < 0 || (blocks && fcntl(sending->socket->fd, F_SETFL, flags | O_NONBLOCK) < 0))
        return -errno;
    n = sendfile(sending->socket->fd, sending->fd, &offset, piece(sending));
    n = n < 0 ? -errno : n;
    if (blocks)
        (void)fcntl(sending->socket->fd, F_SETFL, flags);
    return n;
}

static int wait_for_room(struct sending *sending, struct td_task *self)
{
    struct io_op op = {.kind = IO_POLL, .file = sending->socket, .events = POLLOUT};

    return loop_io(self, &op, "a peer to read");
}

/* Returns 1 while there may be more to send; 0 at the file's end; an error. */
static int step(struct sending *sending, struct td_task *self)
{
    int rc = ++sending->in_a_row % PIECES_IN_A_ROW == 0 ? td_yield() : task_checkpoint(self);
    ssize_t n;

    if (rc == 0)
        rc = make_warm(sending, self);
    if (rc < 0)
        return rc;
    n = send_piece(sending);
    if (n == -EAGAIN || n == -EINTR) {
        rc = n == -EAGAIN ? wait_for_room(sending, self) : 0;
        return rc < 0 ? rc : 1;
    }
    if (n <= 0)
        return (int)n;
    sending->offset += n;
    sending->left -= (size_t)n;
    return 1;
}

/* -EINVAL: the kernel cannot send this kind of file itself. */
static ssize_t send_by_kernel(struct sending *sending, size_t size)
{
    struct td_task *self = task_self("td_stream_send_file");
    td_stream *stream = sending->stream;
    int rc = stream_wait_sent(stream, 0);

    if (rc < 0)
        return rc;
    if (stream->writing)
        fail("td_stream_send_file: another task is writing to this stream; let one task write, or a channel order them");
    stream->writing = true;
    for (rc = 1; rc > 0 && sending->left > 0;)
        rc = step(sending, self);
    stream->writing = false;
    if (stream->count > 0)
        loop_at_turn_end(stream->loop, &stream->flush);
    return sending->left < size || rc >= 0 ? (ssize_t)(size - sending->left) : rc;
}

static int read_piece(struct sending *sending, struct td_task *self, void *data, size_t room)
{
    int rc;

    do {
        struct io_call call = {.fd = sending->fd, .data = data, .size = sending->left < room ? sending->left : room,
                               .offset = sending->offset};
        struct io_op op = {.kind = IO_READ_AT, .call = &call};

        rc = loop_io(self, &op, "a file to be read");
    } while (rc == -EINTR);
    return rc;
}

static ssize_t send_copies(struct sending *sending, size_t size)
{
    struct td_task *self = task_self("td_stream_send_file");
    char *data = malloc(COPY_BYTES);
    ssize_t n = 0, sent = 0;

    if (!data)
        return -ENOMEM;
    while (sending->left > 0 && (n = read_piece(sending, self, data, COPY_BYTES)) > 0) {
        sent = td_stream_write(sending->stream, data, (size_t)n);
        if (sent > 0) {
            sending->offset += sent;
            sending->left -= (size_t)sent;
        }
        if (sent < n)
            break;
    }
    free(data);
    n = n < 0 ? n : sent < 0 ? sent : 0;
    return sending->left < size || n >= 0 ? (ssize_t)(size - sending->left) : n;
}

ssize_t td_stream_send_file(td_stream *stream, int fd, int64_t offset, size_t size)
{
    struct sending sending = {.stream = stream, .loop = stream->loop, .fd = fd, .offset = offset, .left = size,
                              .socket = stream_socket(stream)};
    ssize_t n;

    if (offset < 0 || size > (size_t)(INT64_MAX - offset))
        return -EINVAL;
    if (!sending.socket || loop_is_simulated(sending.loop))
        return send_copies(&sending, size);
    n = send_by_kernel(&sending, size);
    return n == -EINVAL || n == -ENOSYS ? send_copies(&sending, size) : n;
}
