/* SPDX-License-Identifier: MIT */
#include "pool/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)
#define OOM_SCORE_MAX 1000
#define TEXT_MAX 4096  /* /proc/self/status has about 1500 bytes */

/* Without stdio, for a process that was forked a moment ago. Returns 0 and the text, or a negative errno. */
static int read_text(const char *path, char text[TEXT_MAX])
{
    int fd, rc;
    ssize_t n;

    do
        fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -errno;
    do
        n = read(fd, text, TEXT_MAX - 1);
    while (n < 0 && errno == EINTR);
    rc = n < 0 ? -errno : 0;
    close(fd);
    text[n < 0 ? 0 : n] = '\0';
    return rc;
}

/* What RLIMIT_DATA counts, in bytes (proc(5): VmData, in kB); or a negative errno. */
static int64_t data_of(pid_t pid)
{
    char path[40], text[TEXT_MAX], *line;
    int rc;

    snprintf(path, sizeof path, pid ? "/proc/%d/status" : "/proc/self/status", (int)pid);
    rc = read_text(path, text);
    if (rc < 0)
        return rc;
    line = strstr(text, "\nVmData:");
    return line ? (int64_t)strtoll(line + strlen("\nVmData:"), NULL, 10) * 1024 : -ENOSYS;
}

/* Never above the hard limit, which only the privileged may raise. */
static int change_limit(pid_t pid, __rlimit_resource_t which, rlim_t value, bool for_good)
{
    struct rlimit limit;

    if (prlimit(pid, which, NULL, &limit) < 0)
        return -errno;
    limit.rlim_cur = value < limit.rlim_max ? value : limit.rlim_max;
    if (for_good)
        limit.rlim_max = limit.rlim_cur;
    return prlimit(pid, which, &limit, NULL) < 0 ? -errno : 0;
}

int limits_memory(pid_t pid, uint64_t more_bytes)
{
    int64_t born_with = data_of(pid);

    if (born_with < 0)
        return (int)born_with;
    if (more_bytes > (uint64_t)(INT64_MAX - born_with))
        return 0;
    return change_limit(pid, RLIMIT_DATA, (rlim_t)born_with + more_bytes, true);
}

int limits_cpu(pid_t pid, td_time more_ns)
{
    clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
    struct timespec used;
    int rc = pid ? -clock_getcpuclockid(pid, &clock) : 0;

    if (rc < 0)
        return rc;
    if (clock_gettime(clock, &used) < 0)
        return -errno;
    if (more_ns > INT64_MAX - SECOND_NS - used.tv_nsec)
        return 0;
    return change_limit(pid, RLIMIT_CPU, (rlim_t)(used.tv_sec + (used.tv_nsec + more_ns + SECOND_NS - 1) / SECOND_NS), false);
}

void limits_arm_cpu(td_time cpu_max_ns)
{
    (void)limits_cpu(0, cpu_max_ns);
}

void limits_prefer_for_oom(void)
{
    char text[TEXT_MAX];
    int fd, size;
    long score;

    if (read_text("/proc/self/oom_score_adj", text) < 0)
        return;
    score = strtol(text, NULL, 10) + LIMITS_OOM_SCORE;
    size = snprintf(text, sizeof text, "%ld", score < OOM_SCORE_MAX ? score : OOM_SCORE_MAX);
    fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    while (write(fd, text, (size_t)size) < 0 && errno == EINTR)
        ;
    close(fd);
}
