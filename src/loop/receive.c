/* SPDX-License-Identifier: MIT */
/*
 * Receiving one operation after the other, for backends that have nothing better, and for programs that want it so.
 *
 * Invariant: a `single` receiver is armed while it has a `one_shot`: an operation is under way, or its turn comes at the turn's
 * end.
 */
#include "loop/receive.h"

#include <errno.h>
#include <stdlib.h>

#include "loop/loop.h"

#define AT_ONCE_MAX 16  /* operations in one go, before others get their turn */

struct one_shot {
    struct loop *loop;
    struct io_receiver *receiver;
    struct io_op op;
    struct input *input;
    struct turn_end again;
};

static void finish(struct one_shot *shot, int result)
{
    struct io_receiver *receiver = shot->receiver;

    list_remove(&shot->again.link);
    if (shot->input)
        input_free(shot->input);
    free(shot);
    receiver->single = false;
    receive_over(receiver, result);
}

static void completed(struct io_op *op, int result);

/* Hands over what came. Returns false when receiving is over. */
static bool take_result(struct one_shot *shot, int result)
{
    struct io_receiver *receiver = shot->receiver;
    struct input *input = shot->input;

    if (result == -EINTR || result == -EAGAIN)
        return true;
    if (result <= 0) {
        finish(shot, result);
        return false;
    }
    input->end = (uint32_t)result;
    shot->input = NULL;
    receiver->came(receiver, input, result);
    return true;
}

static void go_on(struct one_shot *shot)
{
    for (int n = 0; n < AT_ONCE_MAX; n++) {
        if (shot->receiver->stopping) {
            finish(shot, -ECANCELED);
            return;
        }
        if (!shot->input)
            shot->input = input_new(NULL, INPUT_STRIDE - sizeof(struct input));
        if (!shot->input) {
            finish(shot, -ENOMEM);
            return;
        }
        shot->op = (struct io_op){.kind = IO_RECEIVE, .file = &shot->receiver->file, .done = completed, .owner = shot,
                                  .buffer = {shot->input->bytes, shot->input->room}};
        if (!loop_io_start(shot->loop, &shot->op)) {
            --shot->loop->io_pending;  /* who waits for the bytes counts instead */
            shot->op.pending = NULL;
            return;
        }
        shot->op.owner = NULL;  /* nothing is under way */
        if (!take_result(shot, shot->op.result))
            return;
    }
    loop_at_turn_end(shot->loop, &shot->again);
}

static void completed(struct io_op *op, int result)
{
    struct one_shot *shot = op->owner;

    op->owner = NULL;  /* nothing is under way */
    if (take_result(shot, result))
        go_on(shot);
}

static void next_turn(struct turn_end *end)
{
    go_on(container_of(end, struct one_shot, again));
}

void receive_one_by_one(struct loop *loop, struct io_receiver *receiver)
{
    struct one_shot *shot = calloc(1, sizeof *shot);

    if (!shot) {
        receive_over(receiver, -ENOMEM);
        return;
    }
    shot->loop = loop;
    shot->receiver = receiver;
    shot->again.run = next_turn;
    list_init(&shot->again.link);
    receiver->one_shot = shot;
    receiver->single = true;
    go_on(shot);
}

void loop_receive(struct loop *loop, struct io_receiver *receiver)
{
    receiver->armed = true;
    receiver->stopping = receiver->queued = false;
    receiver->single = false;
    receiver->next = NULL;
    if (loop->sched.forked) {
        receive_over(receiver, -EOWNERDEAD);
    } else if (loop->receive_one_shot || !loop->table->receive || !loop->table->receive(loop->backend, receiver)) {
        receive_one_by_one(loop, receiver);
    }
}

void loop_receive_stop(struct loop *loop, struct io_receiver *receiver)
{
    struct one_shot *shot = receiver->single ? receiver->one_shot : NULL;

    if (!receiver->armed || receiver->stopping)
        return;
    receiver->stopping = true;
    if (loop->sched.forked) {  /* the parent goes on with its copy */
        receive_over(receiver, -EOWNERDEAD);
    } else if (!shot) {
        loop->table->receive_stop(loop->backend, receiver);
    } else if (list_linked(&shot->again.link)) {
        finish(shot, -ECANCELED);
    } else if (shot->op.owner) {
        loop_io_cancel(loop, &shot->op);
    }  /* else `came` is just being called, and go_on looks */
}
