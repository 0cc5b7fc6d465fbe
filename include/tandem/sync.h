/* SPDX-License-Identifier: MIT */
/*
 * Waiting for each other: events and channels, between tasks of one loop.
 */
#ifndef TANDEM_SYNC_H
#define TANDEM_SYNC_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/list.h"
#include "tandem/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * An event: tasks wait until it is set. It stays set until it is cleared. Lives in its user's memory; its fields
 * belong to the library. When it goes out of scope nobody may be waiting.
 */
typedef struct td_event {
    struct td_list waiters;
    bool set;
} td_event;

/* Makes an event that is not set. Not a checkpoint. */
void td_event_init(td_event *event);

/* Sets the event and wakes all who wait; those who come later do not wait. Not a checkpoint. Thread: the loop's tasks. */
void td_event_set(td_event *event);

/* From now on tasks wait again. Not a checkpoint. */
void td_event_clear(td_event *event);

/* Waits until the event is set. Checkpoint: yes. Returns 0 or -ECANCELED. */
int td_event_wait(td_event *event);

/*
 * Channels: bounded queues between tasks.
 *
 * A channel holds at most `capacity` items. What a send does when it is full is decided once, at open: wait (the
 * sender parks), reject (-EBUSY), or drop the oldest (the new item takes its place, and the drop is counted). Items
 * are copied in and out; send a pointer where that costs too much. Senders and receivers are served in the order
 * they came.
 */
typedef struct td_chan td_chan;

typedef struct td_chan_opts {
    size_t item_size;       /* bytes, at least 1 */
    size_t capacity;        /* items, at least 1: there is no unbounded channel */
    td_when_full when_full;
    const char *name;       /* for dumps; a constant; may be NULL */
} td_chan_opts;

/* Opens a channel on the calling task's loop. Not a checkpoint. Returns 0, -EINVAL, -ENOMEM. */
int td_chan_open(td_chan **chan, const td_chan_opts *opts);

/*
 * Puts a copy of *item at the end of the channel. Checkpoint: yes, whether or not it waits.
 * Returns 0; -EBUSY when full and the channel rejects; -EPIPE when closed; -ECANCELED. On any error the item is not
 * in the channel.
 */
int td_chan_send(td_chan *chan, const void *item);

/*
 * Takes the oldest item. Checkpoint: yes, whether or not it waits.
 * Returns 0; -EPIPE when the channel is closed and empty; -ECANCELED (then no item was taken).
 */
int td_chan_receive(td_chan *chan, void *item);

/*
 * Closes the channel: further sends, and those that wait, answer -EPIPE; receivers get what is in it, then -EPIPE.
 * Harmless when repeated. Not a checkpoint. Returns 0.
 */
int td_chan_close(td_chan *chan);

/* Closes it if need be and frees it. Nobody may use it any more, nor be waiting in it. Not a checkpoint. */
void td_chan_free(td_chan *chan);

typedef struct td_chan_stats {
    size_t count, peak, capacity;
    size_t senders_waiting, receivers_waiting;
    unsigned long long sent, received, rejected, dropped;
} td_chan_stats;

/* Not a checkpoint. */
void td_chan_statistics(const td_chan *chan, td_chan_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
