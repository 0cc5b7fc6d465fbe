/* SPDX-License-Identifier: MIT */
/*
 * Worker processes. Kill before reclaim: a worker's page is touched again only when the process is known to be
 * dead, because we are its parent and have waited for it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/command.h"
#include "pool/pool.h"
#include "pool/zygote.h"
#include "tandem/log.h"

#define GRAVE_LOOK_NS 5000000
#define GRAVE_LOOKS 100  /* half a second: a forked process runs long before, or was never forked */

/* The page, and behind it the command it is for. */
static size_t page_bytes(const struct worker *worker)
{
    return sizeof *worker->page + command_bytes(worker->pool->opts.command);
}

static int process_prepare(struct worker *worker)
{
    int fd = memfd_create("tandem-worker-page", MFD_CLOEXEC), rc;
    size_t bytes = page_bytes(worker);
    void *page;

    if (fd < 0)
        return -errno;
    while (ftruncate(fd, (off_t)bytes) < 0)
        if (errno != EINTR)
            goto fail;
    page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        goto fail;
    if (madvise(page, bytes, MADV_DONTFORK) < 0) {  /* a zygote that is forked later, and its workers: none of their business */
        rc = -errno;
        munmap(page, bytes);
        close(fd);
        return rc;
    }
    worker->page = page;
    worker->page_fd = fd;
    if (worker->pool->opts.command)
        command_write((char *)(worker->page + 1), worker->pool->opts.command);
    return 0;

fail:
    rc = -errno;
    close(fd);
    return rc;
}

static void process_release(struct worker *worker)
{
    munmap(worker->page, page_bytes(worker));
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

static int watch_process(struct worker *worker);

static int wait_for_exit(struct worker *worker, siginfo_t *info, int options)
{
    int rc;

    do
        rc = waitid((idtype_t)P_PIDFD, (id_t)worker->pid_file.fd, info, WEXITED | options);
    while (rc < 0 && errno == EINTR);
    return rc;
}

static void lose_command(struct worker *worker)
{
    if (worker->command)
        command_close(worker->command);
    worker->command = NULL;
}

static void forget_process(struct worker *worker)
{
    loop_forget(worker->pool->loop, &worker->pid_file);
    close(worker->pid_file.fd);
    worker->pid_file.fd = -1;
    lose_command(worker);
}

/* What its end says of its cause, when it was not we who decided it. */
static td_death cause_of(const struct worker *worker, int signal)
{
    const td_pool_opts *opts = &worker->pool->opts;

    if (signal == SIGXCPU && opts->cpu_max_ns)
        return TD_DEATH_CPU;
    if (signal == SIGSYS && opts->strict)
        return TD_DEATH_FORBIDDEN;
    if (signal == SIGKILL)
        return worker->command && command_distrusted(worker->command) ? TD_DEATH_CORRUPT : TD_DEATH_KILLED;
    return signal ? TD_DEATH_CRASH : TD_DEATH_EXIT;
}

/* The process has ended; wait for it, and say how. */
static void process_ended(struct io_op *op, int result)
{
    struct worker *worker = container_of(op, struct worker, pid_op);
    siginfo_t info = {0};
    char how[128] = "ended";
    int signal = 0;
    td_death cause;

    (void)result;
    if (wait_for_exit(worker, &info, WNOHANG) == 0) {
        if (info.si_pid == 0) {  /* a spurious wake-up: it lives */
            if (watch_process(worker) == 0)
                return;
            signal = SIGKILL;
        } else if (info.si_code == CLD_EXITED) {
            snprintf(how, sizeof how, "exited with status %d", info.si_status);
        } else {
            signal = info.si_status;
            snprintf(how, sizeof how, "was ended by signal %d (%s)", signal, sigdescr_np(signal));
        }
    }  /* ECHILD: somebody else in the program waited for it; it is dead all the same */
    forget_process(worker);
    cause = cause_of(worker, signal);
    if (cause == TD_DEATH_CPU)
        snprintf(how, sizeof how, "used more processor time than cpu_max_ns allows");
    else if (cause == TD_DEATH_FORBIDDEN)
        snprintf(how, sizeof how, "made a system call that strict mode forbids");
    pool_worker_died(worker, signal, cause, how);
}

/*
 * Returns 0: process_ended was or will be called; or a negative errno: then it has been ended, because a worker whose end would
 * go unnoticed could keep a job for ever.
 */
static int watch_process(struct worker *worker)
{
    siginfo_t info;

    worker->pid_op = (struct io_op){.kind = IO_POLL, .file = &worker->pid_file, .done = process_ended, .events = POLLIN,
                                    .background = true};
    if (!loop_io_start(worker->pool->loop, &worker->pid_op))
        return 0;
    if (worker->pid_op.result >= 0) {
        process_ended(&worker->pid_op, 0);
        return 0;
    }
    process_kill(worker);
    (void)wait_for_exit(worker, &info, 0);
    return worker->pid_op.result;
}

/*
 * The zygote died before it answered. It may have forked a worker all the same, of which we know nothing. The page
 * is left to that worker; if it exists, the kernel has written its pid there before it can run or die. It is our child, which
 * nobody else waits for, so that the pid is its own until we have.
 */
struct grave {
    struct td_timer timer;
    td_pool *pool;
    struct worker_page *page;
    size_t bytes;
    unsigned looks;
    bool killed;
};

static void look_into_grave(struct td_timer *timer)
{
    struct grave *grave = container_of(timer, struct grave, timer);
    td_pool *pool = grave->pool;
    pid_t pid = atomic_load(&grave->page->pid);
    bool lives = pid > 0 && waitpid(pid, NULL, WNOHANG) == 0;  /* a child of ours: a worker may have written what stands there */

    if (lives && !grave->killed) {
        grave->killed = true;
        kill(pid, SIGKILL);
    }
    if (lives || (pid <= 0 && ++grave->looks < GRAVE_LOOKS)) {
        timers_arm(&pool->loop->sched.timers, timer, td_after(GRAVE_LOOK_NS));
        return;
    }
    munmap(grave->page, grave->bytes);
    free(grave);
    pool_grave_closed(pool);
}

static int abandon_page(struct worker *worker)
{
    struct worker_page *page = worker->page;
    struct grave *grave = malloc(sizeof *grave);
    int page_fd = worker->page_fd, rc;

    if (!grave)
        return -ENOMEM;
    rc = process_prepare(worker);
    if (rc < 0) {
        free(grave);
        return rc;
    }
    close(page_fd);
    *grave = (struct grave){.pool = worker->pool, .page = page, .bytes = page_bytes(worker)};
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
        lose_command(worker);
        rc = pidfd == -EOWNERDEAD ? abandon_page(worker) : 0;
        pool_worker_failed(worker, rc < 0 ? rc : pidfd);
        return;
    }
    worker->pid = pid;
    io_file_init(&worker->pid_file, pidfd);
    rc = watch_process(worker);
    if (rc < 0) {
        forget_process(worker);
        pool_worker_failed(worker, rc);
        return;
    }
    if (worker->pid_file.fd < 0)
        return;  /* it has died already, and that was dealt with */
    if (worker->command)
        command_born(worker->command);
    pool_worker_born(worker);
}

