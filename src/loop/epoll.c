/* SPDX-License-Identifier: MIT */
/*
 * The epoll backend. Each descriptor is registered once, edge-triggered, when an operation on it first has to wait.
 *
 * Invariants: 1. While `readable` is false and nothing hung up, the kernel has been read dry since its last edge,
 * so an edge will come with the next byte: a receive need not be tried in vain. A short read proves dryness as
 * EAGAIN does, except for an end of stream that may lie behind it: its edge sets `hung_up`, which stays. 2. The
 * same for `writable`, without the hang-up. 3. An armed receiver whose file is `readable` is in `unread`, unless it is just
 * being read.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "loop/receive.h"
#include "loop/sockets.h"

#define EVENTS_MAX 256
#define CACHED_BYTES_MAX (64 * 1024)
#define READS_MAX 16  /* of one receiver in one go, before others get their turn */

struct backend {
    int fd;
    struct inbox inbox;
    struct io_receiver *unread;  /* there is more to read: no edge will come for it */
    struct io_receiver *turn;    /* of those, whose turn it is now */
    struct epoll_event events[EVENTS_MAX];
};

static int epoll_backend_open(struct backend **backend, const char **why)
{
    struct backend *self = calloc(1, sizeof *self);

    *why = "setting up the event set";
    if (!self)
        return -ENOMEM;
    self->fd = epoll_create1(EPOLL_CLOEXEC);
    if (self->fd < 0) {
        int rc = -errno;

        free(self);
        return rc;
    }
    *backend = self;
    return 0;
}

static void epoll_backend_close(struct backend *self)
{
    close(self->fd);
    inbox_close(&self->inbox);
    free(self);
}

static int poll_now(const struct io_op *op)
{
    struct pollfd ask = {.fd = op->file->fd, .events = op->events};
    int rc;

    do
        rc = poll(&ask, 1, 0);
    while (rc < 0 && errno == EINTR);
    if (rc > 0 && (ask.revents & POLLNVAL))
        return -EBADF;
    return rc < 0 ? -errno : rc == 0 ? -EAGAIN : 0;
}

/* connect(2) again tells the outcome of a pending connection: EALREADY while it is pending, EISCONN when it stands. */
static int connect_now(const struct io_op *op)
{
    if (connect(op->file->fd, op->address.at, op->address.size) == 0 || errno == EISCONN)
        return 0;
    /* A Unix socket whose listener's backlog is full: nothing will tell when there is room. */
    if (errno == EAGAIN)
        return -EBUSY;
    return errno == EINPROGRESS || errno == EALREADY ? -EAGAIN : -errno;
}

/* Tries the operation. Returns its result, or -EAGAIN. */
static int attempt(struct io_op *op)
{
    struct io_file *file = op->file;
    ssize_t n = -1;

    do {
        switch (op->kind) {
        case IO_ACCEPT:
            n = accept4(file->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            break;
        case IO_RECEIVE:
            n = recv(file->fd, op->buffer.data, op->buffer.size, MSG_DONTWAIT);
            break;
        case IO_READ:
            n = read(file->fd, op->buffer.data, op->buffer.size);
            break;
        case IO_RECEIVE_MESSAGE:
            n = recvmsg(file->fd, op->into, MSG_DONTWAIT | MSG_TRUNC);
            break;
        case IO_SEND:
            n = sendmsg(file->fd, op->message, MSG_DONTWAIT | MSG_NOSIGNAL);
            break;
        case IO_WRITE:
            n = write(file->fd, op->buffer.data, op->buffer.size);
            break;
        case IO_CONNECT:
            return connect_now(op);
        case IO_POLL:
            return poll_now(op);
        default:
            assert(!"no such operation");
        }
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}

/* Invariant 1: what this outcome says about the next try. */
static void learn(struct io_op *op, int result)
{
    struct io_file *file = op->file;

    if (result == -EAGAIN)
        *(io_is_write(op) ? &file->writable : &file->readable) = false;
    else if (op->kind == IO_RECEIVE && result > 0 && (size_t)result < op->buffer.size)
        file->readable = false;
}

static bool worth_trying(const struct io_op *op)
{
    const struct io_file *file = op->file;

    if (op->kind == IO_CONNECT || op->kind == IO_POLL)
        return true;  /* their first step is the try itself */
    return file->hung_up || (io_is_write(op) ? file->writable : file->readable);
}

static int register_file(struct backend *self, struct io_file *file)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = file};

    if (file->registered)
        return 0;
    if (epoll_ctl(self->fd, EPOLL_CTL_ADD, file->fd, &event) < 0)
        return -errno;
    file->registered = true;
    return 0;
}

