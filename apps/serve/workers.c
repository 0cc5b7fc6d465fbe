/* SPDX-License-Identifier: MIT */
/*
 * --workers N: server processes on one port, each with its loop and its pool. The supervisor here starts them,
 * replaces one that dies, and passes SIGTERM on. It runs no loop itself: all it waits for are signals.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "serve.h"

#define PAUSE_NS 100000000   /* before a process that did not live a second is started again */
#define SHORT_LIFE_NS 1000000000
#define LATE_NS 1000000000

struct process {
    pid_t pid;
    td_time started;
};

struct supervisor {
    struct serve_options options;  /* with the real port */
    struct process *processes;
    sigset_t signals;
    int reserved;                  /* keeps a port that the system chose */
};

static int bind_once(const struct sockaddr_storage *address, socklen_t size, int option)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, rc;

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, option, &on, sizeof on) == 0 &&
        bind(fd, (const struct sockaddr *)address, size) == 0)
        return fd;
    rc = -errno;
    if (fd >= 0)
        close(fd);
    return rc;
}

/*
 * The port is taken once, for all: the processes share it, but not with another server, and a port that the system
 * chooses (0) is the same for each. A bound socket that never listens keeps it. Returns 0 or a negative errno.
 */
static int reserve_port(struct supervisor *self)
{
    struct sockaddr_storage address;
    socklen_t size = listen_parse(self->options.listen, &address);
    char host[TD_ADDRESS_MAX], port[8];
    bool v6 = address.ss_family == AF_INET6;
    int alone = bind_once(&address, size, SO_REUSEADDR);  /* fails while anybody listens there */

    self->reserved = -1;
    if (alone < 0)
        return alone;
    close(alone);
    self->reserved = bind_once(&address, size, SO_REUSEPORT);
    if (self->reserved < 0)
        return self->reserved;
    if (getsockname(self->reserved, (struct sockaddr *)&address, &size) < 0 ||
        getnameinfo((struct sockaddr *)&address, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return -EINVAL;
    snprintf(self->options.listen, sizeof self->options.listen, "%s%.46s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
    return 0;
}

static _Noreturn void child(struct supervisor *self, int ready, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    sigprocmask(SIG_UNBLOCK, &self->signals, NULL);
    if (self->reserved >= 0)
        close(self->reserved);
    exit(serve_process(&self->options, ready));
}

/* Starts a process; returns the reading end of the pipe that says where it listens, or a negative errno. */
static int start(struct supervisor *self, struct process *process)
{
    pid_t parent = getpid();
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    process->started = td_now();
    process->pid = fork();
    if (process->pid == 0) {
        close(ends[0]);
        child(self, ends[1], parent);
    }
    close(ends[1]);
    if (process->pid < 0) {
        close(ends[0]);
        return -errno;
    }
    return ends[0];
}

/* The line of a process that has begun to listen; empty when it ended instead. */
static size_t read_line(int fd, char *line, size_t size)
{
    size_t used = 0;
    ssize_t n;

    while (used < size && ((n = read(fd, line + used, size - used)) > 0 || (n < 0 && errno == EINTR)))
        used += n > 0 ? (size_t)n : 0;
    close(fd);
    return used;
}

static int start_all(struct supervisor *self)
{
    char line[128];
    size_t size = 0;

    for (unsigned i = 0; i < self->options.workers; i++) {
        int fd = start(self, &self->processes[i]);

        if (fd < 0) {
            td_log(TD_LOG_ERROR, "cannot start a server process: %s", td_strerror(fd));
            return fd;
        }
        size = read_line(fd, line, sizeof line);
        if (size == 0)
            return -ECHILD;  /* it has said why */
    }
    if (write(STDOUT_FILENO, line, size) < 0)
        td_log(TD_LOG_WARNING, "cannot write the address to standard output: %s", strerrordesc_np(errno));
    return 0;
}

static struct process *find(struct supervisor *self, pid_t pid)
{
    for (unsigned i = 0; i < self->options.workers; i++)
        if (self->processes[i].pid == pid)
            return &self->processes[i];
    return NULL;
}

/* Replaces a process that has ended. One that cannot be started is tried again at the next turn of `supervise`. */
static void restart(struct supervisor *self, struct process *process)
{
    struct timespec pause = {.tv_nsec = PAUSE_NS};
    char line[128];
    int fd;

    if (td_now() - process->started < SHORT_LIFE_NS)
        nanosleep(&pause, NULL);
    fd = start(self, process);
    if (fd < 0) {
        process->pid = 0;
        td_log(TD_LOG_ERROR, "cannot start a server process: %s; trying again", td_strerror(fd));
    } else {
        read_line(fd, line, sizeof line);
    }
}

static void reap(struct supervisor *self, bool replace)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct process *process = find(self, pid);

        if (!process)
            continue;
        process->pid = 0;
        if (replace)
            td_log(TD_LOG_WARNING, "server process %d %s %d; starting another", (int)pid,
                   WIFSIGNALED(status) ? "was ended by signal" : "exited with status",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    for (unsigned i = 0; replace && i < self->options.workers; i++)
        if (self->processes[i].pid == 0)
            restart(self, &self->processes[i]);
}

static bool any_left(struct supervisor *self)
{
    for (unsigned i = 0; i < self->options.workers; i++)
        if (self->processes[i].pid > 0)
            return true;
    return false;
}

static void pass_on(struct supervisor *self, int signal)
{
    for (unsigned i = 0; i < self->options.workers; i++)
        if (self->processes[i].pid > 0)
            kill(self->processes[i].pid, signal);
}

static int supervise(struct supervisor *self)
{
    td_time end = TD_FOREVER;  /* of the drain, and a second: then whoever is left is killed */
    int rc = start_all(self);

    if (rc < 0) {
        pass_on(self, SIGTERM);
        end = td_after(self->options.drain_ns + LATE_NS);
    }
    reap(self, rc == 0);
    while (any_left(self)) {
        struct timespec second = {.tv_sec = 1};
        int signal = sigtimedwait(&self->signals, NULL, &second);

        if (signal == SIGTERM || signal == SIGINT) {
            if (end == TD_FOREVER)
                end = td_after(self->options.drain_ns + LATE_NS);
            pass_on(self, SIGTERM);
        }
        if (signal == SIGHUP)
            pass_on(self, SIGHUP);
        if (td_now() > end)
            pass_on(self, SIGKILL);
        reap(self, end == TD_FOREVER);
    }
    return rc < 0 ? 1 : 0;
}

int serve_workers(const struct serve_options *options)
{
    struct supervisor self = {.options = *options};
    int rc = reserve_port(&self), status = 1;

    signal(SIGCHLD, SIG_DFL);  /* ignored, as some parents leave it, no child could be waited for */
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&self.signals);
    sigaddset(&self.signals, SIGTERM);
    sigaddset(&self.signals, SIGINT);
    sigaddset(&self.signals, SIGCHLD);
    if (options->certificate_count > 0)
        sigaddset(&self.signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &self.signals, NULL);
    self.processes = calloc(options->workers, sizeof *self.processes);
    if (rc < 0 || !self.processes) {
        td_log(TD_LOG_ERROR, "cannot listen on %s: %s\n        choose another address with --listen", options->listen,
               td_strerror(rc < 0 ? rc : -ENOMEM));
    } else {
        td_log(TD_LOG_WARNING, "with several server processes, chat rooms are each process's own");
        status = supervise(&self);
    }
    if (self.reserved >= 0)
        close(self.reserved);
    free(self.processes);
    return status;
}

int serve_command(int argc, char **argv)
{
    struct serve_options options;
    int status = options_read(&options, argc, argv);

    if (status >= 0)
        return status;
    return options.workers > 1 ? serve_workers(&options) : serve_process(&options, -1);
}
