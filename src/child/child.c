/* SPDX-License-Identifier: MIT */
/*
 * Invariant: until `reaped`, pid and group number are the child's, for a zombie keeps them.
 */
#include "child/child.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fail.h"

struct td_task *child_user(const td_child *child, const char *function)
{
    struct td_task *self = task_self(function);

    if (loop_of(self) != child->loop)
        fail("%s: the child belongs to another loop; a task and its children live on one loop", function);
    return self;
}

/* Takes the child's end, if it has ended. */
static void reap(td_child *child)
{
    siginfo_t info = {.si_pid = 0};
    int rc;

    do
        rc = waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) < 0 ? -errno : 0;
    while (rc == -EINTR);
    if ((rc == 0 && info.si_pid == 0) || (rc == -ECHILD && pidfd_send_signal(child->pidfd, 0, NULL, 0) == 0))
        return;
    child->reaped = true;
    child->wait_rc = rc;
    if (rc < 0)
        return;
    if (info.si_code == CLD_EXITED)
        child->exit = (td_child_exit){.status = info.si_status};
    else
        child->exit = (td_child_exit){.status = -1, .signal = info.si_status, .core_dumped = info.si_code == CLD_DUMPED};
}

int td_child_wait(td_child *child, td_child_exit *exit)
{
    int rc = task_checkpoint(child_user(child, __func__));

    child->waiters++;
    while (rc == 0 && !child->reaped) {
        rc = td_wait_readable(child->pidfd);
        if (rc == 0 && !child->reaped)  /* several tasks are woken at once */
            reap(child);
    }
    child->waiters--;
    if (rc < 0)
        return rc;
    if (exit)
        *exit = child->exit;
    return child->wait_rc;
}

int td_child_signal(td_child *child, int signal)
{
    child_user(child, __func__);
    if (child->reaped)
        return -ESRCH;
    if (child->new_group)
        return kill(-child->pid, signal) < 0 ? -errno : 0;
    if (pidfd_send_signal(child->pidfd, signal, NULL, 0) == 0)
        return 0;
    if (errno == ENOSYS || errno == EPERM)  /* a filter may forbid only this call; by the invariant the number is as good */
        return kill(child->pid, signal) < 0 ? -errno : 0;
    return -errno;
}

pid_t td_child_pid(const td_child *child)
{
    return child->pid;
}

td_fd *td_child_stdin(td_child *child)
{
    return child->pipes[0];
}

td_fd *td_child_stdout(td_child *child)
{
    return child->pipes[1];
}

td_fd *td_child_stderr(td_child *child)
{
    return child->pipes[2];
}

static void close_pipe(td_child *child, int i)
{
    if (child->pipes[i])
        td_fd_close(child->pipes[i]);
    child->pipes[i] = NULL;
}

void td_child_end_input(td_child *child)
{
    child_user(child, __func__);
    close_pipe(child, 0);
}

/* Waits for the end without taking it, so that the group's number stays good; for a time, or for good. Returns 0, ... */
static int wait_for_end(td_child *child, td_time for_ns)
{
    struct io_file file;
    struct io_op op = {.kind = IO_POLL, .file = &file, .events = POLLIN, .to_the_end = for_ns == TD_FOREVER};
    td_scope scope;
    int rc;

    io_file_init(&file, child->pidfd);
    td_scope_open_shielded(&scope, for_ns);
    rc = loop_io(task_self(__func__), &op, "a child process to end");
    td_scope_join(&scope);
    loop_forget(child->loop, &file);
    return rc;
}

static void pause_a_little(void)
{
    td_scope scope;

    td_scope_open_shielded(&scope, td_sec(1));
    td_sleep(td_ms(1));
    td_scope_join(&scope);
}

static void end(td_child *child)
{
    int rc = -ECANCELED;

    if (child->grace_ns > 0) {
        (void)td_child_signal(child, SIGTERM);
        rc = wait_for_end(child, child->grace_ns);
    }
    if (rc < 0 || child->new_group)
        (void)td_child_signal(child, SIGKILL);
    if (rc < 0)
        rc = wait_for_end(child, TD_FOREVER);
    reap(child);
    while (!child->reaped) {  /* there is no memory to wait properly */
        pause_a_little();
        reap(child);
    }
}

void td_child_close(td_child *child)
{
    struct td_task *self = child_user(child, __func__);

    if (child->waiters > 0)
        fail("td_child_close: %u tasks wait for this child; join them first", child->waiters);
    for (int i = 0; i < 3; i++)
        close_pipe(child, i);
    if (!self->sched->forked) {
        if (!child->reaped)
            reap(child);
        if (!child->reaped)
            end(child);
    }
    close(child->pidfd);
    free(child);
}