/* The size as far as it is known without asking a server. */
static bool ends_at(int fd, int64_t offset)
{
    struct statx status;

    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &status) == 0 && (int64_t)status.stx_size == offset;
}

/*
 * What the page cache has needs no thread; small, so that copying it does not hold the loop. A short read that is not
 * the file's end only means that the cache lacks the rest.
 */
static bool read_cached(struct io_op *op)
{
    const struct io_call *call = op->call;
    struct iovec into = {call->data, call->size};
    ssize_t n;

    if (op->kind != IO_READ_AT || call->offset < 0 || call->size > CACHED_BYTES_MAX)
        return false;
    n = preadv2(call->fd, &into, 1, call->offset, RWF_NOWAIT);
    op->result = (int)n;
    return n > 0 && ((size_t)n == call->size || ends_at(call->fd, call->offset + n));
}

static bool start_call(struct io_op *op)
{
    if (!read_cached(op))
        op->result = -ENOSYS;
    return true;
}

static bool epoll_backend_start(struct backend *self, struct io_op *op)
{
    struct io_file *file = op->file;
    struct io_op **slot;

    if (op->kind >= IO_CALLS)
        return start_call(op);
    slot = io_is_write(op) ? &file->writing : &file->reading;
    assert(!*slot);
    op->result = -EAGAIN;
    if (worth_trying(op)) {
        op->result = attempt(op);
        learn(op, op->result);
    }
    if (op->result != -EAGAIN)
        return true;
    op->result = register_file(self, file);
    if (op->result < 0)
        return true;
    *slot = op;
    return false;
}

static void epoll_backend_cancel(struct backend *self, struct io_op *op)
{
    struct io_file *file = op->file;

    *(io_is_write(op) ? &file->writing : &file->reading) = NULL;
    io_finish(op, -ECANCELED);
}

static void epoll_backend_forget(struct backend *self, struct io_file *file)
{
    assert(!file->reading && !file->writing);
    if (file->registered)
        (void)epoll_ctl(self->fd, EPOLL_CTL_DEL, file->fd, NULL);  /* a shared descriptor outlives our close */
    file->registered = false;
}

static void progress(struct io_op **slot)
{
    struct io_op *op = *slot;
    int result;

    if (!op)
        return;
    result = attempt(op);
    learn(op, result);
    if (result == -EAGAIN)
        return;
    *slot = NULL;
    io_finish(op, result);
}

static void leave_unread(struct backend *self, struct io_receiver *receiver)
{
    if (receiver->queued)
        return;
    receiver->queued = true;
    receiver->next = self->unread;
    self->unread = receiver;
}

static void receiving_over(struct io_receiver *receiver, int result)
{
    receiver->file.receives = false;
    receive_over(receiver, result);
}

/* One read. Returns false when there is nothing more, or receiving is over. */
static bool receive_some(struct backend *self, struct io_receiver *receiver)
{
    struct input *input = inbox_take(&self->inbox);
    ssize_t n;

    if (!input) {
        leave_unread(self, receiver);
        return false;
    }
    do
        n = recv(receiver->file.fd, input->bytes, input->room, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        bool full = (size_t)n == input->room;

        receiver->file.readable = full || receiver->file.hung_up;
        input->end = (uint32_t)n;
        receiver->came(receiver, input, (int)n);
        return receiver->armed && receiver->file.readable;
    }
    n = n < 0 ? -errno : 0;
    input_free(input);
    receiver->file.readable = false;
    if (n != -EAGAIN)
        receiving_over(receiver, (int)n);
    return false;
}

