/* SPDX-License-Identifier: MIT */
/*
 * Handshakes are metered: a signature takes up to a millisecond, and a thousand clients that come back at once would hold the
 * loop for as many. A few may compute in each turn, the others wait in their order, and established connections are served in
 * between. How many run at once is bounded for their memory, how many wait for their patience.
 *
 * A handshake comes here when the client's hello has arrived, so a client that says nothing holds no place.
 */
#include <errno.h>

#include "net/tls.h"

#define PER_TURN 5
#define AT_ONCE 256
#define WAITING 1024

struct gate_wait {
    struct wait wait;
    struct td_list link;
    struct td_task *task;
    struct tls_gate *gate;
};

static void leave_line(struct gate_wait *waiter)
{
    list_remove(&waiter->link);
    waiter->gate->waiting--;
}

/* A new turn: a new share. Those that waited longest go first. */
static void turn_over(struct turn_end *end)
{
    struct tls_gate *gate = container_of(end, struct tls_gate, turn);

    gate->turn_left = gate->per_turn;
    while (gate->turn_left > 0 && gate->running < gate->running_max && !list_empty(&gate->waiters)) {
        struct gate_wait *waiter = container_of(gate->waiters.next, struct gate_wait, link);

        leave_line(waiter);
        gate->turn_left--;
        gate->running++;
        task_unpark(waiter->task, 0);
    }
    if (gate->turn_left < gate->per_turn)
        loop_at_turn_end(loop_current(), end);
}

static void wait_abort(struct wait *wait)
{
    struct gate_wait *waiter = container_of(wait, struct gate_wait, wait);

    leave_line(waiter);
    task_unpark(waiter->task, -ECANCELED);
}

void tls_gate_open(struct tls_gate *gate, const td_tls_server_opts *opts)
{
    gate->per_turn = opts->handshakes_per_turn ? opts->handshakes_per_turn : PER_TURN;
    gate->running_max = opts->handshakes_max ? opts->handshakes_max : AT_ONCE;
    gate->waiting_max = opts->handshakes_waiting_max ? opts->handshakes_waiting_max : WAITING;
    gate->turn_left = gate->per_turn;
    gate->turn.run = turn_over;
    list_init(&gate->turn.link);
    list_init(&gate->waiters);
}

int tls_gate_enter(struct td_tls *tls)
{
    struct td_task *self = task_self(__func__);
    struct tls_gate *gate = &tls->gate;
    struct gate_wait waiter = {.wait = {wait_abort, "its turn to shake hands", 0}, .task = self, .gate = gate};
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    if (gate->waiting == 0 && gate->turn_left > 0 && gate->running < gate->running_max) {
        gate->turn_left--;
        gate->running++;
        loop_at_turn_end(tls->loop, &gate->turn);
        return 0;
    }
    if (gate->waiting >= gate->waiting_max)
        return -EBUSY;
    list_init(&waiter.link);
    list_push_back(&gate->waiters, &waiter.link);
    gate->waiting++;
    return task_park(self, &waiter.wait);
}

void tls_gate_leave(struct td_tls *tls)
{
    tls->gate.running--;
    if (tls->gate.waiting > 0)
        loop_at_turn_end(tls->loop, &tls->gate.turn);
}
