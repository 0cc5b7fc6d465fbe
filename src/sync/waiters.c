/* SPDX-License-Identifier: MIT */
#include "sync/waiters.h"

#include <errno.h>

static void give_up(struct wait *wait)
{
    struct waiter *waiter = container_of(wait, struct waiter, wait);

    list_remove(&waiter->link);
    task_unpark(waiter->task, -ECANCELED);
}

int waiters_park(struct td_list *waiters, struct td_task *self, const char *what, void *slot)
{
    struct waiter waiter = {.wait = {give_up, what, 0}, .task = self, .slot = slot};

    list_push_back(waiters, &waiter.link);
    return task_park(self, &waiter.wait);
}

struct waiter *waiters_wake(struct td_list *waiters, int rc)
{
    struct td_list *link = list_pop_front(waiters);
    struct waiter *waiter;

    if (!link)
        return NULL;
    waiter = container_of(link, struct waiter, link);
    task_unpark(waiter->task, rc);
    return waiter;
}
