/* SPDX-License-Identifier: MIT */
/* Calls that block, for a thread that may. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/io.h"

static ssize_t read_at(const struct io_call *call)
{
    return call->offset < 0 ? read(call->fd, call->data, call->size) : pread(call->fd, call->data, call->size, call->offset);
}

static ssize_t write_at(const struct io_call *call)
{
    return call->offset < 0 ? write(call->fd, call->data, call->size) : pwrite(call->fd, call->data, call->size, call->offset);
}

static ssize_t call_once(enum io_kind kind, struct io_call *call)
{
    switch (kind) {
    case IO_OPEN:
        return open(call->path, call->flags, call->mode);
    case IO_CLOSE:
        return close(call->fd);
    case IO_READ_AT:
        return read_at(call);
    case IO_WRITE_AT:
        return write_at(call);
    case IO_SYNC:
        return call->flags ? fdatasync(call->fd) : fsync(call->fd);
    case IO_STAT:
        return statx(call->fd, call->path, call->flags, STATX_BASIC_STATS | STATX_BTIME, call->status);
    case IO_TRUNCATE:
        return ftruncate(call->fd, call->offset);
    case IO_RENAME:
        return renameat2(AT_FDCWD, call->path, AT_FDCWD, call->to, (unsigned)call->flags);
    case IO_UNLINK:
        return unlinkat(AT_FDCWD, call->path, call->flags);
    case IO_MKDIR:
        return mkdir(call->path, call->mode);
    default:
        assert(!"no such call");
        return 0;
    }
}

int io_call_now(const struct io_op *op)
{
    ssize_t n;

    if (op->kind == IO_RUN)
        return op->call->run(op->call);
    do
        n = call_once(op->kind, op->call);
    while (n < 0 && errno == EINTR && op->kind != IO_CLOSE);  /* Linux has freed the descriptor all the same */
    return n < 0 ? -errno : (int)n;
}
