/* SPDX-License-Identifier: MIT */
/*
 * Waiting for several things at once: exactly one of them happens.
 *
 *     struct job job;
 *     td_case cases[] = {td_on_receive(jobs, &job), td_on_event(&stop), td_on_time(td_after(td_sec(5)))};
 *     size_t which;
 *
 *     rc = td_select(cases, 3, &which);
 *
 * A case is made by one of the functions below and may be used again and again, by one select at a time; to wait for
 * another time, make that case anew. The objects and the memory a case names must last as long as the select.
 */
#ifndef TANDEM_SELECT_H
#define TANDEM_SELECT_H

#include <stddef.h>

#include "tandem/broadcast.h"
#include "tandem/chan.h"
#include "tandem/sync.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Its fields belong to the library. */
typedef struct td_case {
    const struct td_case_kind *kind;
    void *on;
    void *item;
    td_time at;
    int fd;
    union {
        void *aligns;
        unsigned char bytes[240];  /* what the select keeps while it waits */
    } room;
} td_case;

/* An item from the channel. Its result: as of td_chan_receive. Not a checkpoint, as none of these is. */
td_case td_on_receive(td_chan *chan, void *item);

/* Room in the channel, taken by a copy of *item. Its result: as of td_chan_send. */
td_case td_on_send(td_chan *chan, const void *item);

/* The subscriber's next item. Its result: as of td_subscriber_receive. */
td_case td_on_broadcast(td_subscriber *subscriber, void *item);

/* The point in time `at`; TD_FOREVER is never. Its result: 0. */
td_case td_on_time(td_time at);

/*
 * The descriptor is readable, or writable; or at its end, or broken. It must be one that poll(2) can wait for, stay open
 * meanwhile, and not be a td_stream's (for which there is td_on_stream). Its result: 0; -EBADF; -EPERM, -ENOMEM, -EMFILE
 * when it cannot be waited for.
 */
td_case td_on_readable(int fd);
td_case td_on_writable(int fd);

/* The event is set. Its result: 0. */
td_case td_on_event(td_event *event);

/* The future is set. Its result: as of td_future_wait. */
td_case td_on_future(td_future *future, void **value);

/* A permit, taken. Its result: 0. */
td_case td_on_permit(td_sem *sem);

/*
 * Waits until one of the `n` cases can happen, and makes that one happen; the others leave no trace. When several can,
 * chance decides, so that none is passed over for good. A case that waits in a queue has its place there like any task.
 *
 * Checkpoint: yes.  Returns the result of the case that happened, and its index in *which; -ECANCELED, then none
 * happened and *which is as it was; -EINVAL when n is 0.
 */
int td_select(td_case *cases, size_t n, size_t *which);

#ifdef __cplusplus
}
#endif
#endif
