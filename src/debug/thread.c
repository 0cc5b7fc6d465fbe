/* SPDX-License-Identifier: MIT */
#include "debug/thread.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOOKS_MAX 3

/* Reads a small file of /proc whole. */
static bool read_small(int tid, const char *name, char *text, size_t size)
{
    char path[64];
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The call that the thread waits in, and where. It stays "running" when the kernel does not tell. */
static void look_at_call(int tid, struct thread_look *look)
{
    char text[512], *at, *end;
    uintptr_t values[9];
    size_t n = 0;
    long call;

    look->is_in_call = false;
    if (!read_small(tid, "syscall", text, sizeof text))
        return;
    call = strtol(text, &at, 10);
    while (at != text && n < 9) {
        values[n] = strtoull(at, &end, 16);
        if (end == at)
            break;
        at = end;
        n++;
    }
    if (n != 8)  /* six arguments, then the stack pointer and the program counter */
        return;
    look->is_in_call = true;
    look->call = call;
    look->sp = values[6];
    look->pc = values[7];
}

void thread_look(int tid, struct thread_look *look)
{
    char text[512], *at;

    *look = (struct thread_look){.state = '?', .call = -1};
    /* The two are read one after the other, and belong together only where they agree. */
    for (int i = 0; i < LOOKS_MAX; i++) {
        look_at_call(tid, look);
        if (read_small(tid, "stat", text, sizeof text) && (at = strrchr(text, ')')) && at[1] == ' ')
            look->state = at[2];
        if (look->is_in_call == (look->state != 'R'))
            return;
    }
    look->is_in_call = look->is_in_call && look->state != 'R';
}

void registers_of_look(struct registers *registers, const struct thread_look *look)
{
    memset(registers, 0, sizeof *registers);
    registers->at[UNWIND_SP] = look->sp;
    registers->at[UNWIND_PC] = look->pc;
    registers->known = (uint64_t)1 << UNWIND_SP | (uint64_t)1 << UNWIND_PC;
    registers->pc_is_exact = 1;
}

const char *call_name(long call)
{
    switch (call) {
    case SYS_read: return "read";
    case SYS_readv: return "readv";
    case SYS_pread64: return "pread64";
    case SYS_write: return "write";
    case SYS_writev: return "writev";
    case SYS_pwrite64: return "pwrite64";
    case SYS_openat: return "openat";
    case SYS_close: return "close";
    case SYS_fsync: return "fsync";
    case SYS_fdatasync: return "fdatasync";
    case SYS_sync: return "sync";
    case SYS_sendfile: return "sendfile";
    case SYS_splice: return "splice";
    case SYS_ppoll: return "ppoll";
    case SYS_pselect6: return "pselect6";
    case SYS_epoll_pwait: return "epoll_pwait";
    case SYS_epoll_pwait2: return "epoll_pwait2";
    case SYS_io_uring_enter: return "io_uring_enter";
    case SYS_accept: return "accept";
    case SYS_accept4: return "accept4";
    case SYS_connect: return "connect";
    case SYS_recvfrom: return "recvfrom";
    case SYS_recvmsg: return "recvmsg";
    case SYS_sendto: return "sendto";
    case SYS_sendmsg: return "sendmsg";
    case SYS_futex: return "futex: a lock, or a condition, that another thread has";
    case SYS_flock: return "flock";
    case SYS_fcntl: return "fcntl";
    case SYS_ioctl: return "ioctl";
    case SYS_wait4: return "wait4";
    case SYS_waitid: return "waitid";
    case SYS_nanosleep: return "nanosleep";
    case SYS_clock_nanosleep: return "clock_nanosleep";
    case SYS_restart_syscall: return "a sleep, or a wait with a time limit";  /* going on after a signal */
    case SYS_rt_sigtimedwait: return "rt_sigtimedwait";
    case SYS_rt_sigsuspend: return "rt_sigsuspend";
    case SYS_getdents64: return "getdents64";
    case SYS_newfstatat: return "newfstatat";
    case SYS_statx: return "statx";
    case SYS_unlinkat: return "unlinkat";
    case SYS_renameat2: return "renameat2";
    case SYS_mkdirat: return "mkdirat";
    case SYS_getrandom: return "getrandom";
    case SYS_munmap: return "munmap";
    case SYS_mmap: return "mmap";
    case SYS_madvise: return "madvise";
#ifdef SYS_poll
    case SYS_open: return "open";
    case SYS_poll: return "poll";
    case SYS_select: return "select";
    case SYS_pause: return "pause";
    case SYS_epoll_wait: return "epoll_wait";
    case SYS_stat: return "stat";
    case SYS_rename: return "rename";
    case SYS_unlink: return "unlink";
#endif
    default: return NULL;
    }
}
