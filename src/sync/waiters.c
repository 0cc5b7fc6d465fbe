/* SPDX-License-Identifier: MIT */
#include "sync/waiters.h"

#include <errno.h>
#include <stdio.h>

void waiters_give_up(struct wait *wait)
{
    struct waiter *waiter = container_of(wait, struct waiter, wait);

    list_remove(&waiter->link);
    task_unpark(waiter->task, -ECANCELED);
}

size_t waiters_count(const struct td_list *waiters)
{
    size_t count = 0;

    for (const struct td_list *at = waiters->next; at != waiters; at = at->next)
        count++;
    return count;
}

td_time waiters_oldest(const struct td_list *waiters)
{
    td_time age;

    if (list_empty(waiters))
        return 0;
    age = td_now() - container_of(waiters->next, struct waiter, link)->wait.since;
    return age > 0 ? age : 0;
}

void waiters_describe(char *text, size_t size, const char *plain, const char *name)
{
    (void)snprintf(text, size, "%s%s%s", plain, name ? " " : "", name ? name : "");
}
