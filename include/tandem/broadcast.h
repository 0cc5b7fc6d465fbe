/* SPDX-License-Identifier: MIT */
/*
 * Broadcasts: every subscriber gets every item, in the order they were sent.
 *
 * The items lie in one ring of `capacity`, where each subscriber has its place, so no subscriber is ever more than
 * that behind. What a send does when the slowest one is: wait for it, reject (-EBUSY, and nobody gets the item), or
 * drop the oldest item for those who have not had it yet; each of them is told how many it lost.
 *
 * Everything here is for tasks of the loop that opened the broadcast.
 *
 *     td_subscriber *me;
 *     rc = td_subscribe(news, &me);
 *     while (rc == 0 && (lost = td_subscriber_receive(me, &item)) >= 0)
 *         ...
 *     td_unsubscribe(me);
 */
#ifndef TANDEM_BROADCAST_H
#define TANDEM_BROADCAST_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/pool.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_broadcast td_broadcast;
typedef struct td_subscriber td_subscriber;

typedef struct td_broadcast_opts {
    size_t item_size;       /* bytes, at least 1 */
    size_t capacity;        /* items a subscriber may be behind, at least 1 */
    td_when_full when_full;
    const char *name;       /* for dumps, of which 32 bytes are kept; may be NULL */
} td_broadcast_opts;

/* Opens a broadcast on the calling task's loop. Not a checkpoint. Returns 0, -EINVAL, -ENOMEM. */
int td_broadcast_open(td_broadcast **broadcast, const td_broadcast_opts *opts);

/*
 * Sends a copy of *item to every subscriber of this moment; to nobody when there is none. Senders are served in the
 * order they came. Checkpoint: yes, whether or not it waits.
 * Returns 0; -EBUSY when a subscriber is too far behind and the broadcast rejects; -EPIPE when closed; -ECANCELED.
 * On any error nobody gets the item.
 */
int td_broadcast_send(td_broadcast *broadcast, const void *item);

/* The same without ever waiting: -EBUSY, too, where td_broadcast_send would wait for room. Not a checkpoint. */
int td_broadcast_try_send(td_broadcast *broadcast, const void *item);

/*
 * Closes the broadcast: further sends, and those that wait, answer -EPIPE; subscribers get what they have not had yet,
 * then -EPIPE. Harmless when repeated. Not a checkpoint. Returns 0.
 */
int td_broadcast_close(td_broadcast *broadcast);

/* Closes it if need be and frees it. Everybody must have unsubscribed, and nobody be waiting. Not a checkpoint. */
void td_broadcast_free(td_broadcast *broadcast);

/* Makes a subscriber that gets everything sent from now on; td_unsubscribe frees it. Not a checkpoint. Returns 0, -ENOMEM. */
int td_subscribe(td_broadcast *broadcast, td_subscriber **subscriber);

/* Ends the subscription and frees it, which may make room for those who send. Nobody may be waiting in it; NULL is
 * harmless. Not a checkpoint. */
void td_unsubscribe(td_subscriber *subscriber);

/*
 * Takes the subscriber's next item. Tasks that share a subscriber share its items, in the order they came. Checkpoint:
 * yes, whether or not it waits.
 * Returns how many items the subscriber lost just before this one: 0 unless the broadcast drops; -EPIPE when the
 * broadcast is closed and all was taken; -ECANCELED (then no item was taken).
 */
int td_subscriber_receive(td_subscriber *subscriber, void *item);

/* The same without ever waiting: -EAGAIN when there is no item. Not a checkpoint. */
int td_subscriber_try_receive(td_subscriber *subscriber, void *item);

typedef struct td_broadcast_stats {
    size_t subscribers;
    size_t count, peak, capacity;               /* items that somebody has yet to take, at most so far, at the most ever */
    size_t senders_waiting, receivers_waiting;  /* tasks */
    td_time oldest_ns;                          /* age of the oldest of those items, to within a turn of the loop */
    td_time oldest_wait_ns;                     /* how long the first of the senders has waited; 0 when nobody waits */
    unsigned long long sent, rejected;          /* items */
    unsigned long long dropped;                 /* items that gave way before every subscriber had taken them */
} td_broadcast_stats;

/* Not a checkpoint. */
void td_broadcast_statistics(const td_broadcast *broadcast, td_broadcast_stats *stats);

typedef struct td_subscriber_stats {
    size_t behind;                              /* items it could take now */
    size_t waiting;                             /* tasks */
    unsigned long long received, lost;          /* items; lost: those that it was told of */
} td_subscriber_stats;

/* Not a checkpoint. */
void td_subscriber_statistics(const td_subscriber *subscriber, td_subscriber_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
