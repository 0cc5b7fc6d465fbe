/* SPDX-License-Identifier: MIT */
/* What the library calls instead of the C library's functions, in the order of calls.h. */
#include <ares.h>
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/futex.h>
#include <netdb.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults/inject.h"

#define CALL(type, name, parameters, arguments, failed, ...) \
    type fault_##name parameters; \
    type fault_##name parameters \
    { \
        return fault_due(FAULT_##name) ? (failed) : name arguments; \
    }
#define OWN(name, ...)
#define RING(name, ...)
#define SAFE(name)
#include "faults/calls.h"
#undef CALL
#undef OWN
#undef RING

#define CALLER __builtin_return_address(0)

static void *noted(void *block, size_t size, const void *caller)
{
    if (block)
        fault_take_note(block, BLOCK, size, caller);
    return block;
}

void *fault_malloc(size_t size);
void *fault_malloc(size_t size)
{
    return fault_due(FAULT_malloc) ? NULL : noted(malloc(size), size, CALLER);
}

void *fault_calloc(size_t n, size_t size);
void *fault_calloc(size_t n, size_t size)
{
    return fault_due(FAULT_calloc) ? NULL : noted(calloc(n, size), n * size, CALLER);
}

void *fault_realloc(void *old, size_t size);
void *fault_realloc(void *old, size_t size)
{
    void *block;

    if (fault_due(FAULT_realloc))
        return NULL;
    fault_strike_out(old, BLOCK);
    block = realloc(old, size);
    if (!block)
        abort();
    fault_take_note(block, BLOCK, size, CALLER);
    return block;
}

void *fault_aligned_alloc(size_t alignment, size_t size);
void *fault_aligned_alloc(size_t alignment, size_t size)
{
    return fault_due(FAULT_aligned_alloc) ? NULL : noted(aligned_alloc(alignment, size), size, CALLER);
}

char *fault_strdup(const char *text);
char *fault_strdup(const char *text)
{
    return fault_due(FAULT_strdup) ? NULL : noted(strdup(text), strlen(text), CALLER);
}

char *fault_strndup(const char *text, size_t size);
char *fault_strndup(const char *text, size_t size)
{
    return fault_due(FAULT_strndup) ? NULL : noted(strndup(text, size), size, CALLER);
}

void fault_free(void *block);
void fault_free(void *block)
{
    fault_strike_out(block, BLOCK);
    free(block);
}

void *fault_mmap64(void *wish, size_t size, int access, int flags, int fd, off64_t offset);
void *fault_mmap64(void *wish, size_t size, int access, int flags, int fd, off64_t offset)
{
    void *at = fault_due(FAULT_mmap64) ? MAP_FAILED : mmap64(wish, size, access, flags, fd, offset);

    if (at != MAP_FAILED && !(flags & MAP_FIXED))
        fault_take_note(at, MAPPING, size, CALLER);
    return at;
}

int fault_munmap(void *at, size_t size);
int fault_munmap(void *at, size_t size)
{
    fault_strike_out(at, MAPPING);
    return munmap(at, size);
}

int fault_madvise(void *at, size_t size, int advice);
int fault_madvise(void *at, size_t size, int advice)
{
    return fault_due(FAULT_madvise) ? -1 : madvise(at, size, advice);
}

FILE *fault_fopen64(const char *path, const char *mode);
FILE *fault_fopen64(const char *path, const char *mode)
{
    FILE *file = fault_due(FAULT_fopen64) ? NULL : fopen64(path, mode);

    if (file)
        fault_take_note(file, FILE_HANDLE, 0, CALLER);
    return file;
}

int fault_fclose(FILE *file);
int fault_fclose(FILE *file)
{
    fault_strike_out(file, FILE_HANDLE);
    return fclose(file);
}

/* Taking a descriptor out of the set cannot fail, and what failed would be met again long after. */
int fault_epoll_ctl(int fd, int op, int file, struct epoll_event *event);
int fault_epoll_ctl(int fd, int op, int file, struct epoll_event *event)
{
    return op != EPOLL_CTL_DEL && fault_due(FAULT_epoll_ctl) ? -1 : epoll_ctl(fd, op, file, event);
}

int fault_fcntl64(int fd, int command, long argument);
int fault_fcntl64(int fd, int command, long argument)
{
    return fault_due(FAULT_fcntl64) ? -1 : fcntl(fd, command, argument);
}

/* Eventfds, pidfds and the like have no type. They hold a counter in the kernel: nothing there can fail. */
static bool is_file(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && (status.st_mode & S_IFMT) != 0;
}

ssize_t fault_read(int fd, void *data, size_t size);
ssize_t fault_read(int fd, void *data, size_t size)
{
    return is_file(fd) && fault_due(FAULT_read) ? -1 : read(fd, data, size);
}

ssize_t fault_write(int fd, const void *data, size_t size);
ssize_t fault_write(int fd, const void *data, size_t size)
{
    bool to_eventfd = size == sizeof(uint64_t);  /* a strict worker could not ask */

    if (!to_eventfd && is_file(fd) && fault_due(FAULT_write))
        return -1;
    if (fd != STDERR_FILENO)
        return write(fd, data, size);
    faults_keep_log(data, size);
    return (ssize_t)size;
}

int fault_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *), void *arg);
int fault_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *), void *arg)
{
    int error = fault_due(FAULT_pthread_create) ? errno : pthread_create(thread, attr, body, arg);

    if (error == 0)
        fault_take_note((void *)*thread, THREAD, 0, CALLER);
    return error;
}