static int process_start(struct worker *worker)
{
    int rc;

    worker->page->flags &= ~(uint32_t)PAGE_QUIET;
    if (worker->pool->failures_in_row > 0)
        worker->page->flags |= PAGE_QUIET;
    list_init(&worker->request.link);
    worker->request.done = answered;
    worker->request.page_fd = worker->page_fd;
    worker->request.event_fd = worker->pool->loop->wake_file.fd;
    worker->request.command_bytes = 0;
    if (worker->pool->opts.command) {
        rc = command_open(worker, &worker->command);
        if (rc < 0)
            return rc;
        worker->request.event_fd = command_far_end(worker->command);
        worker->request.command_bytes = (uint32_t)command_bytes(worker->pool->opts.command);
    }
    rc = zygote_spawn(worker->pool->loop->zygote, &worker->request);
    if (rc < 0)
        lose_command(worker);
    return rc;
}

static void process_give(struct worker *worker)
{
    command_give(worker->command);
}

static void process_hang_up(struct worker *worker)
{
    command_hang_up(worker->command);
}

/*
 * Third in /proc/PID/stat, behind the name in parentheses, is the state (proc(5)): T is stopped, S asleep; t is a debugger's,
 * which is left alone. One that was rung in time is not asleep but waits for a core, unless it is past hearing.
 */
static bool process_lost(struct worker *worker, bool asleep)
{
    char path[32], text[128], *name_end, state;
    ssize_t n = -1;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)worker->pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        n = read(fd, text, sizeof text - 1);
        close(fd);
    }
    if (n <= 0)
        return false;
    text[n] = 0;
    name_end = strrchr(text, ')');
    state = name_end && strlen(name_end) > 2 ? name_end[2] : 0;
    return state == 'T' || (asleep && state == 'S');
}

const struct worker_kind worker_process = {
    .private = false,
    .prepare = process_prepare,
    .start = process_start,
    .kill = process_kill,
    .lost = process_lost,
    .release = process_release,
};

const struct worker_kind worker_command = {
    .private = false,
    .one_job = true,
    .prepare = process_prepare,
    .start = process_start,
    .ring = process_give,
    .kill = process_kill,
    .stop = process_hang_up,
    .release = process_release,
};
