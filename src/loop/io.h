/* SPDX-License-Identifier: MIT */
/*
 * Input and output as operations that complete: the interface between the loop and its backends.
 *
 * An operation is a struct in its starter's memory, usually on the stack of a parked task. Once started it belongs
 * to the backend until its one terminal completion; cancelling it only hastens that (a kernel write never lands on
 * a dead stack).
 */
#ifndef TANDEM_LOOP_IO_H
#define TANDEM_LOOP_IO_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/list.h"
#include "tandem/time.h"

enum io_kind {
    IO_ACCEPT, IO_CONNECT, IO_RECEIVE, IO_SEND, IO_READ, IO_POLL,
    IO_WRITE,
    IO_RECEIVE_MESSAGE,  /* of a datagram socket; the result is the datagram's size, also when `into` has less room */
    /* Calls: with `call` and no `file`. */
    IO_OPEN, IO_CLOSE, IO_READ_AT, IO_WRITE_AT, IO_SYNC, IO_STAT, IO_TRUNCATE, IO_RENAME, IO_UNLINK, IO_MKDIR,
    IO_RUN,  /* what no kernel has an operation for */
    IO_KINDS
};

#define IO_CALLS IO_OPEN  /* the first of them */

/*
 * The arguments of a call: what may block in the kernel, on a disk, and cannot be polled. A backend that has no such
 * operation answers -ENOSYS at the start, and the loop has one of its threads do it (loop/blocking.h).
 */
struct io_call {
    int fd;                        /* IO_STAT: or AT_FDCWD */
    int flags;                     /* IO_OPEN: open(2)'s; IO_SYNC: 1 for the data alone; IO_STAT, IO_UNLINK: AT_...; IO_RENAME */
    unsigned mode;                 /* IO_OPEN, IO_MKDIR */
    const char *path, *to;
    void *data;
    size_t size;
    int64_t offset;                /* IO_READ_AT, IO_WRITE_AT: or -1, the descriptor's own; IO_TRUNCATE: the length */
    struct statx *status;          /* IO_STAT: STATX_BASIC_STATS and STATX_BTIME are asked for */
    int (*run)(struct io_call *call);  /* IO_RUN: in a thread; returns a result */
};

/*
 * A descriptor as backends see it, made with the backend's file_flags. It stays open while an operation on it is
 * under way.
 */
struct io_file {
    int fd;
    bool registered;               /* epoll: known to the kernel's set */
    bool readable, writable;       /* epoll: worth a try; uring: `readable` when the last receive left more behind */
    bool hung_up;                  /* epoll: end or error seen; reading must be tried, no further edge will come */
    bool receives;                 /* epoll: it is an io_receiver's, which is armed */
    struct io_op *reading, *writing;  /* epoll: parked operations; at most one each way */
};

struct io_op {
    struct td_list link;           /* the backend's */
    enum io_kind kind;
    struct io_file *file;
    void (*done)(struct io_op *op, int result);  /* a count, a descriptor, 0, or a negative errno */
    union {
        struct { void *data; size_t size; } buffer;                    /* IO_RECEIVE, IO_READ, IO_WRITE */
        const struct msghdr *message;                                  /* IO_SEND; MSG_NOSIGNAL is implied */
        struct msghdr *into;                                           /* IO_RECEIVE_MESSAGE */
        struct { const struct sockaddr *at; socklen_t size; } address; /* IO_CONNECT */
        short events;                                                  /* IO_POLL: POLLIN or POLLOUT */
        struct io_call *call;                                          /* from IO_CALLS on */
    };
    void *owner;                   /* the starter's, for `done` */
    size_t *pending;               /* counts operations under way; NULL for background ones */
    int result;
    bool background;               /* does not keep a loop of waiting tasks from being a deadlock */
    bool held;                     /* uring: waiting for room in the submission queue */
    bool cancelled;
    bool to_the_end;               /* its task is not cancelled out of it: closing, say */
};

struct loop;
struct backend;
struct io_receiver;   /* loop/receive.h */
struct socket_table;  /* loop/sockets.h */

struct backend_table {
    const char *name;
    int file_flags;  /* how descriptors are made for it: SOCK_NONBLOCK (the same bit as O_NONBLOCK) or 0 */
    const struct socket_table *sockets;
    /*
     * Returns 0 and *backend, or a negative errno: -ENOSYS, -EPERM, -EACCES mean "not allowed here". *why is a
     * sentence.
     */
    int (*open)(struct backend **backend, const char **why);
    void (*attach)(struct backend *backend, struct loop *loop);  /* called once, after open; may be NULL */
    void (*close)(struct backend *backend);
    /*
     * Starts an operation. True: it is complete already, its result in op->result, and `done` will not be called;
     * for a call, -ENOSYS: somebody else is to do it.
     */
    bool (*start)(struct backend *backend, struct io_op *op);
    /* Asks a started operation to end. `done` is called now or at a later poll, with -ECANCELED or what came first. */
    void (*cancel)(struct backend *backend, struct io_op *op);
    /*
     * Begins receiving, as loop_receive says. False: it has no such thing (any more), and operations do it one by one. Either
     * of these may be NULL.
     */
    bool (*receive)(struct backend *backend, struct io_receiver *receiver);
    void (*receive_stop)(struct backend *backend, struct io_receiver *receiver);
    /* Tells the backend that a descriptor will be closed; nothing is under way on it. */
    void (*forget)(struct backend *backend, struct io_file *file);
    /*
     * Submits, waits up to `wait_ns` (0: not at all; TD_FOREVER: until something completes), and calls `done`s.
     * -EDEADLK: nothing that is under way can complete any more.
     */
    int (*poll)(struct backend *backend, td_time wait_ns);
};

extern const struct backend_table backend_uring, backend_epoll, backend_sim;

static inline void io_file_init(struct io_file *file, int fd)
{
    *file = (struct io_file){.fd = fd, .readable = true, .writable = true};
}

/* How a backend ends an operation that it had not completed at its start. */
static inline void io_finish(struct io_op *op, int result)
{
    if (op->pending)
        --*op->pending;
    op->result = result;
    op->done(op, result);
}

static inline bool io_is_write(const struct io_op *op)
{
    return op->kind == IO_SEND || op->kind == IO_CONNECT || op->kind == IO_WRITE ||
           (op->kind == IO_POLL && (op->events & POLLOUT));
}

/* Does a call here and now, blocking the thread. Returns its result. */
int io_call_now(const struct io_op *op);

#endif
