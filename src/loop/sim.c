/* SPDX-License-Identifier: MIT */
/*
 * The simulation's backend: operations, luck, and the clock.
 *
 * Invariants: 1. An operation on a simulated socket is in one slot, until its one completion. 2. The clock moves in
 * sim_poll alone, and never past an event or a timer of the loop that is due before.
 */
#include "loop/sim.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/fail.h"

#define TURN_NS 1000             /* a turn takes a moment, so that a task that polls the clock gets somewhere */
#define LOOK_AT_REAL_EVERY 64    /* turns, when there is something to do */
#define DELAY_DEFAULT_NS 1000000
#define PARTIAL_DEFAULT 0.3

static int sim_open(struct backend **out, const char **why)
{
    struct backend *sim = calloc(1, sizeof *sim);

    *why = "out of memory";
    if (!sim)
        return -ENOMEM;
    list_init(&sim->real);
    list_init(&sim->calls);
    sim->next_port = 32768;
    *out = sim;
    return 0;
}

static void sim_attach(struct backend *sim, struct loop *loop)
{
    sim->loop = loop;
    timers_init(&sim->events, loop->virtual_now);
    dice_seed(&sim->order, loop->seed, STREAM_ORDER);
    dice_seed(&sim->net, loop->seed, STREAM_NETWORK);
    loop->sched.choose = sim_choose;
    sched_attend(&loop->sched);
}

static void sim_close(struct backend *sim)
{
    sim->loop->sched.choose = NULL;
    sim_net_close_all(sim);
    if (sim->trace)
        fclose(sim->trace);
    free(sim->sockets);
    free(sim);
}

td_time sim_delay(struct backend *sim, bool slow)
{
    td_time most = sim->faults.delay_max ? sim->faults.delay_max : DELAY_DEFAULT_NS;
    td_time delay = sim->faults.delay_min + (td_time)dice_below(&sim->net, (uint64_t)(most - sim->faults.delay_min) + 1);

    if (slow)
        delay *= 10;
    return dice_chance(&sim->net, sim->faults.straggler) ? delay * 100 : delay;
}

bool sim_chance(struct backend *sim, double probability, unsigned long long *count)
{
    bool hit = probability > 0 && dice_chance(&sim->net, probability);

    if (hit && count)
        ++*count;
    return hit;
}

double sim_partial(const struct backend *sim)
{
    return sim->faults.partial == 0 ? PARTIAL_DEFAULT : sim->faults.partial;
}

static int fail_one(struct backend *sim, td_sim_call call)
{
    sim->stats.calls[call]++;
    if (sim->fails[call].nth == 0 || --sim->fails[call].nth > 0)
        return 0;
    sim->stats.failed++;
    sim_note(sim, "fail", call, sim->fails[call].error);
    return sim->fails[call].error;
}

int sim_call(struct backend *sim, td_sim_call call)
{
    int error = fail_one(sim, call), any = fail_one(sim, TD_SIM_ANY);

    return error ? error : any;
}

void sim_slot_try(struct sim_slot *slot)
{
    struct backend *sim = slot->socket->sim;

    if (slot->op && !slot->timer.armed)
        timers_arm(&sim->events, &slot->timer, sim->loop->virtual_now + sim_delay(sim, slot->socket->slow));
}

void sim_slot_end(struct sim_slot *slot, int result)
{
    struct io_op *op = slot->op;

    timers_disarm(&slot->socket->sim->events, &slot->timer);
    slot->op = NULL;
    sim_note(slot->socket->sim, "done", slot->socket->fd - SIM_FD_FIRST, result);
    io_finish(op, result);
}

/* A cancelled operation ends with -ECANCELED, or with what came first: io_uring may answer either way. */
static void end_cancelled(struct sim_slot *slot)
{
    int result = -EAGAIN;

    if (slot->op->kind == IO_CONNECT)
        sim_net_disconnect(slot->socket);
    else if (dice_below(&slot->socket->sim->net, 2))
        result = sim_net_attempt(slot->socket, slot->op);
    sim_slot_end(slot, result == -EAGAIN ? -ECANCELED : result);
}

static void slot_due(struct td_timer *timer)
{
    struct sim_slot *slot = container_of(timer, struct sim_slot, timer);
    int result;

    if (slot->op->cancelled) {
        end_cancelled(slot);
        return;
    }
    result = sim_net_attempt(slot->socket, slot->op);
    if (result != -EAGAIN)
        sim_slot_end(slot, result);
}

