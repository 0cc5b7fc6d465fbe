/* SPDX-License-Identifier: MIT */
/*
 * Files and folders. The loop never waits for a disk: the operations are io_uring's where the kernel has them, and
 * otherwise run in a few threads of the loop's own.
 *
 * Each operation has one outcome, its data or an error. One that was begun when its task is cancelled is asked to end
 * and waited for, since the kernel may still use the buffer; what it did then counts, and is returned. So -ECANCELED
 * means that nothing happened.
 *
 * Everything here is for tasks, and a checkpoint, unless it says otherwise. A file belongs to the loop that opened it.
 * Paths are read, and buffers used, until the call returns. Besides those named, errors are the system's (-ENOENT,
 * -EACCES, -ENOSPC, ...).
 */
#ifndef TANDEM_FILE_H
#define TANDEM_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_file td_file;

/*
 * Opens a file with the flags of open(2) (O_RDONLY, O_RDWR | O_CREAT | O_EXCL, ...; O_CLOEXEC is implied) and, where it
 * is created, the permissions `mode`, less the umask.
 *
 * Returns 0 and *file; -ESPIPE for a pipe, a terminal or another thing without positions (td_fd_adopt takes those);
 * -ENXIO for a named pipe to write to that nobody reads; -ENOMEM; -ECANCELED. On an error nothing stays open.
 */
int td_file_open(td_file **file, const char *path, int flags, unsigned mode);

/*
 * Closes it, and frees it in any case, cancelled or not. No task may be using it. Data may still be on its way to the
 * disk: td_file_sync waits for that.
 *
 * Returns 0, or what the system could not write (-EIO, -ENOSPC, -EDQUOT on some network file systems).
 */
int td_file_close(td_file *file);

/*
 * Reads up to `size` bytes from the file's offset, or writes them there, and advances it by the result. One task at a
 * time. On a file opened with O_APPEND the system writes at the end, wherever the offset is.
 *
 * Returns the count, which may be smaller than `size` (when a cancellation came in the middle, say), and for a read is 0
 * at the end; -EBADF when the file was not opened for it; -ENOSPC, -EFBIG when nothing could be written; -ECANCELED.
 */
ssize_t td_file_read(td_file *file, void *data, size_t size);
ssize_t td_file_write(td_file *file, const void *data, size_t size);

/* The same at a place of the file, without its offset: by any number of tasks at a time. Also -EINVAL: negative offset. */
ssize_t td_file_read_at(td_file *file, void *data, size_t size, int64_t offset);
ssize_t td_file_write_at(td_file *file, const void *data, size_t size, int64_t offset);

/*
 * Writes all of it from the file's offset on. Returns 0; or what ended it, and then td_file_offset tells how much was
 * written.
 */
int td_file_write_all(td_file *file, const void *data, size_t size);

/* The offset of td_file_read and td_file_write, and setting it. Not checkpoints. Setting: 0, or -EINVAL for a negative one. */
int64_t td_file_offset(const td_file *file);
int td_file_seek(td_file *file, int64_t offset);

/* Waits until the file, or only its data and size, is on the disk. Returns 0; -EIO and the like. */
int td_file_sync(td_file *file);
int td_file_sync_data(td_file *file);

/* Makes the file `size` bytes long, cutting it or adding zeros; the offset stays. Returns 0, -EINVAL, ... */
int td_file_truncate(td_file *file, int64_t size);

/* The descriptor, for what the library has no call for. It stays the file's. Not a checkpoint. */
int td_file_descriptor(const td_file *file);

typedef enum td_file_kind {
    TD_FILE_UNKNOWN = 0,  /* in listings only: the file system does not say; td_stat knows */
    TD_FILE_REGULAR, TD_FILE_FOLDER, TD_FILE_LINK, TD_FILE_PIPE, TD_FILE_SOCKET, TD_FILE_CHAR_DEVICE, TD_FILE_BLOCK_DEVICE,
} td_file_kind;

typedef struct td_file_info {
    td_file_kind kind;
    unsigned mode;            /* the permissions: 07777 */
    unsigned links, user, group;
    uint64_t size;            /* bytes */
    uint64_t allocated;       /* bytes on the disk */
    uint64_t device, inode;   /* together they name the file */
    /* Nanoseconds since 1970; created_ns is 0 where the file system does not know. */
    int64_t accessed_ns, modified_ns, changed_ns, created_ns;
} td_file_info;

/* What the system knows about an open file, or about the one that a path leads to (links are followed). Returns 0, ... */
int td_file_stat(td_file *file, td_file_info *info);
int td_stat(const char *path, td_file_info *info);

/* Gives a file another name, replacing what had it. Returns 0; -EXDEV across file systems; ... */
int td_rename(const char *from, const char *to);

/* Removes a name of a file. Returns 0; -EISDIR for a folder; ... */
int td_unlink(const char *path);

/* Makes a folder with the permissions `mode`, less the umask. Returns 0; -EEXIST; ... */
int td_mkdir(const char *path, unsigned mode);

/* Removes an empty folder. Returns 0; -ENOTEMPTY; ... */
int td_rmdir(const char *path);

/* A folder being listed. One task at a time. */
typedef struct td_dir td_dir;

typedef struct td_dir_entry {
    const char *name;     /* valid until the next call with this td_dir */
    td_file_kind kind;
    uint64_t inode;
} td_dir_entry;

/* Opens a folder for listing. Returns 0 and *dir; -ENOTDIR; -ENOMEM; ... */
int td_dir_open(td_dir **dir, const char *path);

/*
 * The next entry, in no order, without "." and "..". An entry that is made or removed meanwhile may or may not appear.
 * Returns 1 and *entry; 0 at the end; an error.
 */
int td_dir_next(td_dir *dir, td_dir_entry *entry);

/* Closes and frees it, cancelled or not. */
void td_dir_close(td_dir *dir);

/*
 * Reads a whole file of at most `size_max` bytes. A zero byte follows the data, not counted in *size. The caller frees
 * *data with free().
 *
 * Returns 0; -EMSGSIZE when it is larger; -ENOMEM; what opening and reading return. On an error *data is NULL.
 */
int td_file_load(const char *path, char **data, size_t *size, size_t size_max);

#ifdef __cplusplus
}
#endif
#endif
