/* SPDX-License-Identifier: MIT */
/* What the simulation leaves to the kernel: descriptors it did not make, and files. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "loop/sim.h"

#define REAL_MAX 64

static int attempt(const struct io_op *op)
{
    ssize_t n = 0;

    if (op->kind == IO_READ)
        n = read(op->file->fd, op->buffer.data, op->buffer.size);
    else if (op->kind == IO_WRITE)
        n = write(op->file->fd, op->buffer.data, op->buffer.size);
    return n < 0 ? -errno : (int)n;
}

bool sim_real_start(struct backend *sim, struct io_op *op)
{
    size_t count = 0;

    for (struct td_list *at = sim->real.next; at != &sim->real; at = at->next)
        count++;
    op->result = count >= REAL_MAX ? -ENOBUFS : op->kind == IO_POLL || op->kind == IO_READ || op->kind == IO_WRITE ? 0
                                                                                                                  : -ENOTSOCK;
    if (op->result < 0)
        return true;
    list_push_back(&sim->real, &op->link);
    sim->real_foreground += !op->background;
    return false;
}

void sim_real_end(struct backend *sim, struct io_op *op, int result)
{
    list_remove(&op->link);
    sim->real_foreground -= !op->background;
    io_finish(op, result);
}

int sim_real_poll(struct backend *sim, int wait_ms)
{
    struct pollfd polls[REAL_MAX];
    struct io_op *ops[REAL_MAX];
    int count = 0, ended = 0;

    for (struct td_list *at = sim->real.next; at != &sim->real; at = at->next, count++) {
        struct io_op *op = container_of(at, struct io_op, link);

        ops[count] = op;
        polls[count].fd = op->file->fd;
        polls[count].events = op->kind == IO_POLL ? op->events : io_is_write(op) ? POLLOUT : POLLIN;
    }
    if (poll(polls, (nfds_t)count, wait_ms) < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count; i++) {
        int result = polls[i].revents & POLLNVAL ? -EBADF : polls[i].revents ? attempt(ops[i]) : -EAGAIN;

        if (result == -EAGAIN || result == -EINTR)
            continue;
        sim_real_end(sim, ops[i], result);
        ended++;
    }
    return ended;
}

/* A call on a file, until it is made. */
struct file_call {
    struct td_list link;
    struct td_timer timer;
    struct backend *sim;
    struct io_op *op;
};

static void end_call(struct file_call *call, int result)
{
    struct io_op *op = call->op;

    sim_note(call->sim, "file", (long long)op->kind, result);
    timers_disarm(&call->sim->events, &call->timer);
    list_remove(&call->link);
    free(call);
    io_finish(op, result);
}

static void call_due(struct td_timer *timer)
{
    struct file_call *call = container_of(timer, struct file_call, timer);

    end_call(call, io_call_now(call->op));
}

bool sim_file_start(struct backend *sim, struct io_op *op)
{
    struct file_call *call = malloc(sizeof *call);

    if (!call) {
        op->result = -ENOMEM;
        return true;
    }
    *call = (struct file_call){.sim = sim, .op = op};
    list_push_back(&sim->calls, &call->link);
    timer_init(&call->timer, call_due);
    timers_arm(&sim->events, &call->timer, sim->loop->virtual_now + sim_delay(sim, false));
    return false;
}

void sim_file_cancel(struct backend *sim, struct io_op *op)
{
    for (struct td_list *at = sim->calls.next; at != &sim->calls; at = at->next) {
        struct file_call *call = container_of(at, struct file_call, link);

        if (call->op == op) {
            end_call(call, -ECANCELED);
            return;
        }
    }
}
