/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. While a receiver waits, the channel is empty. 2. While a sender waits, it is full. 3. count <=
 * capacity. 4. `in` and `out` point to places of the ring, `count` apart.
 *
 * A round trip between two tasks is two sends and two receives, most of it in waiters.h; what it costs is counted in
 * instructions by benchmarks/tasks.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/fail.h"
#include "sync/queues.h"
#include "sync/waiters.h"

struct place {
    td_time since;
    char item[];
};

struct td_chan {
    struct td_list senders, receivers;
    size_t item_size, count, capacity;
    td_when_full when_full;
    bool closed;
    struct sched *sched;
    char *in, *out, *end;     /* of the ring */
    size_t stride;
    unsigned long long sent, rejected, dropped;
    size_t peak;
    char sending[DESCRIPTION_BYTES], receiving[DESCRIPTION_BYTES];
    _Alignas(struct place) char ring[];
};

int td_chan_open(td_chan **out, const td_chan_opts *opts)
{
    struct td_task *self = task_self(__func__);
    size_t bytes, stride = (sizeof(struct place) + opts->item_size + 7) & ~(size_t)7;
    td_chan *chan;

    if (!opts->item_size || !opts->capacity || opts->when_full > TD_DROP_OLDEST || stride < opts->item_size ||
        __builtin_mul_overflow(stride, opts->capacity, &bytes) || bytes > SIZE_MAX / 2)
        return -EINVAL;
    chan = malloc(sizeof *chan + bytes);
    if (!chan)
        return -ENOMEM;
    *chan = (struct td_chan){.item_size = opts->item_size, .capacity = opts->capacity, .sched = self->sched,
                             .when_full = opts->when_full ? opts->when_full : TD_WAIT, .stride = stride,
                             .in = chan->ring, .out = chan->ring, .end = chan->ring + bytes};
    list_init(&chan->senders);
    list_init(&chan->receivers);
    waiters_describe(chan->sending, sizeof chan->sending, opts->name ? "send to channel" : "send to a channel",
                     opts->name);
    waiters_describe(chan->receiving, sizeof chan->receiving,
                     opts->name ? "receive from channel" : "receive from a channel", opts->name);
    *out = chan;
    return 0;
}

static inline char *after(const td_chan *chan, char *at)
{
    at += chan->stride;
    return at == chan->end ? (char *)chan->ring : at;
}

static void push(td_chan *chan, const void *item)
{
    struct place *place = (struct place *)(void *)chan->in;

    assert(chan->count < chan->capacity);
    place->since = chan->sched->looked_at;
    copy_item(place->item, item, chan->item_size);
    chan->in = after(chan, chan->in);
    if (++chan->count > chan->peak)
        chan->peak = chan->count;
}

static void drop_first(td_chan *chan)
{
    chan->out = after(chan, chan->out);
    chan->count--;
}

/* What a send does that finds nobody waiting for its item and no room. */
static int send_to_full(td_chan *chan, const void *item)
{
    if (chan->when_full == TD_WAIT)
        return -EAGAIN;
    if (chan->when_full == TD_REJECT) {
        chan->rejected++;
        return -EBUSY;
    }
    drop_first(chan);
    chan->dropped++;
    push(chan, item);
    chan->sent++;
    return 0;
}

static inline int send_now(td_chan *chan, const void *item)
{
    struct waiter *receiver = waiters_wake(&chan->receivers, 0);

    if (receiver) {  /* straight into its hands: the channel is empty */
        copy_item(receiver->slot, item, chan->item_size);
    } else if (chan->closed) {
        return -EPIPE;
    } else if (chan->count == chan->capacity) {
        return send_to_full(chan, item);
    } else {
        push(chan, item);
    }
    chan->sent++;
    return 0;
}

static inline int receive_now(td_chan *chan, void *item)
{
    struct waiter *sender;

    if (chan->count == 0)
        return chan->closed ? -EPIPE : -EAGAIN;
    copy_item(item, ((struct place *)(void *)chan->out)->item, chan->item_size);
    drop_first(chan);
    sender = waiters_wake(&chan->senders, 0);
    if (sender) {
        push(chan, sender->slot);
        chan->sent++;
    }
    return 0;
}

/* The receiver that makes room takes the item from where it is: the sender's memory stays while it is parked. */
static __attribute__((noinline)) int wait_for_room(td_chan *chan, struct td_task *self, const void *item)
{
    return waiters_park(&chan->senders, self, chan->sending, (void *)(uintptr_t)item);
}

int td_chan_send(td_chan *chan, const void *item)
{
    struct td_task *self = task_self(__func__);
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    rc = send_now(chan, item);
    return rc == -EAGAIN ? wait_for_room(chan, self, item) : rc;
}

int td_chan_try_send(td_chan *chan, const void *item)
{
    int rc;

    task_self(__func__);
    rc = send_now(chan, item);
    if (rc != -EAGAIN)
        return rc;
    chan->rejected++;
    return -EBUSY;
}

int td_chan_receive(td_chan *chan, void *item)
{
    struct td_task *self = task_self(__func__);
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    rc = receive_now(chan, item);
    return rc == -EAGAIN ? waiters_park(&chan->receivers, self, chan->receiving, item) : rc;
}

int td_chan_try_receive(td_chan *chan, void *item)
{
    task_self(__func__);
    return receive_now(chan, item);
}

int td_chan_close(td_chan *chan)
{
    task_self(__func__);
    chan->closed = true;
    while (waiters_wake(&chan->senders, -EPIPE) || waiters_wake(&chan->receivers, -EPIPE))
        ;
    return 0;
}

void td_chan_free(td_chan *chan)
{
    if (!chan)
        return;
    if (!list_empty(&chan->senders) || !list_empty(&chan->receivers))
        fail("td_chan_free: tasks still wait in the channel (%s); close it and join them first",
             list_empty(&chan->senders) ? chan->receiving : chan->sending);
    free(chan);
}

void td_chan_statistics(const td_chan *chan, td_chan_stats *stats)
{
    td_time age = chan->count ? td_now() - ((const struct place *)(const void *)chan->out)->since : 0;

    *stats = (td_chan_stats){
        .count = chan->count,
        .peak = chan->peak,
        .capacity = chan->capacity,
        .senders_waiting = waiters_count(&chan->senders),
        .receivers_waiting = waiters_count(&chan->receivers),
        .oldest_ns = age > 0 ? age : 0,
        .oldest_wait_ns = waiters_oldest(list_empty(&chan->senders) ? &chan->receivers : &chan->senders),
        .sent = chan->sent,
        .received = chan->sent - chan->dropped - chan->count,
        .rejected = chan->rejected,
        .dropped = chan->dropped,
    };
}

bool chan_may_send(const td_chan *chan)
{
    return chan->closed || chan->count < chan->capacity || chan->when_full != TD_WAIT;
}

bool chan_may_receive(const td_chan *chan)
{
    return chan->closed || chan->count > 0;
}

int chan_send_now(td_chan *chan, const void *item)
{
    return send_now(chan, item);
}

int chan_receive_now(td_chan *chan, void *item)
{
    return receive_now(chan, item);
}

struct td_list *chan_senders(td_chan *chan)
{
    return &chan->senders;
}

struct td_list *chan_receivers(td_chan *chan)
{
    return &chan->receivers;
}
