/* SPDX-License-Identifier: MIT */
/*
 * Listing a folder, by the batch: one trip to a thread for many entries, since io_uring has no operation for it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "file/file.h"

#define BATCH_BYTES 32768

struct td_dir {
    struct loop *loop;
    int fd;
    bool busy;
    size_t count, at;  /* bytes in the batch, and where its next entry begins */
    _Alignas(struct dirent64) char batch[BATCH_BYTES];
};

int td_dir_open(td_dir **out, const char *path)
{
    struct td_task *self = task_self(__func__);
    struct io_call call = {.path = path, .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC};
    td_dir *dir = malloc(sizeof *dir);
    int fd;

    *out = NULL;
    if (!dir)
        return -ENOMEM;
    fd = file_call(self, IO_OPEN, &call, "a folder to open");
    if (fd < 0) {
        free(dir);
        return fd;
    }
    dir->loop = loop_of(self);
    dir->fd = fd;
    dir->busy = false;
    dir->count = dir->at = 0;
    *out = dir;
    return 0;
}

static int read_batch(struct io_call *call)
{
    ssize_t n = getdents64(call->fd, call->data, call->size);

    return n < 0 ? -errno : (int)n;
}

static td_file_kind kind_from(unsigned char type)
{
    static const unsigned char kinds[] = {
        [DT_REG] = TD_FILE_REGULAR, [DT_DIR] = TD_FILE_FOLDER,      [DT_LNK] = TD_FILE_LINK,        [DT_FIFO] = TD_FILE_PIPE,
        [DT_SOCK] = TD_FILE_SOCKET, [DT_CHR] = TD_FILE_CHAR_DEVICE, [DT_BLK] = TD_FILE_BLOCK_DEVICE,
    };

    return type < sizeof kinds ? (td_file_kind)kinds[type] : TD_FILE_UNKNOWN;
}

static int next_batch(td_dir *dir, struct td_task *self)
{
    struct io_call call = {.fd = dir->fd, .data = dir->batch, .size = sizeof dir->batch, .run = read_batch};
    int n;

    dir->busy = true;
    n = file_call(self, IO_RUN, &call, "the entries of a folder");
    dir->busy = false;
    if (n > 0) {
        dir->count = (size_t)n;
        dir->at = 0;
    }
    return n;
}

int td_dir_next(td_dir *dir, td_dir_entry *entry)
{
    struct td_task *self = task_self(__func__);
    int rc = task_checkpoint(self);

    if (dir->loop != loop_of(self) || dir->busy)
        fail("td_dir_next: another task or loop is using this folder; let one list it");
    while (rc >= 0) {
        const struct dirent64 *found = (const void *)(dir->batch + dir->at);

        if (dir->at == dir->count) {
            rc = next_batch(dir, self);
            if (rc <= 0)
                break;
            continue;
        }
        dir->at += found->d_reclen;
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0)
            continue;
        *entry = (td_dir_entry){found->d_name, kind_from(found->d_type), found->d_ino};
        return 1;
    }
    return rc;
}

void td_dir_close(td_dir *dir)
{
    file_close_descriptor(task_self(__func__), dir->fd);
    free(dir);
}
