/* SPDX-License-Identifier: MIT */
/*
 * Channels: bounded queues between tasks of one loop.
 *
 * A channel holds at most `capacity` items. What a send does when it is full is decided once, at open: wait (the
 * sender parks), reject (-EBUSY), or drop the oldest (the new item takes its place, and the drop is counted). Items
 * are copied in and out; send a pointer where that costs too much. Senders and receivers are served in the order
 * they came. An item goes straight into the hands of a receiver that waits for it.
 *
 * Everything here is for tasks of the loop that opened the channel.
 */
#ifndef TANDEM_CHAN_H
#define TANDEM_CHAN_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/pool.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_chan td_chan;

typedef struct td_chan_opts {
    size_t item_size;       /* bytes, at least 1 */
    size_t capacity;        /* items, at least 1: there is no unbounded channel */
    td_when_full when_full;
    const char *name;       /* for dumps, of which 32 bytes are kept; may be NULL */
} td_chan_opts;

/* Opens a channel on the calling task's loop. Not a checkpoint. Returns 0, -EINVAL, -ENOMEM. */
int td_chan_open(td_chan **chan, const td_chan_opts *opts);

/*
 * Puts a copy of *item at the end of the channel. Checkpoint: yes, whether or not it waits.
 * Returns 0; -EBUSY when full and the channel rejects; -EPIPE when closed; -ECANCELED. On any error the item is not
 * in the channel.
 */
int td_chan_send(td_chan *chan, const void *item);

/* The same without ever waiting: -EBUSY, too, where td_chan_send would wait for room. Not a checkpoint. */
int td_chan_try_send(td_chan *chan, const void *item);

/*
 * Takes the oldest item. Checkpoint: yes, whether or not it waits.
 * Returns 0; -EPIPE when the channel is closed and empty; -ECANCELED (then no item was taken).
 */
int td_chan_receive(td_chan *chan, void *item);

/* The same without ever waiting: -EAGAIN when the channel is empty. Not a checkpoint. */
int td_chan_try_receive(td_chan *chan, void *item);

/*
 * Closes the channel: further sends, and those that wait, answer -EPIPE; receivers get what is in it, then -EPIPE.
 * Harmless when repeated. Not a checkpoint. Returns 0.
 */
int td_chan_close(td_chan *chan);

/* Closes it if need be and frees it. Nobody may use it any more, nor be waiting in it. Not a checkpoint. */
void td_chan_free(td_chan *chan);

typedef struct td_chan_stats {
    size_t count, peak, capacity;                /* items in it now, at most so far, and at the most ever */
    size_t senders_waiting, receivers_waiting;   /* tasks */
    td_time oldest_ns;                           /* age of the oldest item, to within a turn of the loop; 0 when empty */
    td_time oldest_wait_ns;                      /* how long the first of those waiting has waited; 0 when nobody is */
    unsigned long long sent, received;           /* items */
    unsigned long long rejected, dropped;        /* items refused with -EBUSY, and items that gave way to newer ones */
} td_chan_stats;

/* Not a checkpoint. */
void td_chan_statistics(const td_chan *chan, td_chan_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
