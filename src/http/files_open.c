/* SPDX-License-Identifier: MIT */
#include "http/files_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)  /* O_NONBLOCK: nobody waits for a named pipe's writer */
#define TRIES 8        /* a path that is renamed while it is walked may be tried again: EAGAIN */
#define NAME_BYTES 256

struct opening {
    struct io_call call;
    int root;
    const char *path;
    struct stat *status;
};

static int look(int fd, struct stat *status)
{
    int rc;

    if (fstat(fd, status) == 0)
        return fd;
    rc = -errno;
    close(fd);
    return rc;
}

static int open_once(const struct opening *opening, uint64_t resolve)
{
    struct open_how how = {.flags = FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve};
    long fd = syscall(SYS_openat2, opening->root, opening->path, &how, sizeof how);

    return fd < 0 ? -errno : look((int)fd, opening->status);
}

/* For kernels and sandboxes without openat2: name by name, through no link at all, and never up. */
static int walk(const struct opening *opening)
{
    int fd = opening->root, next = fd, error = ENOENT;

    for (const char *at = opening->path; next >= 0;) {
        char name[NAME_BYTES];
        size_t size;

        at += strspn(at, "/");
        size = strcspn(at, "/");
        if (size == 0 || size >= sizeof name || strncmp(at, "..", size > 2 ? size : 2) == 0)
            next = -1;
        if (next < 0)
            break;
        memcpy(name, at, size);
        name[size] = '\0';
        at += size;
        next = openat(fd, name, (*at ? O_PATH | O_DIRECTORY | O_CLOEXEC : FLAGS) | O_NOFOLLOW);
        error = errno;
        if (fd != opening->root)
            close(fd);
        if (next >= 0 && !*at)
            return look(next, opening->status);
        fd = next;
    }
    if (fd >= 0 && fd != opening->root)
        close(fd);
    return -error;
}

/* In one of the loop's threads. */
static int open_slowly(struct io_call *call)
{
    const struct opening *opening = container_of(call, struct opening, call);
    int rc = -EAGAIN;

    for (int i = 0; i < TRIES && (rc == -EAGAIN || rc == -EINTR); i++)
        rc = open_once(opening, 0);
    return rc == -ENOSYS || rc == -EPERM ? walk(opening) : rc;
}

int files_open_below(struct td_task *self, int root, const char *path, struct stat *status)
{
    struct opening opening = {.call = {.run = open_slowly}, .root = root, .path = path, .status = status};
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    rc = open_once(&opening, RESOLVE_CACHED);  /* what the kernel knows by heart does not block (Linux 5.12) */
    if (rc == -EAGAIN || rc == -EINTR || rc == -EINVAL || rc == -ENOSYS || rc == -EPERM)
        rc = file_call(self, IO_RUN, &opening.call, "a file to open");
    return rc;
}
