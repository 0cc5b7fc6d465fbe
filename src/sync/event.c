/* SPDX-License-Identifier: MIT */
#include "sync/waiters.h"
#include "tandem/sync.h"

void td_event_init(td_event *event)
{
    event->set = false;
    list_init(&event->waiters);
}

void td_event_set(td_event *event)
{
    event->set = true;
    while (waiters_wake(&event->waiters, 0))
        ;
}

void td_event_clear(td_event *event)
{
    event->set = false;
}

int td_event_wait(td_event *event)
{
    struct td_task *self = task_self(__func__);
    int rc = task_checkpoint(self);

    return rc < 0 || event->set ? rc : waiters_park(&event->waiters, self, "an event", NULL);
}
