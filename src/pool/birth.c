/* SPDX-License-Identifier: MIT */
#include "pool/birth.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "pool/command.h"
#include "pool/descriptors.h"
#include "pool/limits.h"
#include "pool/strict.h"
#include "pool/weight.h"
#include "tandem/error.h"
#include "tandem/log.h"

#define HIGH_FD 1000

void birth_die_with(pid_t program)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != program)
        _exit(0);  /* it died before we asked */
}

static _Noreturn void refuse(struct worker_page *page, const char *what, int rc)
{
    if (!(page->flags & PAGE_QUIET))
        td_log(TD_LOG_ERROR, "a worker process %s, so it runs no jobs: %s", what, td_strerror(rc));
    atomic_store(&page->up, rc);
    _exit(1);
}

/* A command finds the socket at descriptor 3, and nothing else open but what every program has. */
static _Noreturn void become_command(const struct birth *birth)
{
    char *text = (char *)(birth->page + 1), **arguments = command_arguments(text, birth->command_bytes);
    int fd = birth->event_fd, kept = COMMAND_FD, rc = -ENOMEM;

    if (arguments) {
        if (fd == COMMAND_FD ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, COMMAND_FD) < 0)
            refuse(birth->page, "has no descriptor for its socket", -errno);
        descriptors_keep_only(&kept, 1);
        execvp(arguments[0], arguments);
        rc = -errno;
    }
    if (!(birth->page->flags & PAGE_QUIET))
        td_log(TD_LOG_ERROR, "cannot run \"%s\" as a worker: %s", text, td_strerror(rc));
    atomic_store(&birth->page->up, rc);
    _exit(127);
}

/* Before anybody's code runs. What is fenced in after init is strict_fence's. */
static void accept_limits(const struct birth *birth)
{
    struct worker_page *page = birth->page;
    int rc;

    if (page->memory_max && (rc = limits_memory(0, page->memory_max)) < 0)
        refuse(page, "cannot be limited in its memory (memory_max)", rc);
    if (page->cpu_max_ns && (rc = limits_cpu(0, page->cpu_max_ns)) < 0)
        refuse(page, "cannot be limited in its processor time (cpu_max_ns)", rc);
    if (page->flags & PAGE_STRICT) {
        rc = birth->arena ? strict_seal(&birth->arena->heap.pages.regions[ARENA_MAIN]) : -ENOSYS;
        if (rc < 0)
            refuse(page, "cannot be kept from writing to shared memory (strict)", rc);
    }
}

/* To a high number: a job that closes all, and opens a file, shall not have its file written to. */
static int out_of_the_way(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);

    return high >= 0 ? high : fd;
}

_Noreturn void birth_worker(const struct birth *birth)
{
    int event_fd;

    birth_die_with(birth->program);
    prctl(PR_SET_NAME, "tandem-worker");
    worker_lower_weight();
    limits_prefer_for_oom();
    if (birth->command_bytes)
        become_command(birth);
    accept_limits(birth);
    event_fd = out_of_the_way(birth->event_fd);
    descriptors_keep_only(&event_fd, 1);
    _exit(page_serve(birth->page, event_fd) < 0);
}