void sim_slot_init(struct sim_slot *slot, struct sim_socket *socket)
{
    *slot = (struct sim_slot){.socket = socket};
    timer_init(&slot->timer, slot_due);
}

static td_sim_call call_of(const struct io_op *op)
{
    static const td_sim_call calls[IO_KINDS] = {[IO_ACCEPT] = TD_SIM_ACCEPT,   [IO_CONNECT] = TD_SIM_CONNECT,
                                                [IO_RECEIVE] = TD_SIM_RECEIVE, [IO_SEND] = TD_SIM_SEND};

    return op->kind <= IO_SEND ? calls[op->kind] : TD_SIM_FILE;
}

static bool sim_start(struct backend *sim, struct io_op *op)
{
    struct sim_socket *socket;
    struct sim_slot *slot;

    op->result = op->background ? 0 : sim_call(sim, call_of(op));
    if (op->result < 0) {
        if (op->kind == IO_CLOSE)
            (void)io_call_now(op);  /* close(2) closes whatever it answers */
        return true;
    }
    if (op->kind >= IO_CALLS)
        return sim_file_start(sim, op);
    if (op->file->fd < SIM_FD_FIRST)
        return sim_real_start(sim, op);
    socket = sim_socket_of(sim, op->file->fd);
    slot = io_is_write(op) ? &socket->writing : &socket->reading;
    assert(!slot->op);
    sim_note(sim, "start", socket->fd - SIM_FD_FIRST, op->kind);
    /* epoll completes at once what it can, io_uring nothing: both may happen here. */
    op->result = op->kind != IO_CONNECT && dice_below(&sim->net, 2) ? sim_net_attempt(socket, op) : -EAGAIN;
    if (op->result != -EAGAIN) {
        sim_note(sim, "done", socket->fd - SIM_FD_FIRST, op->result);
        return true;
    }
    slot->op = op;
    sim_slot_try(slot);
    return false;
}

static void sim_cancel(struct backend *sim, struct io_op *op)
{
    struct sim_socket *socket;
    struct sim_slot *slot;

    if (op->kind >= IO_CALLS) {
        sim_file_cancel(sim, op);
        return;
    }
    if (op->file->fd < SIM_FD_FIRST) {
        sim_real_end(sim, op, -ECANCELED);
        return;
    }
    socket = sim_socket_of(sim, op->file->fd);
    slot = io_is_write(op) ? &socket->writing : &socket->reading;
    assert(slot->op == op);
    sim_note(sim, "cancel", socket->fd - SIM_FD_FIRST, op->kind);
    if (dice_below(&sim->net, 2)) {
        end_cancelled(slot);
        return;
    }
    timers_disarm(&sim->events, &slot->timer);
    sim_slot_try(slot);
}

static void sim_forget(struct backend *sim, struct io_file *file)
{
    (void)sim;
    (void)file;
}

static int sim_poll(struct backend *sim, td_time wait_ns)
{
    td_time *now = &sim->loop->virtual_now, next = timers_next(&sim->events), limit;
    int rc = 0;

    if (wait_ns != 0 || sim->loop->stats.turns % LOOK_AT_REAL_EVERY == 0)
        rc = sim_real_poll(sim, 0);
    if (rc != 0 || sim->loop->sched.tasks == 0)
        return rc < 0 ? rc : 0;
    limit = wait_ns == 0 ? *now + TURN_NS : wait_ns == TD_FOREVER ? TD_FOREVER : *now + wait_ns;
    if (limit == TD_FOREVER && next == TD_FOREVER) {
        /* Nobody inside can do anything any more. Unless somebody outside is known to be at work, that is the end. */
        if (sim->real_foreground == 0 && sim->loop->outside_pending == 0)
            return -EDEADLK;
        rc = sim_real_poll(sim, -1);
        return rc < 0 ? rc : 0;
    }
    *now = next < limit ? next : limit;
    timers_fire(&sim->events, *now);
    return 0;
}

const struct backend_table backend_sim = {
    .name = "sim",
    .file_flags = SOCK_NONBLOCK,
    .sockets = &sockets_of_sim,
    .open = sim_open,
    .attach = sim_attach,
    .close = sim_close,
    .start = sim_start,
    .cancel = sim_cancel,
    .forget = sim_forget,
    .poll = sim_poll,
};
