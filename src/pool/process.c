/* SPDX-License-Identifier: MIT */
/*
 * Worker processes. Kill before reclaim: a worker's page is touched again only when the process is known to be
 * dead, because we are its parent and have waited for it.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/pool.h"
#include "pool/zygote.h"
#include "tandem/log.h"

#define GRAVE_LOOK_NS 5000000
#define GRAVE_LOOKS 100  /* half a second: a forked process runs long before, or was never forked */

static int process_prepare(struct worker *worker)
{
    int fd = memfd_create("tandem-worker-page", MFD_CLOEXEC), rc;
    void *page;

    if (fd < 0)
        return -errno;
    while (ftruncate(fd, sizeof *worker->page) < 0)
        if (errno != EINTR)
            goto fail;
    page = mmap(NULL, sizeof *worker->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        goto fail;
    worker->page = page;
    worker->page_fd = fd;
    return 0;

fail:
    rc = -errno;
    close(fd);
    return rc;
}

static void process_release(struct worker *worker)
{
    munmap(worker->page, sizeof *worker->page);
    close(worker->page_fd);
}

static int send_signal(struct worker *worker, int signal)
{
    return (int)syscall(SYS_pidfd_send_signal, worker->pid_file.fd, signal, NULL, 0);
}

static void process_kill(struct worker *worker)
{
    if (send_signal(worker, SIGKILL) == 0 || errno == ESRCH)
        return;
    /*
     * A sandbox may forbid the call. The pid is as good as the descriptor: the worker is our child, and until we have waited for
     * it no other process gets its pid.
     */
    if (kill(worker->pid, SIGKILL) < 0 && errno != ESRCH)
        td_log(TD_LOG_ERROR, "cannot kill worker %u (pid %d): %s", worker->index, (int)worker->pid, strerrordesc_np(errno));
}

static void watch_process(struct worker *worker);

static int wait_for_exit(struct worker *worker, siginfo_t *info, int options)
{
    int rc;

    do
        rc = waitid((idtype_t)P_PIDFD, (id_t)worker->pid_file.fd, info, WEXITED | options);
    while (rc < 0 && errno == EINTR);
    return rc;
}

/* The process has ended; wait for it, and say how. */
static void process_ended(struct io_op *op, int result)
{
    struct worker *worker = container_of(op, struct worker, pid_op);
    siginfo_t info = {0};
    td_death cause = TD_DEATH_EXIT;
    char how[96] = "ended";
    int signal = 0;

    (void)result;
    if (wait_for_exit(worker, &info, WNOHANG) == 0) {
        if (info.si_pid == 0) {  /* a spurious wake-up: it lives */
            watch_process(worker);
            return;
        }
        if (info.si_code == CLD_EXITED) {
            snprintf(how, sizeof how, "exited with status %d", info.si_status);
        } else {
            signal = info.si_status;
            cause = signal == SIGKILL ? TD_DEATH_KILLED : signal == SIGXCPU ? TD_DEATH_CPU :
                    signal == SIGSYS ? TD_DEATH_FORBIDDEN : TD_DEATH_CRASH;
            snprintf(how, sizeof how, "was ended by signal %d (%s)", signal, sigdescr_np(signal));
        }
    }  /* ECHILD: somebody else in the program waited for it; it is dead all the same */
    loop_forget(worker->pool->loop, &worker->pid_file);
    close(worker->pid_file.fd);
    worker->pid_file.fd = -1;
    pool_worker_died(worker, signal, cause, how);
}

static void watch_process(struct worker *worker)
{
    worker->pid_op = (struct io_op){.kind = IO_POLL, .file = &worker->pid_file, .done = process_ended, .events = POLLIN,
                                    .background = true};
    if (!loop_io_start(worker->pool->loop, &worker->pid_op))
        return;
    if (worker->pid_op.result < 0) {  /* a worker whose end would go unnoticed could keep a job for ever */
        siginfo_t info;

        td_log(TD_LOG_WARNING, "cannot watch worker %u (pid %d), so it is ended: %s", worker->index, (int)worker->pid,
               strerrordesc_np(-worker->pid_op.result));
        process_kill(worker);
        (void)wait_for_exit(worker, &info, WNOWAIT);
    }
    process_ended(&worker->pid_op, 0);
}

/*
 * The zygote died before it answered. It may have forked a worker all the same, of which we know nothing. The page
 * is left to that worker with the order to stop; if it exists, the kernel has written its pid there before it can
 * run or die, so that we can wait for it.
 */
struct grave {
    struct td_timer timer;
    td_pool *pool;
    struct worker_page *page;
    unsigned looks;
};

static void look_into_grave(struct td_timer *timer)
{
    struct grave *grave = container_of(timer, struct grave, timer);
    td_pool *pool = grave->pool;
    pid_t pid = atomic_load(&grave->page->pid);

    if (pid <= 0 && ++grave->looks < GRAVE_LOOKS) {
        timers_arm(&pool->loop->sched.timers, timer, td_after(GRAVE_LOOK_NS));
        return;
    }
    if (pid > 0)  /* it ends by itself at once; it has run nobody's code */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    munmap(grave->page, sizeof *grave->page);
    free(grave);
    pool_grave_closed(pool);
}

static int abandon_page(struct worker *worker)
{
    struct worker_page *old = worker->page;
    int old_fd = worker->page_fd;
    struct grave *grave = malloc(sizeof *grave);
    int rc;

    if (!grave)
        return -ENOMEM;
    worker->page = NULL;
    rc = worker_prepare(worker->pool, worker->index);
    if (rc < 0) {
        worker->page = old;
        worker->page_fd = old_fd;
        free(grave);
        return rc;
    }
    atomic_store(&page_slot(old, worker->head)->word, word_make(ticket_generation(worker->head), worker->index, 0, JOB_STOP));
    (void)page_ring(old);
    close(old_fd);
    *grave = (struct grave){.pool = worker->pool, .page = old};
    timer_init(&grave->timer, look_into_grave);
    timers_arm(&worker->pool->loop->sched.timers, &grave->timer, td_after(GRAVE_LOOK_NS));
    worker->pool->graves++;
    return 0;
}

static void answered(struct zygote_request *request, int pidfd, pid_t pid)
{
    struct worker *worker = container_of(request, struct worker, request);
    int rc;

    if (pidfd < 0) {
        rc = pidfd == -EAGAIN ? abandon_page(worker) : 0;
        pool_worker_failed(worker, rc < 0 ? rc : pidfd);
        return;
    }
    worker->pid = pid;
    io_file_init(&worker->pid_file, pidfd);
    watch_process(worker);
    if (worker->pid_file.fd >= 0)  /* else it has died already, and that was dealt with */
        pool_worker_born(worker);
}

static int process_start(struct worker *worker)
{
    list_init(&worker->request.link);
    worker->request.done = answered;
    worker->request.page_fd = worker->page_fd;
    worker->request.event_fd = worker->pool->loop->wake_file.fd;
    return zygote_spawn(worker->pool->loop->zygote, &worker->request);
}

const struct worker_kind worker_process = {
    .private = false,
    .prepare = process_prepare,
    .start = process_start,
    .kill = process_kill,
    .release = process_release,
};
