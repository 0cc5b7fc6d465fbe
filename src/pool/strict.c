/* SPDX-License-Identifier: MIT */
/*
 * The filter is a program for the kernel's packet machine: it sees the call's number, the machine's architecture and
 * the arguments' values (never what they point to), and answers. Each rule below is a few of its instructions: they answer
 * when they match, and fall through to the next rule when they do not.
 */
#include "pool/strict.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#define INSTRUCTIONS_MAX 160
#define X32_BIT 0x40000000u  /* the other numbering of calls that an x86-64 kernel may know */

int strict_seal(const struct arena_region *region)
{
    int fd = region_open_read_only(region), rc = 0;

    if (fd < 0)
        return fd;
    if (mmap(region->base, region->size, PROT_READ, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) == MAP_FAILED)
        rc = -errno;
    else
        (void)madvise(region->base, region->size, MADV_DONTDUMP);  /* as in map_region: a crash would touch all of it */
    close(fd);
    return rc;
}

#ifdef ARCHITECTURE

struct filter {
    struct sock_filter code[INSTRUCTIONS_MAX];
    unsigned short count;
};

static void emit(struct filter *filter, unsigned short code, unsigned char if_true, unsigned char if_false, uint32_t value)
{
    if (filter->count < INSTRUCTIONS_MAX)
        filter->code[filter->count] = (struct sock_filter){code, if_true, if_false, value};
    filter->count++;
}

static void load(struct filter *filter, size_t offset)
{
    emit(filter, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void answer(struct filter *filter, uint32_t verdict)
{
    emit(filter, BPF_RET | BPF_K, 0, 0, verdict);
}

/* The lower half of an argument. What we ask about is an int to the kernel, which does not look at the upper half. */
static void load_argument(struct filter *filter, unsigned index)
{
    load(filter, offsetof(struct seccomp_data, args) + index * sizeof(uint64_t));
}

static void allow(struct filter *filter, uint32_t number)
{
    emit(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, number);
    answer(filter, SECCOMP_RET_ALLOW);
}

/* Allows the call when its argument is one of two values. */
static void allow_either(struct filter *filter, uint32_t number, unsigned argument, uint32_t a, uint32_t b)
{
    emit(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 5, number);
    load_argument(filter, argument);
    emit(filter, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, a);
    emit(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, b);
    answer(filter, SECCOMP_RET_ALLOW);
    answer(filter, SECCOMP_RET_KILL_PROCESS);
}

/* Mappings of descriptors are none of computing's business; shared ones would be beyond memory_max. */
static void allow_private_memory(struct filter *filter)
{
    emit(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 5, SYS_mmap);
    load_argument(filter, 3);
    emit(filter, BPF_JMP | BPF_JSET | BPF_K, 2, 0, MAP_SHARED);
    emit(filter, BPF_JMP | BPF_JSET | BPF_K, 0, 1, MAP_ANONYMOUS);
    answer(filter, SECCOMP_RET_ALLOW);
    answer(filter, SECCOMP_RET_KILL_PROCESS);
}

/* Without what takes pages away from the others: MADV_REMOVE, and all that is above the harmless ones (MADV_HWPOISON). */
static void allow_advice(struct filter *filter)
{
    emit(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 5, SYS_madvise);
    load_argument(filter, 2);
    emit(filter, BPF_JMP | BPF_JEQ | BPF_K, 2, 0, MADV_REMOVE);
    emit(filter, BPF_JMP | BPF_JGT | BPF_K, 1, 0, MADV_DODUMP);
    answer(filter, SECCOMP_RET_ALLOW);
    answer(filter, SECCOMP_RET_KILL_PROCESS);
}

/* limits_cpu: its own limit on processor time, and no other. */
static void allow_cpu_limit(struct filter *filter)
{
    emit(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 6, SYS_prlimit64);
    load_argument(filter, 0);
    emit(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 0);
    load_argument(filter, 1);
    emit(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, RLIMIT_CPU);
    answer(filter, SECCOMP_RET_ALLOW);
    answer(filter, SECCOMP_RET_KILL_PROCESS);
}

static void write_rules(struct filter *filter, int event_fd, bool may_move_cpu_limit)
{
    static const uint32_t harmless[] = {
        SYS_futex, SYS_clock_gettime, SYS_clock_nanosleep, SYS_clock_getres, SYS_gettimeofday, SYS_nanosleep,
        SYS_munmap, SYS_mremap, SYS_mprotect, SYS_brk, SYS_getrandom, SYS_sched_yield, SYS_getpid, SYS_gettid, SYS_getcpu,
        SYS_sched_getaffinity, SYS_getrusage, SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_sigaltstack,
        SYS_restart_syscall, SYS_exit, SYS_exit_group,
        SYS_ppoll,  /* td_log, when whoever reads the log is slow */
#ifdef __x86_64__
        SYS_time, SYS_poll,
#endif
    };
    uint32_t self = (uint32_t)getpid();

    load(filter, offsetof(struct seccomp_data, arch));
    emit(filter, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCHITECTURE);
    answer(filter, SECCOMP_RET_KILL_PROCESS);
    load(filter, offsetof(struct seccomp_data, nr));
    emit(filter, BPF_JMP | BPF_JGE | BPF_K, 0, 1, X32_BIT);
    answer(filter, SECCOMP_RET_KILL_PROCESS);
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        allow(filter, harmless[i]);
    allow_private_memory(filter);
    allow_advice(filter);
    allow_either(filter, SYS_write, 0, (uint32_t)event_fd, STDERR_FILENO);
    allow_either(filter, SYS_writev, 0, STDERR_FILENO, STDERR_FILENO);  /* malloc's last words */
    allow_either(filter, SYS_tgkill, 0, self, self);                    /* abort, raise */
    if (may_move_cpu_limit)
        allow_cpu_limit(filter);
    answer(filter, SECCOMP_RET_KILL_PROCESS);
}

int strict_fence(int event_fd, bool may_move_cpu_limit)
{
    struct filter filter = {.count = 0};
    struct sock_fprog program = {.filter = filter.code};

    write_rules(&filter, event_fd, may_move_cpu_limit);
    if (filter.count > INSTRUCTIONS_MAX)
        return -E2BIG;
    program.len = filter.count;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}

#else

int strict_fence(int event_fd, bool may_move_cpu_limit)
{
    return -ENOSYS;
}

#endif
