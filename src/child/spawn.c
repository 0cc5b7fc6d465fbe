/* SPDX-License-Identifier: MIT */
/*
 * Starting a program: by posix_spawn, which neither copies memory nor runs handlers of a program with threads. It holds
 * its thread until the exec, so it is not the loop's. Whatever can fail besides is done before.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child/child.h"
#include "file/file.h"
#include "tandem/log.h"

extern char **environ;

struct launch {
    const td_child_opts *opts;
    td_child *child;
    int give[3];   /* what the child gets: above 2, or -1 for inherit, null and the like */
    bool ours[3];  /* to be closed afterwards */
};

static const td_child_stdio *stdio_of(const td_child_opts *opts, int i)
{
    return i == 0 ? &opts->in : i == 1 ? &opts->out : &opts->err;
}

static bool makes_sense(const td_child_opts *opts)
{
    if (!opts->argv || !opts->argv[0])
        return false;
    for (int i = 0; i < 3; i++) {
        const td_child_stdio *stdio = stdio_of(opts, i);

        if (stdio->kind > TD_CHILD_STDOUT || (stdio->kind == TD_CHILD_STDOUT && i != 2) ||
            (stdio->kind == TD_CHILD_FD && fcntl(stdio->fd, F_GETFD) < 0))
            return false;
    }
    return true;
}

/*
 * Above the standard ones, so that no dup2 in the child covers another's source: *fd is replaced by a copy where need be.
 * It is closed on an error.
 */
static int lift(int *fd)
{
    int high, rc;

    if (*fd > 2)
        return 0;
    high = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
    rc = high < 0 ? -errno : 0;
    close(*fd);
    *fd = high;
    return rc;
}

static int prepare_pipe(struct launch *launch, int i)
{
    struct loop *loop = launch->child->loop;
    int ends[2], mine, rc;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    mine = ends[i == 0 ? 1 : 0];
    launch->give[i] = ends[i == 0 ? 0 : 1];
    rc = lift(&launch->give[i]);
    if (rc == 0)
        launch->ours[i] = true;
    /* Ours alone, so its flags are nobody else's; the child's end stays as programs expect it. */
    if (rc == 0 && fcntl(mine, F_SETFL, loop->table->file_flags) < 0)
        rc = -errno;
    if (rc == 0)
        return fd_wrap(loop, mine, &launch->child->pipes[i]);
    close(mine);
    return rc;
}

static int prepare_descriptor(struct launch *launch, int i, int fd)
{
    launch->give[i] = fd;
    if (fd > 2)
        return 0;
    launch->give[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (launch->give[i] < 0)
        return -errno;
    launch->ours[i] = true;
    return 0;
}

static int prepare(struct launch *launch)
{
    int rc = 0;

    for (int i = 0; i < 3 && rc == 0; i++) {
        const td_child_stdio *stdio = stdio_of(launch->opts, i);

        if (stdio->kind == TD_CHILD_PIPE)
            rc = prepare_pipe(launch, i);
        else if (stdio->kind == TD_CHILD_FD)
            rc = prepare_descriptor(launch, i, stdio->fd);
    }
    return rc;
}

static int set_actions(posix_spawn_file_actions_t *actions, const struct launch *launch)
{
    const char *cwd = launch->opts->cwd;
    int rc = 0;

    for (int i = 0; i < 3 && rc == 0; i++) {
        td_child_stdio_kind kind = stdio_of(launch->opts, i)->kind;

        if (launch->give[i] >= 0)
            rc = posix_spawn_file_actions_adddup2(actions, launch->give[i], i);
        else if (kind == TD_CHILD_NULL)
            rc = posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0);
        else if (kind == TD_CHILD_STDOUT)
            rc = posix_spawn_file_actions_adddup2(actions, STDOUT_FILENO, i);
    }
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(actions, 3);  /* others' descriptors may lack O_CLOEXEC */
    if (rc == 0 && cwd)
        rc = posix_spawn_file_actions_addchdir_np(actions, cwd);
    return -rc;
}

/* None of these can fail on an attribute that was initialised. */
static void set_attributes(posix_spawnattr_t *attributes, bool new_group)
{
    sigset_t set;

    sigemptyset(&set);
    posix_spawnattr_setsigmask(attributes, &set);
    sigfillset(&set);
    posix_spawnattr_setsigdefault(attributes, &set);
    posix_spawnattr_setpgroup(attributes, 0);
    posix_spawnattr_setflags(attributes, (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                 (new_group ? POSIX_SPAWN_SETPGROUP : 0)));
}

static int spawn_with(const struct launch *launch, const posix_spawn_file_actions_t *actions)
{
    const td_child_opts *opts = launch->opts;
    char *const *env = opts->env ? (char *const *)(uintptr_t)opts->env : environ;
    posix_spawnattr_t attributes;
    int rc = -posix_spawnattr_init(&attributes);

    if (rc < 0)
        return rc;
    set_attributes(&attributes, opts->new_group);
    rc = -posix_spawnp(&launch->child->pid, opts->argv[0], actions, &attributes, (char *const *)(uintptr_t)opts->argv, env);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

/* A child without a pidfd cannot be watched, so it must not be. */
static int open_pidfd(td_child *child)
{
    int rc;

    child->pidfd = pidfd_open(child->pid, 0);
    if (child->pidfd >= 0)
        return 0;
    rc = -errno;
    kill(child->pid, SIGKILL);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return rc;
}

/* In a thread. */
static int spawn_now(struct io_call *call)
{
    const struct launch *launch = call->data;
    posix_spawn_file_actions_t actions;
    int rc = -posix_spawn_file_actions_init(&actions);

    if (rc < 0)
        return rc;
    rc = set_actions(&actions, launch);
    if (rc == 0)
        rc = spawn_with(launch, &actions);
    posix_spawn_file_actions_destroy(&actions);
    return rc < 0 ? rc : open_pidfd(launch->child);
}

static void release(td_child *child)
{
    for (int i = 0; i < 3; i++)
        if (child->pipes[i])
            td_fd_close(child->pipes[i]);
    free(child);
}

static int launch_it(struct td_task *self, struct launch *launch)
{
    struct io_call call = {.data = launch, .run = spawn_now};
    const td_child_opts *opts = launch->opts;
    int rc = file_call(self, IO_RUN, &call, "a program to start");

    if (rc < 0 && rc != -ECANCELED && rc != -EOWNERDEAD)
        td_log(TD_LOG_ERROR, "cannot start %s%s%s: %s", opts->argv[0], opts->cwd ? " in " : "", opts->cwd ? opts->cwd : "",
               strerrordesc_np(-rc));
    return rc;
}

int td_child_spawn(td_child **out, const td_child_opts *opts)
{
    struct td_task *self = task_self(__func__);
    struct launch launch = {.opts = opts, .give = {-1, -1, -1}};
    td_child *child;
    int rc;

    *out = NULL;
    if (!makes_sense(opts))
        return -EINVAL;
    child = launch.child = calloc(1, sizeof *child);
    if (!child)
        return -ENOMEM;
    child->loop = loop_of(self);
    child->new_group = opts->new_group;
    child->grace_ns = opts->grace_ns ? opts->grace_ns : td_sec(2);
    rc = prepare(&launch);
    if (rc == 0)
        rc = launch_it(self, &launch);
    for (int i = 0; i < 3; i++)
        if (launch.ours[i])
            close(launch.give[i]);
    if (rc < 0) {
        release(child);
        return rc;
    }
    *out = child;
    return 0;
}
