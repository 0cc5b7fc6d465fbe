/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. `offset` moves only by what an operation reported. 2. `users` counts the operations under way.
 */
#include "file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fail.h"

struct td_file {
    struct loop *loop;
    int fd;
    int64_t offset;
    unsigned users;
    bool in_sequence;  /* a read or write at `offset` is under way */
};

int file_call(struct td_task *self, enum io_kind kind, struct io_call *call, const char *what)
{
    int rc;

    do {
        struct io_op op = {.kind = kind, .call = call};

        rc = loop_io(self, &op, what);
    } while (rc == -EINTR);  /* a cancelled one of io_uring too: then the checkpoint says so */
    return rc;
}

int file_close_descriptor(struct td_task *self, int fd)
{
    struct io_call call = {.fd = fd};
    struct io_op op = {.kind = IO_CLOSE, .call = &call, .to_the_end = true};
    int rc = loop_io(self, &op, "a file to close");

    if (rc == -ENOMEM || rc == -EOWNERDEAD)  /* there is no thread to do it, or no loop: a forked child's copy */
        rc = close(fd) < 0 ? -errno : 0;
    return rc == -EINTR ? 0 : rc;
}

/*
 * Opened without blocking, or a named pipe without a writer would hold a thread for good. Regular files do not care,
 * except that io_uring would then answer -EAGAIN instead of waiting for the disk, so the flag goes.
 */
int td_file_open(td_file **out, const char *path, int flags, unsigned mode)
{
    struct td_task *self = task_self(__func__);
    struct io_call call = {.path = path, .flags = flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, .mode = mode};
    td_file *file = calloc(1, sizeof *file);
    int fd, rc;

    *out = NULL;
    if (!file)
        return -ENOMEM;
    fd = rc = file_call(self, IO_OPEN, &call, "a file to open");
    if (rc < 0)
        goto release;
    if ((lseek(fd, 0, SEEK_CUR) < 0 && errno == ESPIPE) || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0) {
        rc = -errno;
        goto close_it;
    }
    file->loop = loop_of(self);
    file->fd = fd;
    *out = file;
    return 0;

close_it:
    close(fd);
release:
    free(file);
    return rc;
}

static struct td_task *user_of(td_file *file, const char *function)
{
    struct td_task *self = task_self(function);

    if (loop_of(self) != file->loop)
        fail("%s: the file belongs to another loop; open it on each loop that uses it", function);
    return self;
}

int td_file_close(td_file *file)
{
    struct td_task *self = user_of(file, __func__);
    int rc;

    if (file->users > 0)
        fail("td_file_close: %u tasks are using this file; join them first", file->users);
    rc = file_close_descriptor(self, file->fd);
    free(file);
    return rc;
}

static int use(td_file *file, struct td_task *self, enum io_kind kind, struct io_call *call, const char *what)
{
    int rc;

    call->fd = file->fd;
    file->users++;
    rc = file_call(self, kind, call, what);
    file->users--;
    return rc;
}

static int transfer(td_file *file, struct td_task *self, enum io_kind kind, const void *data, size_t size, int64_t offset)
{
    struct io_call call = {.data = (void *)(uintptr_t)data, .size = size < FILE_BYTES_MAX ? size : FILE_BYTES_MAX,
                           .offset = offset};

    if (offset < 0)
        return -EINVAL;
    return use(file, self, kind, &call, kind == IO_READ_AT ? "bytes from a file" : "bytes to go to a file");
}

ssize_t td_file_read_at(td_file *file, void *data, size_t size, int64_t offset)
{
    return transfer(file, user_of(file, __func__), IO_READ_AT, data, size, offset);
}

ssize_t td_file_write_at(td_file *file, const void *data, size_t size, int64_t offset)
{
    return transfer(file, user_of(file, __func__), IO_WRITE_AT, data, size, offset);
}

static int go_on(td_file *file, const char *function, enum io_kind kind, const void *data, size_t size)
{
    struct td_task *self = user_of(file, function);
    int rc;

    if (file->in_sequence)
        fail("%s: another task reads or writes at this file's offset; use td_file_read_at and td_file_write_at", function);
    file->in_sequence = true;
    rc = transfer(file, self, kind, data, size, file->offset);
    file->in_sequence = false;
    file->offset += rc > 0 ? rc : 0;
    return rc;
}

ssize_t td_file_read(td_file *file, void *data, size_t size)
{
    return go_on(file, __func__, IO_READ_AT, data, size);
}

ssize_t td_file_write(td_file *file, const void *data, size_t size)
{
    return go_on(file, __func__, IO_WRITE_AT, data, size);
}

int td_file_write_all(td_file *file, const void *data, size_t size)
{
    size_t done = 0;
    int rc = 0;

    while (done < size && rc >= 0) {
        rc = go_on(file, __func__, IO_WRITE_AT, (const char *)data + done, size - done);
        if (rc == 0)
            rc = -EIO;  /* no progress and no reason given: better an end than a circle */
        done += rc > 0 ? (size_t)rc : 0;
    }
    return rc < 0 ? rc : 0;
}

int64_t td_file_offset(const td_file *file)
{
    return file->offset;
}

int td_file_seek(td_file *file, int64_t offset)
{
    if (offset < 0)
        return -EINVAL;
    file->offset = offset;
    return 0;
}

int td_file_sync(td_file *file)
{
    return use(file, user_of(file, __func__), IO_SYNC, &(struct io_call){.flags = 0}, "a file to be on the disk");
}

int td_file_sync_data(td_file *file)
{
    return use(file, user_of(file, __func__), IO_SYNC, &(struct io_call){.flags = 1}, "a file's data to be on the disk");
}

int td_file_truncate(td_file *file, int64_t size)
{
    struct td_task *self = user_of(file, __func__);

    return size < 0 ? -EINVAL : use(file, self, IO_TRUNCATE, &(struct io_call){.offset = size}, "a file to be cut");
}

int td_file_descriptor(const td_file *file)
{
    return file->fd;
}

int td_file_stat(td_file *file, td_file_info *info)
{
    struct statx status;
    struct io_call call = {.path = "", .flags = AT_EMPTY_PATH, .status = &status};
    int rc = use(file, user_of(file, __func__), IO_STAT, &call, "the state of a file");

    if (rc >= 0)
        file_info_from(info, &status);
    return rc;
}
