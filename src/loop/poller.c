/* SPDX-License-Identifier: MIT */
#include "loop/poller.h"

#include "base/clock.h"
#include "loop/loop.h"

#define SPIN_MAX_NS 50000      /* a wake-up through the kernel takes about as long, on either side */
#define SPIN_GAP_NS 10000      /* the clock jumped while we spun: somebody else wants this core */
#define SPIN_LUCK_MAX 8
#define SPIN_LATER (-64)       /* after a gap, so many chances are let pass */

/* What one finds may make others come and go. */
static bool each(struct loop *loop, bool arm)
{
    struct td_list rest, *at;
    bool some = false;

    list_move_all(&rest, &loop->pollers);
    while ((at = list_pop_front(&rest))) {
        struct loop_poller *poller = container_of(at, struct loop_poller, link);

        list_push_back(&loop->pollers, at);
        some |= arm ? poller->arm(poller) : poller->look(poller);
    }
    return some;
}

bool loop_look(struct loop *loop)
{
    return each(loop, false);
}

static td_time expected(struct loop *loop)
{
    td_time soonest = TD_FOREVER;

    for (struct td_list *at = loop->pollers.next; at != &loop->pollers; at = at->next) {
        struct loop_poller *poller = container_of(at, struct loop_poller, link);
        td_time after = poller->expects(poller);

        soonest = after < soonest ? after : soonest;
    }
    return soonest;
}

/*
 * True when something came. Spinning that leads to nothing is soon given up, and tried again now and then; spinning that is
 * interrupted (the clock jumps) takes a core from others, and is left for longer.
 */
static bool spin(struct loop *loop, td_time until)
{
    td_time began, last, now;

    if (loop->spin_luck < 0) {
        loop->spin_luck++;
        return false;
    }
    began = last = now = clock_real();
    if (expected(loop) > SPIN_MAX_NS)
        return false;
    for (; now - began < SPIN_MAX_NS && now < until; last = now) {
        if (loop_look(loop)) {
            loop->spin_luck += loop->spin_luck < SPIN_LUCK_MAX;
            return true;
        }
        if (atomic_load_explicit(&loop->notes, memory_order_relaxed))
            return false;
        now = clock_real();
        if (now - last > SPIN_GAP_NS) {
            loop->spin_luck = SPIN_LATER;
            return false;
        }
    }
    if (--loop->spin_luck < 0)
        loop->spin_luck = SPIN_LATER / 4;
    return false;
}

bool loop_settle(struct loop *loop, td_time until)
{
    return (loop->virtual || !spin(loop, until)) && !each(loop, true);
}
