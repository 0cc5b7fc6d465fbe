/* SPDX-License-Identifier: MIT */
/*
 * The io_uring backend: one io_uring_enter a loop turn submits everything and collects everything.
 *
 * Operations for which the submission queue has no room are held in a list and submitted in order. A wait ends only
 * on its terminal completion: cancelling submits a cancel and keeps waiting.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "loop/sockets.h"
#include "loop/uring.h"

#define SUBMISSIONS 1024
#define COMPLETIONS 8192
#define BATCH 256
#define OP_FTRUNCATE 55   /* IORING_OP_FTRUNCATE, which liburing 2.3 does not name yet */

struct backend {
    struct io_uring ring;
    struct td_list held;     /* operations that wait for room in the submission queue */
    struct td_list cancels;  /* operations whose cancel waits for room */
    bool poll_first;         /* the kernel knows IORING_RECVSEND_POLL_FIRST (5.19, as COOP_TASKRUN) */
    bool has[IO_KINDS];      /* calls that the kernel has an operation for */
    struct uring_receive receive;
};

static const enum io_uring_op wanted_ops[] = {IORING_OP_CONNECT, IORING_OP_RECV,
                                              IORING_OP_SEND, IORING_OP_SENDMSG, IORING_OP_RECVMSG,
                                              IORING_OP_READ, IORING_OP_WRITE, IORING_OP_POLL_ADD,
                                              IORING_OP_ASYNC_CANCEL};

/* One by one: the oldest are from Linux 5.1, the youngest is from 6.9, and a thread does what is missing. */
static const struct {
    enum io_kind kind;
    int op;
} call_ops[] = {
    {IO_OPEN, IORING_OP_OPENAT},     {IO_CLOSE, IORING_OP_CLOSE},     {IO_READ_AT, IORING_OP_READ},
    {IO_WRITE_AT, IORING_OP_WRITE},  {IO_SYNC, IORING_OP_FSYNC},      {IO_STAT, IORING_OP_STATX},
    {IO_TRUNCATE, OP_FTRUNCATE},     {IO_RENAME, IORING_OP_RENAMEAT}, {IO_UNLINK, IORING_OP_UNLINKAT},
    {IO_MKDIR, IORING_OP_MKDIRAT},
};

static int probe(struct backend *self, const char **why)
{
    struct io_uring *ring = &self->ring;
    struct io_uring_probe *found = io_uring_get_probe_ring(ring);
    int rc = 0;

    if (!found) {
        *why = "the kernel does not say which operations it has";
        return -ENOSYS;
    }
    for (size_t i = 0; i < sizeof wanted_ops / sizeof *wanted_ops; i++)
        if (!io_uring_opcode_supported(found, (int)wanted_ops[i]))
            rc = -ENOSYS;
    for (size_t i = 0; i < sizeof call_ops / sizeof *call_ops; i++)
        self->has[call_ops[i].kind] = io_uring_opcode_supported(found, call_ops[i].op);
    io_uring_free_probe(found);
    if (rc == 0 && !(ring->features & IORING_FEAT_EXT_ARG))
        rc = -ENOSYS;
    if (rc < 0)
        *why = "the kernel's io_uring lacks an operation we need (Linux 5.11 has them)";
    return rc;
}

/* Why there is no ring; *rc becomes -EPERM where it is a limit of this process that forbids one. */
static const char *refusal(int *rc)
{
    struct rlimit locked;

    if (*rc == -EMFILE || *rc == -ENFILE)
        return "no descriptor is left (ulimit -n)";
    if (*rc == -ENOMEM && getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur != RLIM_INFINITY) {
        *rc = -EPERM;
        return "its rings need more locked memory than this process may have (ulimit -l)";
    }
    return "io_uring_setup (sysctl kernel.io_uring_disabled, or a container's seccomp profile, forbids it)";
}

