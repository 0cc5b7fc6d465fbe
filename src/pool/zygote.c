/* SPDX-License-Identifier: MIT */
#include "pool/zygote.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/zygote_wire.h"
#include "tandem/error.h"
#include "tandem/log.h"

static int fork_zygote(struct zygote *zygote)
{
    int pair[2];
    pid_t program = getpid(), pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    pid = fork();
    if (pid < 0) {
        int rc = -errno;

        close(pair[0]);
        close(pair[1]);
        return rc;
    }
    if (pid == 0)
        zygote_main(pair[1], program);
    close(pair[1]);
    zygote->pid = pid;
    io_file_init(&zygote->file, pair[0]);
    return 0;
}

int zygote_open(struct zygote *zygote)
{
    memset(zygote, 0, sizeof *zygote);
    list_init(&zygote->requests);
    return fork_zygote(zygote);
}

static void listen_answers(struct zygote *zygote);

static void reap(struct zygote *zygote)
{
    close(zygote->file.fd);
    zygote->file.fd = -1;
    kill(zygote->pid, SIGKILL);
    while (waitpid(zygote->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Somebody killed it. Fork another, and let whoever waits for an answer ask again. */
static void replace(struct zygote *zygote)
{
    struct td_list orphans;
    int rc;

    td_log(TD_LOG_WARNING, "the process that forks workers (pid %d) died; starting another", (int)zygote->pid);
    loop_forget(zygote->loop, &zygote->file);
    reap(zygote);
    rc = fork_zygote(zygote);
    if (rc < 0)
        td_log(TD_LOG_ERROR, "it could not be replaced, and no worker process will be: %s", td_strerror(rc));
    else
        listen_answers(zygote);
    list_init(&orphans);
    while (!list_empty(&zygote->requests))
        list_push_back(&orphans, list_pop_front(&zygote->requests));
    while (!list_empty(&orphans)) {
        struct zygote_request *request = container_of(list_pop_front(&orphans), struct zygote_request, link);

        request->done(request, -EAGAIN, 0);
    }
}

/* Takes one answer. False when there will be no more of them. */
static bool take_answer(struct zygote *zygote)
{
    struct wire_answer answer;
    struct zygote_request *request;
    int pidfd;
    ssize_t n = wire_receive(zygote->file.fd, &answer, sizeof answer, &pidfd, 1);

    if (n != sizeof answer || list_empty(&zygote->requests)) {
        if (pidfd >= 0)
            close(pidfd);
        return false;
    }
    request = container_of(list_pop_front(&zygote->requests), struct zygote_request, link);
    if (answer.rc == 0 && pidfd < 0)
        answer.rc = -EMFILE;  /* the kernel drops a descriptor for which we have no room */
    request->done(request, answer.rc < 0 ? answer.rc : pidfd, answer.pid);
    return true;
}

static void answers_came(struct io_op *op, int result)
{
    struct zygote *zygote = container_of(op, struct zygote, op);

    zygote->listening = false;
    if (zygote->closing)
        return;
    if (result < 0 || !take_answer(zygote))
        replace(zygote);
    else
        listen_answers(zygote);
}

static void listen_answers(struct zygote *zygote)
{
    zygote->op = (struct io_op){.kind = IO_POLL, .file = &zygote->file, .done = answers_came, .events = POLLIN,
                                .background = true};
    zygote->listening = true;
    if (loop_io_start(zygote->loop, &zygote->op))
        answers_came(&zygote->op, zygote->op.result);
}

void zygote_attach(struct zygote *zygote, struct loop *loop)
{
    zygote->loop = loop;
    loop->zygote = zygote;
    listen_answers(zygote);
}

int zygote_spawn(struct zygote *zygote, struct zygote_request *request, int page_fd, int event_fd)
{
    int fds[WIRE_FDS] = {page_fd, event_fd}, rc;

    if (zygote->file.fd < 0)
        return -EAGAIN;
    rc = wire_send(zygote->file.fd, NULL, 0, fds, WIRE_FDS);
    if (rc < 0)
        return -EAGAIN;  /* it has died; answers_came will notice and replace it */
    list_push_back(&zygote->requests, &request->link);
    return 0;
}

void zygote_detach(struct zygote *zygote)
{
    zygote->closing = true;
    if (zygote->listening)
        loop_io_cancel(zygote->loop, &zygote->op);
    while (zygote->listening && zygote->loop->table->poll(zygote->loop->backend, TD_FOREVER) == 0)
        ;
    loop_forget(zygote->loop, &zygote->file);
    zygote->loop->zygote = NULL;
}

void zygote_close(struct zygote *zygote)
{
    assert(list_empty(&zygote->requests));
    if (zygote->file.fd >= 0)
        reap(zygote);
}
