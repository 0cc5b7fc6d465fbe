/* SPDX-License-Identifier: MIT */
/*
 * First what can happen at once, beginning at a random case so that none starves; else every case is put in place and
 * the task parks until one of them is decided on.
 *
 * Invariants: 1. The moment a case is decided on, all others leave their queues and timers, so no second one can be
 * handed anything. 2. The task wakes when one is decided on and no descriptor's operation is under way: they lie on its
 * stack. 3. `holds` counts those operations, and the code that is at work on the cases.
 *
 * Of descriptors only the backend knows whether they are ready, and it may need a turn to say so. So when some other
 * case could happen at once and chance puts a descriptor first, it is asked: an operation is started and cancelled right
 * away, and its result tells (a probe).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/loop.h"
#include "sync/cases.h"
#include "sync/waiters.h"

struct select {
    struct wait wait;
    struct td_task *task;
    td_case *cases;
    size_t n, placed;  /* cases below `placed` are in place */
    size_t which;
    int rc;
    unsigned holds;
    bool decided, parked;
};

struct poll_case {
    struct io_op op;
    struct io_file file;  /* of a descriptor of the user's; streams have their own */
    int copy;        /* of the descriptor, which epoll takes only once; -1 while there is none */
    bool under_way;
};

/* In a case's room while it is in place. */
struct placed {
    struct select *select;
    union {
        struct waiter waiter;
        struct td_timer timer;
        struct poll_case poll;
    };
};

_Static_assert(sizeof(struct placed) <= sizeof ((td_case *)NULL)->room, "the room in a td_case is too small");

static struct placed *room_of(td_case *one)
{
    return (struct placed *)(void *)&one->room;
}

static size_t index_of(struct placed *placed)
{
    return (size_t)(container_of(placed, td_case, room) - placed->select->cases);
}

static bool is_poll(const td_case *one)
{
    return one->kind->events != 0;
}

static void displace(td_case *one)
{
    struct placed *placed = room_of(one);
    struct td_task *task = placed->select->task;

    if (is_poll(one)) {
        if (placed->poll.under_way)
            loop_io_cancel(loop_of(task), &placed->poll.op);
    } else if (one->kind->queue) {
        list_remove(&placed->waiter.link);
        loop_of(task)->io_pending -= one->kind->begin != NULL;
    } else {
        timers_disarm(&task->sched->timers, &placed->timer);
    }
}

static void let_go(struct select *select)
{
    if (--select->holds == 0 && select->decided && select->parked) {
        select->parked = false;
        task_unpark(select->task, select->rc);
    }
}

/* The first decision counts; a descriptor's operation may end after it, with nothing taken. */
static void decide(struct select *select, size_t which, int rc)
{
    if (select->decided)
        return;
    select->decided = true;
    select->which = which;
    select->rc = rc;
    select->holds++;
    for (size_t i = 0; i < select->placed; i++)
        displace(&select->cases[i]);
    let_go(select);
}

static void aborted(struct wait *wait)
{
    decide(container_of(wait, struct select, wait), SIZE_MAX, -ECANCELED);
}

static void woken(struct waiter *waiter, int rc)
{
    struct placed *placed = container_of(waiter, struct placed, waiter);

    decide(placed->select, index_of(placed), rc);
}

static void time_came(struct td_timer *timer)
{
    struct placed *placed = container_of(timer, struct placed, timer);

    decide(placed->select, index_of(placed), 0);
}

static void polled(struct io_op *op, int result)
{
    struct placed *placed = container_of(op, struct placed, poll.op);

    placed->poll.under_way = false;
    if (result != -ECANCELED)
        decide(placed->select, index_of(placed), result);
    let_go(placed->select);
}

/* Starts waiting for the descriptor. Returns -EINPROGRESS, then `done` will be called, or the result. */
static int start_poll(struct loop *loop, td_case *one, void (*done)(struct io_op *op, int result), void *owner)
{
    struct poll_case *poll = &room_of(one)->poll;
    struct io_file *file = one->on ? one->on : &poll->file;
    struct stat status;

    poll->copy = -1;
    poll->under_way = false;
    if (!one->on && fstat(one->fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) {
        io_file_init(file, one->fd);
        return -EPERM;  /* always ready, so that there is nothing to wait for; as td_wait_readable */
    }
    for (int fd = one->fd;; fd = poll->copy) {
        if (!one->on)
            io_file_init(file, fd);
        poll->op = (struct io_op){.kind = IO_POLL, .file = file, .events = one->kind->events, .done = done, .owner = owner};
        poll->under_way = !loop_io_start(loop, &poll->op);
        if (poll->under_way)
            return -EINPROGRESS;
        if (poll->op.result != -EEXIST || one->on || poll->copy >= 0)
            return poll->op.result;
        loop_forget(loop, &poll->file);
        poll->copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);  /* somebody else waits for it as well */
        if (poll->copy < 0)
            return -errno;
    }
}

