/* SPDX-License-Identifier: MIT */
/* Event and future: what is set for all who wait. Invariant: while it is set, nobody waits. */
#include <errno.h>

#include "sync/waiters.h"
#include "tandem/sync.h"

void td_event_init_at(td_event *event, const char *what)
{
    *event = (td_event){.what = what};
    list_init(&event->waiters);
}

void td_event_set(td_event *event)
{
    if (!sched_current())  /* what the loop itself calls back may set one, other threads may not */
        task_missing(__func__);
    event->set = true;
    event->sets++;
    while (waiters_wake(&event->waiters, 0))
        ;
}

void td_event_clear(td_event *event)
{
    task_self(__func__);
    event->set = false;
}

int td_event_wait(td_event *event)
{
    struct td_task *self = task_self(__func__);
    int rc = task_checkpoint(self);

    if (rc < 0 || event->set)
        return rc;
    event->waits++;
    return waiters_park(&event->waiters, self, event->what, NULL);
}

void td_event_statistics(const td_event *event, td_event_stats *stats)
{
    *stats = (td_event_stats){
        .set = event->set,
        .waiting = waiters_count(&event->waiters),
        .oldest_wait_ns = waiters_oldest(&event->waiters),
        .sets = event->sets,
        .waits = event->waits,
    };
}

void td_future_init_at(td_future *future, const char *what)
{
    *future = (td_future){.what = what};
    list_init(&future->waiters);
}

static int settle(td_future *future, void *value, int rc)
{
    struct waiter *waiter;

    if (future->set)
        return -EALREADY;
    future->set = true;
    future->value = value;
    future->rc = rc;
    while ((waiter = waiters_wake(&future->waiters, rc)))
        if (rc == 0 && waiter->slot)
            *(void **)waiter->slot = value;
    return 0;
}

int td_future_set(td_future *future, void *value)
{
    task_self(__func__);
    return settle(future, value, 0);
}

int td_future_fail(td_future *future, int rc)
{
    task_self(__func__);
    return rc < 0 ? settle(future, NULL, rc) : -EINVAL;
}

int td_future_try_wait(const td_future *future, void **value)
{
    task_self(__func__);
    if (!future->set)
        return -EAGAIN;
    if (future->rc == 0 && value)
        *value = future->value;
    return future->rc;
}

int td_future_wait(td_future *future, void **value)
{
    struct td_task *self = task_self(__func__);
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    if (future->set)
        return td_future_try_wait(future, value);
    future->waits++;
    return waiters_park(&future->waiters, self, future->what, value);
}

void td_future_statistics(const td_future *future, td_future_stats *stats)
{
    *stats = (td_future_stats){
        .set = future->set,
        .waiting = waiters_count(&future->waiters),
        .oldest_wait_ns = waiters_oldest(&future->waiters),
        .waits = future->waits,
    };
}
