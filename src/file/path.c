/* SPDX-License-Identifier: MIT */
/* What is done with a file by its name. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "file/file.h"

static td_file_kind kind_of(unsigned mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return TD_FILE_REGULAR;
    case S_IFDIR:
        return TD_FILE_FOLDER;
    case S_IFLNK:
        return TD_FILE_LINK;
    case S_IFIFO:
        return TD_FILE_PIPE;
    case S_IFSOCK:
        return TD_FILE_SOCKET;
    case S_IFCHR:
        return TD_FILE_CHAR_DEVICE;
    case S_IFBLK:
        return TD_FILE_BLOCK_DEVICE;
    default:
        return TD_FILE_UNKNOWN;
    }
}

static int64_t ns_from(const struct statx_timestamp *at)
{
    return at->tv_sec * 1000000000 + at->tv_nsec;
}

void file_info_from(td_file_info *info, const struct statx *status)
{
    *info = (td_file_info){
        .kind = kind_of(status->stx_mode),
        .mode = status->stx_mode & 07777,
        .links = status->stx_nlink,
        .user = status->stx_uid,
        .group = status->stx_gid,
        .size = status->stx_size,
        .allocated = status->stx_blocks * 512,
        .device = makedev(status->stx_dev_major, status->stx_dev_minor),
        .inode = status->stx_ino,
        .accessed_ns = ns_from(&status->stx_atime),
        .modified_ns = ns_from(&status->stx_mtime),
        .changed_ns = ns_from(&status->stx_ctime),
        .created_ns = status->stx_mask & STATX_BTIME ? ns_from(&status->stx_btime) : 0,
    };
}

int td_stat(const char *path, td_file_info *info)
{
    struct statx status;
    struct io_call call = {.fd = AT_FDCWD, .path = path, .status = &status};
    int rc = file_call(task_self(__func__), IO_STAT, &call, "the state of a file");

    if (rc >= 0)
        file_info_from(info, &status);
    return rc;
}

int td_rename(const char *from, const char *to)
{
    return file_call(task_self(__func__), IO_RENAME, &(struct io_call){.path = from, .to = to}, "a file's new name");
}

int td_unlink(const char *path)
{
    return file_call(task_self(__func__), IO_UNLINK, &(struct io_call){.path = path}, "a file to be removed");
}

int td_mkdir(const char *path, unsigned mode)
{
    return file_call(task_self(__func__), IO_MKDIR, &(struct io_call){.path = path, .mode = mode}, "a folder to be made");
}

int td_rmdir(const char *path)
{
    struct io_call call = {.path = path, .flags = AT_REMOVEDIR};

    return file_call(task_self(__func__), IO_UNLINK, &call, "a folder to be removed");
}

/* Reads until the end; the size that the file system gave is a hint: it may grow meanwhile, and /proc gives none. */
static int load(td_file *file, char **data, size_t *size, size_t size_max)
{
    td_file_info info;
    size_t room, count = 0;
    ssize_t n;
    int rc = td_file_stat(file, &info);

    if (rc < 0)
        return rc;
    if (info.size > size_max)
        return -EMSGSIZE;
    for (room = info.size + 4096;; room = room < size_max / 2 ? room * 2 + 4096 : size_max + 1) {
        char *larger = realloc(*data, room);

        if (!larger)
            return -ENOMEM;
        *data = larger;
        do {
            n = td_file_read(file, larger + count, room - count);
            count += n > 0 ? (size_t)n : 0;
        } while (n > 0 && count < room);
        if (n < 0)
            return (int)n;
        if (count > size_max)
            return -EMSGSIZE;
        if (n == 0)
            break;
    }
    (*data)[count] = '\0';  /* count < room: the last read found room, and nothing more to put there */
    *size = count;
    return 0;
}

int td_file_load(const char *path, char **data, size_t *size, size_t size_max)
{
    td_file *file;
    int rc;

    *data = NULL;
    *size = 0;
    if (size_max > SIZE_MAX / 2)
        return -EINVAL;
    rc = td_file_open(&file, path, O_RDONLY, 0);
    if (rc < 0)
        return rc;
    rc = load(file, data, size, size_max);
    td_file_close(file);
    if (rc < 0) {
        free(*data);
        *data = NULL;
    }
    return rc;
}