static void end_poll(struct loop *loop, td_case *one)
{
    struct poll_case *poll = &room_of(one)->poll;

    assert(!poll->under_way);
    if (!one->on)
        loop_forget(loop, &poll->file);
    if (poll->copy >= 0)
        close(poll->copy);
}

static void begin(struct select *select, size_t i)
{
    td_case *one = &select->cases[i];

    loop_of(select->task)->io_pending++;
    one->kind->begin(one);
    if (!select->decided && one->kind->ready(one))
        decide(select, i, one->kind->happen(one));
}

static void put_in_place(struct select *select, size_t i)
{
    td_case *one = &select->cases[i];
    struct placed *placed = room_of(one);
    int rc;

    placed->select = select;
    select->placed = i + 1;
    if (is_poll(one)) {
        rc = start_poll(loop_of(select->task), one, polled, NULL);
        if (rc == -EINPROGRESS)
            select->holds++;
        else
            decide(select, i, rc);
    } else if (one->kind->queue) {
        placed->waiter.task = select->task;
        placed->waiter.slot = one->item;
        placed->waiter.woken = woken;
        waiters_push(one->kind->queue(one), &placed->waiter);
        if (one->kind->begin)
            begin(select, i);
    } else {
        timer_init(&placed->timer, time_came);
        if (one->at != TD_FOREVER)
            timers_arm(&select->task->sched->timers, &placed->timer, one->at);
    }
}

/* Puts the cases in place and waits for the decision. */
static int wait_for_one(struct select *select)
{
    struct td_task *self = select->task;

    select->holds = 1;
    for (size_t i = 0; i < select->n && !select->decided; i++)
        put_in_place(select, i);
    let_go(select);
    if (!select->decided || select->holds > 0) {
        select->parked = true;
        (void)task_park(self, &select->wait);
    }
    for (size_t i = 0; i < select->placed; i++)
        if (is_poll(&select->cases[i]))
            end_poll(loop_of(self), &select->cases[i]);
    return select->rc;
}

struct probe {
    struct wait wait;
    struct td_task *task;
    int rc;
    bool parked;
};

static void probed(struct io_op *op, int result)
{
    struct placed *placed = container_of(op, struct placed, poll.op);
    struct probe *probe = op->owner;

    placed->poll.under_way = false;
    if (result != -ECANCELED)
        probe->rc = result;
    if (probe->parked)
        task_unpark(probe->task, 0);
}

/* What the descriptor's case would answer now; -EAGAIN when it would wait. Not a checkpoint, but may take a turn. */
static int probe_now(struct td_task *self, td_case *one)
{
    struct probe probe = {.wait = {.what = "whether a descriptor is ready"}, .task = self, .rc = -EAGAIN};
    struct poll_case *poll = &room_of(one)->poll;
    int rc = start_poll(loop_of(self), one, probed, &probe);

    if (rc == -EINPROGRESS) {
        loop_io_cancel(loop_of(self), &poll->op);
        probe.parked = poll->under_way;
        if (probe.parked)
            (void)task_park(self, &probe.wait);
        rc = probe.rc;
    }
    end_poll(loop_of(self), one);
    return rc;
}

/* How many cases from `first` on, round about, are passed until one is ready, descriptors not asked; n when none is. */
static size_t ready_after(const td_case *cases, size_t n, size_t first)
{
    for (size_t k = 0; k < n; k++) {
        const td_case *one = &cases[(first + k) % n];

        if (!is_poll(one) && one->kind->ready(one))
            return k;
    }
    return n;
}

/* Makes a case happen that need not wait. Returns -EAGAIN when there is none. */
static int happen_now(struct td_task *self, td_case *cases, size_t n, size_t *which)
{
    size_t first = (size_t)dice_below(&loop_of(self)->dice, n), passed = ready_after(cases, n, first), ready;
    int rc;

    if (passed == n)
        return -EAGAIN;
    for (size_t k = 0; k < passed; k++) {
        td_case *one = &cases[(first + k) % n];

        if (!is_poll(one))
            continue;
        rc = probe_now(self, one);
        if (rc != -EAGAIN) {
            *which = (first + k) % n;
            return rc;
        }
    }
    ready = ready_after(cases, n, first);  /* again: a probe may have taken time */
    if (ready == n)
        return task_verdict(self) < 0 ? task_verdict(self) : -EAGAIN;
    *which = (first + ready) % n;
    return cases[*which].kind->happen(&cases[*which]);
}

int td_select(td_case *cases, size_t n, size_t *which)
{
    struct td_task *self = task_self(__func__);
    struct select select = {.wait = {.abort = aborted, .what = "several things at once"}, .task = self, .cases = cases, .n = n};
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    if (n == 0)
        return -EINVAL;
    rc = happen_now(self, cases, n, which);
    if (rc != -EAGAIN)
        return rc;
    rc = wait_for_one(&select);
    if (select.which < n)
        *which = select.which;
    return rc;
}