int fault_pthread_join(pthread_t thread, void **result);
int fault_pthread_join(pthread_t thread, void **result)
{
    fault_strike_out((void *)thread, THREAD);
    return pthread_join(thread, result);
}

int fault_waitid(idtype_t type, id_t id, siginfo_t *info, int options);
int fault_waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    int error;

    if (!fault_due(FAULT_waitid))
        return waitid(type, id, info, options);
    error = errno;
    if (error == ECHILD)  /* somebody else has waited for it */
        (void)waitid(type, id, info, options);
    errno = error;
    return -1;
}

long fault_syscall(long number, ...);
long fault_syscall(long number, ...)
{
    va_list list;
    long a[6];

    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if ((number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT && fault_due(FAULT_futex)) ||
        (number == SYS_clone && fault_due(FAULT_clone)) ||
        (number == SYS_seccomp && fault_due(FAULT_seccomp)) || (number == SYS_openat2 && fault_due(FAULT_openat2)) ||
        (number == SYS_pidfd_send_signal && fault_due(FAULT_pidfd_send_signal)))
        return -1;
    return syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int fault_pidfd_send_signal(int fd, int signal, siginfo_t *info, unsigned flags);
int fault_pidfd_send_signal(int fd, int signal, siginfo_t *info, unsigned flags)
{
    return fault_due(FAULT_pidfd_send_signal) ? -1 : pidfd_send_signal(fd, signal, info, flags);
}

int fault_getaddrinfo(const char *host, const char *service, const struct addrinfo *wanted, struct addrinfo **found);
int fault_getaddrinfo(const char *host, const char *service, const struct addrinfo *wanted, struct addrinfo **found)
{
    return fault_due(FAULT_getaddrinfo) ? EAI_SYSTEM : getaddrinfo(host, service, wanted, found);
}

int fault_ares_init_options(ares_channel *channel, struct ares_options *options, int mask);
int fault_ares_init_options(ares_channel *channel, struct ares_options *options, int mask)
{
    return fault_due(FAULT_ares_init_options) ? ARES_ENOMEM : ares_init_options(channel, options, mask);
}

/* These return their error. */

int fault_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
                       char *const argv[], char *const envp[]);
int fault_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
                       char *const argv[], char *const envp[])
{
    return fault_due(FAULT_posix_spawnp) ? errno : posix_spawnp(pid, file, actions, attr, argv, envp);
}

int fault_posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *actions, int fd, const char *path, int flags, mode_t mode);
int fault_posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *actions, int fd, const char *path, int flags, mode_t mode)
{
    return fault_due(FAULT_posix_spawn_file_actions_addopen) ? errno
                                                         : posix_spawn_file_actions_addopen(actions, fd, path, flags, mode);
}

int fault_posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int from, int to);
int fault_posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int from, int to)
{
    return fault_due(FAULT_posix_spawn_file_actions_adddup2) ? errno : posix_spawn_file_actions_adddup2(actions, from, to);
}

int fault_posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions, const char *path);
int fault_posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions, const char *path)
{
    return fault_due(FAULT_posix_spawn_file_actions_addchdir_np) ? errno : posix_spawn_file_actions_addchdir_np(actions, path);
}

int fault_posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);
int fault_posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from)
{
    return fault_due(FAULT_posix_spawn_file_actions_addclosefrom_np) ? errno
                                                                 : posix_spawn_file_actions_addclosefrom_np(actions, from);
}

int fault_EVP_Digest(const void *data, size_t size, unsigned char *digest, unsigned *length, const EVP_MD *type, ENGINE *engine);
int fault_EVP_Digest(const void *data, size_t size, unsigned char *digest, unsigned *length, const EVP_MD *type, ENGINE *engine)
{
    return fault_due(FAULT_EVP_Digest) ? 0 : EVP_Digest(data, size, digest, length, type, engine);
}

/* Who goes back to what was before does not ask for it. */
int fault_sigaltstack(const stack_t *wanted, stack_t *before);
int fault_sigaltstack(const stack_t *wanted, stack_t *before)
{
    return wanted && before && fault_due(FAULT_sigaltstack) ? -1 : sigaltstack(wanted, before);
}

