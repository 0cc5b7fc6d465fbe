/* SPDX-License-Identifier: MIT */
/*
 * What runs in the zygote's process and in the workers it forks.
 *
 * Both ignore SIGINT and SIGTERM: the terminal and service managers send them to whole groups, and it is the
 * program that decides what happens to the jobs its workers run. Both die with the program: by PR_SET_PDEATHSIG,
 * and the zygote by the end of its socket.
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
#include "pool/page.h"
#include "pool/weight.h"
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

static void die_with(pid_t program)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != program)
        _exit(0);  /* it died before we asked */
}

static void keep_only(int a, int b)
{
    int low = a < b ? a : b, high = a < b ? b : a;

    if (low > 3)
        close_range(3, (unsigned)low - 1, 0);
    if (high > low + 1)
        close_range((unsigned)low + 1, (unsigned)high - 1, 0);
    close_range((unsigned)high + 1, ~0u, 0);
}

static _Noreturn void worker_main(struct worker_page *page, int event_fd, pid_t program)
{
    die_with(program);
    prctl(PR_SET_NAME, "tandem-worker");
    keep_only(event_fd, event_fd);
    worker_lower_weight();
    _exit(page_serve(page, event_fd) < 0 ? 1 : 0);
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
static int fork_worker(int page_fd, int event_fd, pid_t program, pid_t *pid)
{
    struct worker_page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
    int pidfd = -1, rc;
    long child;

    if (page == MAP_FAILED)
        return -errno;
    child = clone_sibling(page, &pidfd);
    if (child == 0)
        worker_main(page, event_fd, program);
    rc = child < 0 ? -errno : pidfd;
    *pid = (pid_t)child;
    munmap(page, sizeof *page);
    return rc;
}

_Noreturn void zygote_main(int socket, pid_t program)
{
    int fds[WIRE_FDS];

    reset_signals();
    arena_adopt(NULL);
    sched_disown();
    clock_adopt(NULL);
    keep_only(socket, socket);
    die_with(program);
    prctl(PR_SET_NAME, "tandem-zygote");
    while (wire_receive(socket, NULL, 0, fds, WIRE_FDS) >= 0) {
        struct wire_answer answer = {0};
        int pidfd = fork_worker(fds[0], fds[1], program, &answer.pid);

        answer.rc = pidfd < 0 ? pidfd : 0;
        close(fds[0]);
        close(fds[1]);
        if (wire_send(socket, &answer, sizeof answer, &pidfd, pidfd >= 0, 0) < 0)
            break;
        if (pidfd >= 0)
            close(pidfd);
    }
    _exit(0);
}
