/* SPDX-License-Identifier: MIT */
#include "loop/keep.h"

struct loop_keep *loop_kept(struct loop *loop, const void *key)
{
    for (struct td_list *at = loop->keeps.next; at != &loop->keeps; at = at->next) {
        struct loop_keep *keep = container_of(at, struct loop_keep, link);

        if (keep->key == key)
            return keep;
    }
    return NULL;
}

void loop_keep(struct loop *loop, struct loop_keep *keep)
{
    list_push_front(&loop->keeps, &keep->link);
}

void keeps_close(struct loop *loop)
{
    struct td_list *link;

    while ((link = list_pop_front(&loop->keeps))) {
        struct loop_keep *keep = container_of(link, struct loop_keep, link);

        keep->close(keep);
    }
}