static void receive(struct backend *self, struct io_receiver *receiver)
{
    for (int n = 0; n < READS_MAX; n++)
        if (!receive_some(self, receiver))
            return;
    leave_unread(self, receiver);
}

static void receive_edge(struct backend *self, struct io_receiver *receiver)
{
    if (!receiver->queued)  /* else its turn comes */
        receive(self, receiver);
}

static void unqueue(struct backend *self, struct io_receiver *receiver)
{
    struct io_receiver **at = &self->unread;

    while (*at && *at != receiver)
        at = &(*at)->next;
    for (at = *at ? at : &self->turn; *at != receiver; at = &(*at)->next)
        ;
    *at = receiver->next;
    receiver->queued = false;
}

static bool epoll_backend_receive(struct backend *self, struct io_receiver *receiver)
{
    int rc = register_file(self, &receiver->file);

    receiver->file.receives = true;
    if (rc < 0)
        receiving_over(receiver, rc);
    else if (receiver->file.readable || receiver->file.hung_up)
        leave_unread(self, receiver);
    return true;
}

static void epoll_backend_stop(struct backend *self, struct io_receiver *receiver)
{
    if (receiver->queued)
        unqueue(self, receiver);
    receiving_over(receiver, -ECANCELED);
}

/* Each once: what is left comes in the next turn. */
static void receive_unread(struct backend *self)
{
    struct io_receiver *receiver;

    self->turn = self->unread;
    self->unread = NULL;
    while ((receiver = self->turn)) {
        self->turn = receiver->next;
        receiver->queued = false;
        receive(self, receiver);
    }
}

static bool may_receive(const struct backend *self)
{
    return self->unread && (self->inbox.free || self->inbox.made < INPUTS_MAX);
}

static int wait_for_events(struct backend *self, td_time wait_ns)
{
    struct timespec timeout = {.tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000};
    int count = epoll_pwait2(self->fd, self->events, EVENTS_MAX, wait_ns == TD_FOREVER ? NULL : &timeout, NULL);

    if (count < 0 && (errno == ENOSYS || errno == EPERM)) {
        /* Linux before 5.11, or a sandbox older than that (it says EPERM): milliseconds, rounded up so as not to spin. */
        int ms = wait_ns == TD_FOREVER ? -1 : wait_ns > 2000000000000 ? 2000000 : (int)((wait_ns + 999999) / 1000000);

        count = epoll_wait(self->fd, self->events, EVENTS_MAX, ms);
    }
    return count < 0 && errno != EINTR ? -errno : count < 0 ? 0 : count;
}

static int epoll_backend_poll(struct backend *self, td_time wait_ns)
{
    int count = wait_for_events(self, may_receive(self) ? 0 : wait_ns);

    if (count < 0)
        return count;
    if (may_receive(self))
        receive_unread(self);
    for (int i = 0; i < count; i++) {
        struct io_file *file = self->events[i].data.ptr;
        uint32_t events = self->events[i].events;

        if (events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP | EPOLLERR))
            file->readable = true;
        if (events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR))
            file->hung_up = true;
        if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
            file->writable = true;
        /*
         * A completion only makes tasks ready or runs the library's own callbacks, none of which frees a file here:
         * files are closed by tasks, which run later. So the events behind this one still point to living files.
         */
        if (file->readable && file->receives)
            receive_edge(self, container_of(file, struct io_receiver, file));
        else if (file->readable)
            progress(&file->reading);
        if (file->writable)
            progress(&file->writing);
    }
    return 0;
}

const struct backend_table backend_epoll = {
    .name = "epoll",
    .file_flags = SOCK_NONBLOCK,
    .sockets = &sockets_of_kernel,
    .open = epoll_backend_open,
    .close = epoll_backend_close,
    .start = epoll_backend_start,
    .cancel = epoll_backend_cancel,
    .receive = epoll_backend_receive,
    .receive_stop = epoll_backend_stop,
    .forget = epoll_backend_forget,
    .poll = epoll_backend_poll,
};
