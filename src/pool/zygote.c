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

#define UNANSWERED_MAX 16        /* requests the zygote may have before it: as many fit the socket, so that nobody blocks */
#define ANSWER_NS 2000000000

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
        zygote_main(pair[1], program, zygote->arena);
    close(pair[1]);
    zygote->pid = pid;
    io_file_init(&zygote->file, pair[0]);
    return 0;
}

static int listen_answers(struct zygote *zygote);
static void send_requests(struct zygote *zygote);

/* It answers within milliseconds. One that does not is stopped or stuck: end it, which answers_came will notice. */
static void answer_overdue(struct td_timer *timer)
{
    struct zygote *zygote = container_of(timer, struct zygote, overdue);

    td_log(TD_LOG_WARNING, "the process that forks workers (pid %d) does not answer; ending it", (int)zygote->pid);
    kill(zygote->pid, SIGKILL);
}

static void watch_answers(struct zygote *zygote)
{
    struct timers *timers = &zygote->loop->sched.timers;

    timers_disarm(timers, &zygote->overdue);
    if (zygote->unanswered > 0)
        timers_arm(timers, &zygote->overdue, td_after(ANSWER_NS));
}

int zygote_open(struct zygote *zygote, const struct arena *arena)
{
    memset(zygote, 0, sizeof *zygote);
    zygote->arena = arena;
    list_init(&zygote->requests);
    timer_init(&zygote->overdue, answer_overdue);
    return fork_zygote(zygote);
}

static void reap(struct zygote *zygote)
{
    close(zygote->file.fd);
    zygote->file.fd = -1;
    kill(zygote->pid, SIGKILL);
    while (waitpid(zygote->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Ends it. Its descriptor is -1 then, and the next request forks another. */
static void give_up(struct zygote *zygote)
{
    loop_forget(zygote->loop, &zygote->file);
    reap(zygote);
}

/* Listens to one that was forked. Returns 0, or a negative errno when that cannot be done: then it is ended. */
static int listen_or_give_up(struct zygote *zygote)
{
    int rc = listen_answers(zygote);

    if (rc < 0)
        give_up(zygote);
    return rc;
}

/* Returns 0 or a negative errno. */
static int fork_another(struct zygote *zygote)
{
    int rc = fork_zygote(zygote);

    return rc < 0 ? rc : listen_or_give_up(zygote);
}

/*
 * Somebody killed it. Fork another, and let whoever waits for an answer ask again. `failed`: its answers could not be waited
 * for. There will be another when a worker is wanted, not now: that would be the same again at once, for ever.
 */
static void replace(struct zygote *zygote, int failed)
{
    struct td_list orphans;
    int rc = failed;

    if (failed == 0)
        td_log(TD_LOG_WARNING, "the process that forks workers (pid %d) died; starting another", (int)zygote->pid);
    give_up(zygote);
    zygote->unanswered = 0;
    watch_answers(zygote);
    if (failed == 0)
        rc = fork_another(zygote);
    if (rc < 0)
        td_log(TD_LOG_ERROR, "cannot start another process that forks workers; it is tried again when one is wanted: %s",
               td_strerror(rc));
    list_init(&orphans);
    while (!list_empty(&zygote->requests))
        list_push_back(&orphans, list_pop_front(&zygote->requests));
    while (!list_empty(&orphans)) {
        struct zygote_request *request = container_of(list_pop_front(&orphans), struct zygote_request, link);

        request->done(request, -EOWNERDEAD, 0);
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
    zygote->unanswered--;
    if (answer.rc == 0 && pidfd < 0) {
        /*
         * The kernel drops a descriptor for which we have no room. The worker lives, and would serve its page: end
         * it before anybody else gets that page. It is our child and not waited for, so its pid is still its own.
         */
        kill(answer.pid, SIGKILL);
        while (waitpid(answer.pid, NULL, 0) < 0 && errno == EINTR)
            ;
        answer.rc = -EMFILE;
    }
    watch_answers(zygote);
    send_requests(zygote);
    request->done(request, answer.rc < 0 ? answer.rc : pidfd, answer.pid);
    return true;
}

static void answers_came(struct io_op *op, int result)
{
    struct zygote *zygote = container_of(op, struct zygote, op);

    zygote->listening = false;
    if (zygote->closing)
        return;
    if (result < 0 || !take_answer(zygote)) {
        replace(zygote, result < 0 ? result : 0);
        return;
    }
    result = listen_answers(zygote);
    if (result < 0)
        replace(zygote, result);
}

/* Returns 0, or a negative errno when it cannot be waited for. */
static int listen_answers(struct zygote *zygote)
{
    zygote->op = (struct io_op){.kind = IO_POLL, .file = &zygote->file, .done = answers_came, .events = POLLIN,
                                .background = true};
    zygote->listening = true;
    if (!loop_io_start(zygote->loop, &zygote->op))
        return 0;
    if (zygote->op.result >= 0) {
        answers_came(&zygote->op, 0);
        return 0;
    }
    zygote->listening = false;
    return zygote->op.result;
}

void zygote_attach(struct zygote *zygote, struct loop *loop)
{
    zygote->loop = loop;
    loop->zygote = zygote;
    (void)listen_or_give_up(zygote);  /* the first request forks another then */
}

static int send_request(struct zygote *zygote, const struct zygote_request *request)
{
    struct wire_request message = {request->command_bytes};
    int fds[WIRE_FDS] = {request->page_fd, request->event_fd};

    return wire_send(zygote->file.fd, &message, sizeof message, fds, WIRE_FDS, MSG_DONTWAIT);
}

/* Requests are in the list in their order: the first `unanswered` have been sent. */
static struct zygote_request *first_unsent(struct zygote *zygote)
{
    struct td_list *at = zygote->requests.next;

    for (unsigned i = 0; i < zygote->unanswered; i++)
        at = at->next;
    return at == &zygote->requests ? NULL : container_of(at, struct zygote_request, link);
}

static void send_requests(struct zygote *zygote)
{
    struct zygote_request *request;

    while (zygote->unanswered < UNANSWERED_MAX && (request = first_unsent(zygote))) {
        int rc = send_request(zygote, request);

        if (rc == 0) {
            zygote->unanswered++;
            watch_answers(zygote);
        } else if (rc == -EAGAIN && zygote->unanswered > 0) {
            return;  /* the next answer makes room */
        } else {
            /* Dead, which answers_came will notice; or the kernel is short of something, and nobody would come back to it. */
            list_remove(&request->link);
            request->done(request, rc == -EAGAIN ? -ENOBUFS : rc, 0);
        }
    }
}

int zygote_spawn(struct zygote *zygote, struct zygote_request *request)
{
    int rc;

    if (zygote->file.fd < 0) {  /* it died, and could not be replaced then */
        rc = fork_another(zygote);
        if (rc < 0)
            return rc;
    }
    list_push_back(&zygote->requests, &request->link);
    send_requests(zygote);
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
