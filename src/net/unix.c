/* SPDX-License-Identifier: MIT */
/*
 * A dead socket is known by its refusing connections. But so is a living one between its bind and its listen, and one that
 * is new by the time it is removed. So a process that binds holds a lock on the folder meanwhile (flock on the folder itself,
 * which leaves no file behind): of two that start at once, one binds and the other finds it alive. Servers that know nothing
 * of the lock lose nothing by it.
 */
#include "net/unix.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TRIES 50
#define LOCK_RETRY_NS 1000000

/* Locks the path's folder. Returns a descriptor, or -1: then no file may be removed. */
static int lock_folder(const char *path)
{
    char folder[sizeof ((struct unix_file *)NULL)->path] = ".";
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    int fd, tries = 0;

    if (slash) {
        memcpy(folder, path, length ? length : 1);
        folder[length ? length : 1] = '\0';
    }
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || ++tries == LOCK_TRIES) {
            close(fd);
            return -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOCK_RETRY_NS}, NULL);
    }
    return fd;
}

static bool is_socket(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* Nobody is behind it: the kernel says so to who tries to connect. */
static bool is_dead(const struct sockaddr_un *address, socklen_t size, int type)
{
    int fd = is_socket(address->sun_path) ? socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
    bool dead;

    if (fd < 0)
        return false;
    dead = connect(fd, (const struct sockaddr *)address, size) < 0 && errno == ECONNREFUSED;
    close(fd);
    return dead;
}

static int bind_here(int fd, const struct sockaddr_un *address, socklen_t size, bool locked)
{
    int type;
    socklen_t type_size = sizeof type;

    if (bind(fd, (const struct sockaddr *)address, size) == 0)
        return 0;
    if (errno != EADDRINUSE || !locked)
        return -errno;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) < 0)
        return -errno;
    if (!is_dead(address, size, type))
        return -EADDRINUSE;
    if (unlink(address->sun_path) < 0 && errno != ENOENT)
        return -errno;
    return bind(fd, (const struct sockaddr *)address, size) < 0 ? -errno : 0;
}

static int remember(const struct sockaddr_un *address, struct unix_file *file)
{
    struct stat status;

    if (lstat(address->sun_path, &status) < 0)
        return -errno;
    file->device = status.st_dev;
    file->inode = status.st_ino;
    memcpy(file->path, address->sun_path, sizeof address->sun_path);
    file->path[sizeof address->sun_path] = '\0';
    return 0;
}

static int bind_and_listen(int fd, const struct sockaddr_un *address, socklen_t size, unsigned mode, int backlog, bool locked,
                           struct unix_file *file)
{
    /* The socket's own mode less the umask becomes the file's, so that it is never open to more than it will be. */
    int rc = mode && fchmod(fd, mode) < 0 ? -errno : bind_here(fd, address, size, locked);

    if (rc == 0)
        rc = remember(address, file);
    if (rc == 0 && mode && chmod(address->sun_path, mode) < 0)
        rc = -errno;
    if (rc == 0 && backlog && listen(fd, backlog) < 0)
        rc = -errno;
    if (rc < 0)
        unix_remove(file);
    return rc;
}

int unix_bind(int fd, const struct sockaddr_un *address, socklen_t size, unsigned mode, int backlog, struct unix_file *file)
{
    int lock = lock_folder(address->sun_path), rc;

    file->path[0] = '\0';
    rc = bind_and_listen(fd, address, size, mode, backlog, lock >= 0, file);
    if (lock >= 0)
        close(lock);
    return rc;
}

void unix_remove(struct unix_file *file)
{
    struct stat status;

    if (file->path[0] && lstat(file->path, &status) == 0 && status.st_dev == file->device && status.st_ino == file->inode)
        (void)unlink(file->path);
    file->path[0] = '\0';
}