static int open_ring(struct io_uring *ring, bool *poll_first, const char **why)
{
    /* The ladder: completions when we ask for them; without interrupting the task; plain. */
    static const unsigned ladder[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_COOP_TASKRUN,
        0,
    };
    int rc = -ENOSYS;

    for (size_t i = 0; i < sizeof ladder / sizeof *ladder; i++) {
        struct io_uring_params params = {.flags = ladder[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                         .cq_entries = COMPLETIONS};

        rc = io_uring_queue_init_params(SUBMISSIONS, ring, &params);
        *poll_first = ladder[i] != 0;
        if (rc != -EINVAL)
            break;
    }
    if (rc < 0)
        *why = refusal(&rc);
    return rc;
}

/* A profile may allow rings and forbid their use: one call that does nothing tells. */
static int try_enter(struct io_uring *ring, const char **why)
{
    int rc = io_uring_submit_and_get_events(ring);

    *why = "io_uring_enter (a container's seccomp profile forbids it)";
    return rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY ? rc : 0;
}

static int uring_open(struct backend **backend, const char **why)
{
    struct backend *self = calloc(1, sizeof *self);
    int rc;

    if (!self) {
        *why = "out of memory";
        return -ENOMEM;
    }
    list_init(&self->held);
    list_init(&self->cancels);
    rc = open_ring(&self->ring, &self->poll_first, why);
    if (rc < 0)
        goto release;
    rc = probe(self, why);
    if (rc == 0)
        rc = try_enter(&self->ring, why);
    if (rc < 0)
        goto close_ring;
    /* A forked child must not share the rings. */
    rc = io_uring_ring_dontfork(&self->ring);
    if (rc < 0) {
        *why = "keeping the rings from forked children";
        goto close_ring;
    }
    uring_receive_open(&self->receive, &self->ring);
    *backend = self;
    return 0;

close_ring:
    io_uring_queue_exit(&self->ring);
release:
    free(self);
    return rc;
}

static void uring_attach(struct backend *self, struct loop *loop)
{
    self->receive.loop = loop;
}

static void uring_close(struct backend *self)
{
    io_uring_queue_exit(&self->ring);
    uring_receive_close(&self->receive);
    free(self);
}

static struct io_uring_sqe *room(struct backend *self)
{
    return uring_room(&self->ring);
}

static void prepare_call(struct io_uring_sqe *sqe, const struct io_op *op)
{
    const struct io_call *call = op->call;

    switch (op->kind) {
    case IO_OPEN:
        io_uring_prep_openat(sqe, AT_FDCWD, call->path, call->flags, call->mode);
        break;
    case IO_CLOSE:
        io_uring_prep_close(sqe, call->fd);
        break;
    case IO_READ_AT:
        io_uring_prep_read(sqe, call->fd, call->data, (unsigned)call->size, (__u64)call->offset);
        break;
    case IO_WRITE_AT:
        io_uring_prep_write(sqe, call->fd, call->data, (unsigned)call->size, (__u64)call->offset);
        break;
    case IO_SYNC:
        io_uring_prep_fsync(sqe, call->fd, call->flags ? IORING_FSYNC_DATASYNC : 0);
        break;
    case IO_STAT:
        io_uring_prep_statx(sqe, call->fd, call->path, call->flags, STATX_BASIC_STATS | STATX_BTIME, call->status);
        break;
    case IO_TRUNCATE:
        io_uring_prep_rw(OP_FTRUNCATE, sqe, call->fd, NULL, 0, (__u64)call->offset);
        break;
    case IO_RENAME:
        io_uring_prep_renameat(sqe, AT_FDCWD, call->path, AT_FDCWD, call->to, (unsigned)call->flags);
        break;
    case IO_UNLINK:
        io_uring_prep_unlinkat(sqe, AT_FDCWD, call->path, call->flags);
        break;
    case IO_MKDIR:
        io_uring_prep_mkdirat(sqe, AT_FDCWD, call->path, call->mode);
        break;
    default:
        assert(!"no such call");
    }
}

/* One piece needs no description that the kernel would have to copy in. */
static void prepare_send(struct io_uring_sqe *sqe, int fd, const struct msghdr *message)
{
    if (message->msg_iovlen == 1 && !message->msg_name && !message->msg_control)
        io_uring_prep_send(sqe, fd, message->msg_iov->iov_base, message->msg_iov->iov_len, MSG_NOSIGNAL);
    else
        io_uring_prep_sendmsg(sqe, fd, message, MSG_NOSIGNAL);
}

static void prepare(struct backend *self, struct io_uring_sqe *sqe, struct io_op *op)
{
    int fd = op->kind >= IO_CALLS ? -1 : op->file->fd;

    switch (op->kind) {
    case IO_ACCEPT:
        io_uring_prep_poll_add(sqe, fd, POLLIN);  /* then accept_now */
        break;
    case IO_CONNECT:
        io_uring_prep_connect(sqe, fd, op->address.at, op->address.size);
        break;
    case IO_RECEIVE:
        io_uring_prep_recv(sqe, fd, op->buffer.data, op->buffer.size, 0);
        if (self->poll_first && !op->file->readable)
            sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;  /* the last receive left nothing: do not try in vain */
        break;
    case IO_SEND:
        prepare_send(sqe, fd, op->message);
        break;
    case IO_RECEIVE_MESSAGE:
        io_uring_prep_recvmsg(sqe, fd, op->into, MSG_TRUNC);
        break;
    case IO_READ:
        io_uring_prep_read(sqe, fd, op->buffer.data, (unsigned)op->buffer.size, (__u64)-1);
        break;
    case IO_POLL:
        io_uring_prep_poll_add(sqe, fd, (unsigned)op->events);
        break;
    case IO_WRITE:
        io_uring_prep_write(sqe, fd, op->buffer.data, (unsigned)op->buffer.size, (__u64)-1);
        break;
    default:
        prepare_call(sqe, op);
    }
    io_uring_sqe_set_data(sqe, op);
}

/*
 * Connections are waited for by the ring and taken by accept(2), so that all that came can be taken in one turn. A multishot
 * accept would take them too, but also those that nobody has asked for yet (decision 36).
 */
static int accept_now(const struct io_op *op)
{
    int fd = accept4(op->file->fd, NULL, NULL, SOCK_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static void submit(struct backend *self, struct io_op *op)
{
    struct io_uring_sqe *sqe = list_empty(&self->held) ? room(self) : NULL;

    if (sqe) {
        prepare(self, sqe, op);
    } else {
        op->held = true;
        list_push_back(&self->held, &op->link);
    }
}

static bool uring_start(struct backend *self, struct io_op *op)
{
    if (op->kind >= IO_CALLS && !self->has[op->kind]) {
        op->result = -ENOSYS;
        return true;
    }
    if (op->kind == IO_ACCEPT && (op->result = accept_now(op)) != -EAGAIN)
        return true;
    submit(self, op);
    return false;
}

static void prepare_cancel(struct io_uring_sqe *sqe, struct io_op *op)
{
    io_uring_prep_cancel(sqe, op, 0);
    io_uring_sqe_set_data64(sqe, URING_CANCEL);
}

static void submit_held(struct backend *self)
{
    struct io_uring_sqe *sqe;

    while (!list_empty(&self->cancels) && (sqe = room(self)))
        prepare_cancel(sqe, container_of(list_pop_front(&self->cancels), struct io_op, link));
    while (!list_empty(&self->held) && (sqe = room(self))) {
        struct io_op *op = container_of(list_pop_front(&self->held), struct io_op, link);

        op->held = false;
        prepare(self, sqe, op);
    }
}

/*
 * The cancel names the operation by its address. It cannot hit a later one at the same place: a completion is only
 * taken in uring_poll, after all cancels prepared before were submitted, and a cancel is carried out at its
 * submission.
 */
static void uring_cancel(struct backend *self, struct io_op *op)
{
    struct io_uring_sqe *sqe;

    if (op->held) {
        list_remove(&op->link);
        op->held = false;
        io_finish(op, -ECANCELED);
        return;
    }
    sqe = list_empty(&self->cancels) ? room(self) : NULL;
    if (sqe)
        prepare_cancel(sqe, op);
    else
        list_push_back(&self->cancels, &op->link);
}

static void uring_forget(struct backend *self, struct io_file *file)
{
    (void)self;
    (void)file;
}

static void tell_of_memory(const struct io_op *op, int result)
{
    if ((op->kind == IO_RECEIVE || op->kind == IO_READ) && result > 0)
        context_memory_filled(op->buffer.data, (size_t)result);
    if (op->kind != IO_RECEIVE_MESSAGE || result < 0)
        return;
    context_memory_filled(op->into->msg_name, op->into->msg_namelen);
    context_memory_filled(op->into->msg_iov->iov_base,
                          (size_t)result < op->into->msg_iov->iov_len ? (size_t)result : op->into->msg_iov->iov_len);
}

static void finish(struct backend *self, struct io_uring_cqe *cqe)
{
    struct io_op *op = io_uring_cqe_get_data(cqe);
    int result = cqe->res;

    if ((uintptr_t)op == URING_CANCEL)
        return;
    if ((uintptr_t)op & URING_RECEIVER) {
        uring_receive_completed(&self->receive, cqe);
        return;
    }
    if (op->kind == IO_ACCEPT && result > 0) {
        result = op->cancelled ? -ECANCELED : accept_now(op);
        if (result == -EAGAIN) {  /* another process was quicker */
            submit(self, op);
            return;
        }
    }
    if (result == -EINTR && op->cancelled)
        result = -ECANCELED;  /* of a thread of the ring's, which only a cancel interrupts */
    list_remove(&op->link);  /* its cancel may not have found room yet */
    if (op->kind == IO_RECEIVE)
        op->file->readable = (cqe->flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
    if (op->kind == IO_POLL && result > 0)
        result = 0;
    tell_of_memory(op, result);
    io_finish(op, result);
}

static int uring_poll(struct backend *self, td_time wait_ns)
{
    struct __kernel_timespec timeout = {.tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000};
    struct io_uring_cqe *cqe, *batch[BATCH];
    unsigned count, seen = 0;
    int rc;

    submit_held(self);
    uring_receive_submit(&self->receive);
    if (wait_ns == 0)
        rc = io_uring_submit_and_get_events(&self->ring);
    else
        rc = io_uring_submit_and_wait_timeout(&self->ring, &cqe, 1, wait_ns == TD_FOREVER ? NULL : &timeout, NULL);
    if (rc < 0 && rc != -ETIME && rc != -EINTR && rc != -EBUSY && rc != -EAGAIN)
        return rc;
    while (seen < COMPLETIONS && (count = io_uring_peek_batch_cqe(&self->ring, batch, BATCH)) > 0) {
        for (unsigned i = 0; i < count; i++)
            finish(self, batch[i]);
        io_uring_cq_advance(&self->ring, count);
        seen += count;
    }
    return 0;
}

static bool uring_receive(struct backend *self, struct io_receiver *receiver)
{
    return uring_receive_start(&self->receive, receiver);
}

static void uring_stop_receiving(struct backend *self, struct io_receiver *receiver)
{
    uring_receive_stop(&self->receive, receiver);
}

const struct backend_table backend_uring = {
    .name = "uring",
    .file_flags = 0,  /* on a non-blocking file the kernel would answer EAGAIN instead of waiting */
    .sockets = &sockets_of_kernel,
    .open = uring_open,
    .attach = uring_attach,
    .close = uring_close,
    .start = uring_start,
    .cancel = uring_cancel,
    .receive = uring_receive,
    .receive_stop = uring_stop_receiving,
    .forget = uring_forget,
    .poll = uring_poll,
};
