/* SPDX-License-Identifier: MIT */
/*
 * What a select needs of the objects of this room: to try one, and to stand in its queue. The attempts never wait and
 * are no checkpoints; -EAGAIN means that a task would have to wait now, in the queue beside.
 */
#ifndef TANDEM_SYNC_QUEUES_H
#define TANDEM_SYNC_QUEUES_H

#include "tandem/broadcast.h"
#include "tandem/chan.h"

#define DESCRIPTION_BYTES 64  /* of a wait, with the object's name */

/* The slot of a waiting sender is its item, of a waiting receiver the place for one. */
bool chan_may_send(const td_chan *chan);
bool chan_may_receive(const td_chan *chan);
int chan_send_now(td_chan *chan, const void *item);
int chan_receive_now(td_chan *chan, void *item);
struct td_list *chan_senders(td_chan *chan);
struct td_list *chan_receivers(td_chan *chan);

bool subscriber_may_receive(const td_subscriber *subscriber);
int subscriber_receive_now(td_subscriber *subscriber, void *item);
struct td_list *subscriber_waiters(td_subscriber *subscriber);

/* Copies an item. Most are an integer or a pointer or two, for which a call of memcpy would cost more than the copy. */
static inline void copy_item(void *to, const void *from, size_t size)
{
    if (size == 8)
        __builtin_memcpy(to, from, 8);
    else if (size == 4)
        __builtin_memcpy(to, from, 4);
    else if (size == 16)
        __builtin_memcpy(to, from, 16);
    else
        __builtin_memcpy(to, from, size);
}

#endif
