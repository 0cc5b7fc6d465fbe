/* SPDX-License-Identifier: MIT */
/*
 * What runs in the zygote's process and in the workers it forks.
 *
 * Both ignore SIGINT and SIGTERM: the terminal and service managers send them to whole groups, and it is the
 * program that decides what happens to the jobs its workers run. Both die with the program: by PR_SET_PDEATHSIG,
 * and the zygote by the end of its socket. What the worker does then is in pool/birth.c.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "pool/birth.h"
#include "pool/descriptors.h"
#include "pool/zygote.h"
#include "pool/zygote_wire.h"
#include "shared/arena.h"

static void reset_signals(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU};
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_DFL);  /* refused for SIGKILL and the like */
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        (void)signal(ignored[i], SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * The raw call: the C library's fork cannot make a sibling. The kernel writes the child's pid to the page before the
 * child can run or die, so that the program finds it there even if we do not live to tell.
 */
static long clone_sibling(struct worker_page *page, int *pidfd)
{
    const unsigned long flags = CLONE_PARENT | CLONE_PIDFD | CLONE_CHILD_SETTID;
#ifdef __x86_64__
    return syscall(SYS_clone, flags, NULL, pidfd, &page->pid, NULL);
#else
    return syscall(SYS_clone, flags, NULL, pidfd, NULL, &page->pid);
#endif
}

/* Forks a worker; returns its pidfd and pid, or a negative errno. */
static int fork_worker(const int fds[WIRE_FDS], struct birth *birth, pid_t *pid)
{
    size_t size = sizeof *birth->page + birth->command_bytes;
    int pidfd = -1, rc;
    long child;

    if (fds[0] < 0 || fds[1] < 0)  /* the kernel drops those for which we have no room */
        return -EMFILE;
    birth->event_fd = fds[1];
    birth->page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    if (birth->page == MAP_FAILED)
        return -errno;
    child = clone_sibling(birth->page, &pidfd);
    if (child == 0)
        birth_worker(birth);
    rc = child < 0 ? -errno : pidfd;
    *pid = (pid_t)child;
    munmap(birth->page, size);
    return rc;
}

/* The arena's files stay open: strict workers map them anew. */
static void keep_only_ours(int socket, const struct arena *arena)
{
    int kept[1 + ARENA_REGIONS] = {socket};

    for (int i = 0; i < ARENA_REGIONS; i++)
        kept[1 + i] = arena ? arena->heap.pages.regions[i].fd : -1;
    descriptors_keep_only(kept, sizeof kept / sizeof *kept);
}

_Noreturn void zygote_main(int socket, pid_t program, const struct arena *arena)
{
    struct birth birth = {.program = program, .arena = arena};
    struct wire_request request;
    int fds[WIRE_FDS];

    reset_signals();
    arena_adopt(NULL);
    sched_disown();
    clock_adopt(NULL);
    keep_only_ours(socket, arena);
    birth_die_with(program);
    prctl(PR_SET_NAME, "tandem-zygote");
    while (wire_receive(socket, &request, sizeof request, fds, WIRE_FDS) == sizeof request) {
        struct wire_answer answer = {0};
        int pidfd;

        birth.command_bytes = request.command_bytes;
        pidfd = fork_worker(fds, &birth, &answer.pid);
        answer.rc = pidfd < 0 ? pidfd : 0;
        for (int i = 0; i < WIRE_FDS; i++)
            if (fds[i] >= 0)
                close(fds[i]);
        if (wire_send(socket, &answer, sizeof answer, &pidfd, pidfd >= 0, 0) < 0)
            break;
        if (pidfd >= 0)
            close(pidfd);
    }
    _exit(0);
}
