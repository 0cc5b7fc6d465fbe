/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. While a receiver waits, the channel is empty. 2. While a sender waits, it is full. 3. count <=
 * capacity.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "sync/waiters.h"
#include "tandem/sync.h"

struct td_chan {
    td_chan_opts opts;
    struct td_list senders, receivers;
    size_t first, count;
    bool closed;
    td_chan_stats stats;
    char items[];
};

int td_chan_open(td_chan **out, const td_chan_opts *opts)
{
    td_chan *chan;
    size_t bytes;

    task_self(__func__);
    if (!opts->item_size || !opts->capacity || opts->when_full > TD_DROP_OLDEST ||
        __builtin_mul_overflow(opts->item_size, opts->capacity, &bytes) || bytes > SIZE_MAX / 2)
        return -EINVAL;
    chan = calloc(1, sizeof *chan + bytes);
    if (!chan)
        return -ENOMEM;
    chan->opts = *opts;
    list_init(&chan->senders);
    list_init(&chan->receivers);
    *out = chan;
    return 0;
}

static char *place(td_chan *chan, size_t index)
{
    return chan->items + (chan->first + index) % chan->opts.capacity * chan->opts.item_size;
}

static void push(td_chan *chan, const void *item)
{
    assert(chan->count < chan->opts.capacity);
    memcpy(place(chan, chan->count++), item, chan->opts.item_size);
    if (chan->count > chan->stats.peak)
        chan->stats.peak = chan->count;
}

static void pop(td_chan *chan, void *item)
{
    if (item)
        memcpy(item, place(chan, 0), chan->opts.item_size);
    chan->first = (chan->first + 1) % chan->opts.capacity;
    chan->count--;
}

static const char *describe(const td_chan *chan, const char *plain)
{
    return chan->opts.name ? chan->opts.name : plain;
}

int td_chan_send(td_chan *chan, const void *item)
{
    struct td_task *self = task_self(__func__);
    struct waiter *receiver;
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    if (chan->closed)
        return -EPIPE;
    if (chan->count == chan->opts.capacity) {
        if (chan->opts.when_full == TD_REJECT) {
            chan->stats.rejected++;
            return -EBUSY;
        }
        if (chan->opts.when_full == TD_WAIT) {  /* the receiver that makes room takes the item from our stack */
            rc = waiters_park(&chan->senders, self, describe(chan, "room in a channel"), (void *)(uintptr_t)item);
            chan->stats.sent += rc == 0;
            return rc;
        }
        pop(chan, NULL);
        chan->stats.dropped++;
    }
    chan->stats.sent++;
    receiver = waiters_wake(&chan->receivers, 0);
    if (receiver)
        memcpy(receiver->slot, item, chan->opts.item_size);  /* straight into its hands: the channel is empty */
    else
        push(chan, item);
    return 0;
}

int td_chan_receive(td_chan *chan, void *item)
{
    struct td_task *self = task_self(__func__);
    struct waiter *sender;
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    if (chan->count == 0) {
        rc = chan->closed ? -EPIPE : waiters_park(&chan->receivers, self, describe(chan, "an item in a channel"), item);
        chan->stats.received += rc == 0;
        return rc;
    }
    pop(chan, item);
    chan->stats.received++;
    sender = waiters_wake(&chan->senders, 0);
    if (sender)
        push(chan, sender->slot);
    return 0;
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
        fail("td_chan_free: tasks still wait in the channel; close it and join them first");
    free(chan);
}

static size_t length(const struct td_list *list)
{
    size_t n = 0;

    for (const struct td_list *at = list->next; at != list; at = at->next)
        n++;
    return n;
}

void td_chan_statistics(const td_chan *chan, td_chan_stats *stats)
{
    *stats = chan->stats;
    stats->count = chan->count;
    stats->capacity = chan->opts.capacity;
    stats->senders_waiting = length(&chan->senders);
    stats->receivers_waiting = length(&chan->receivers);
}
