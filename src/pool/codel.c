/* SPDX-License-Identifier: MIT */
/* Invariant: `overloaded` tells of the last interval that is over, `least` of the one that is under way. */
#include "pool/codel.h"

static td_time twice(td_time ns)
{
    return ns > TD_FOREVER / 2 ? TD_FOREVER : 2 * ns;
}

static td_time target_in_force(const struct codel *codel, td_time mean_service_ns)
{
    td_time by_service = twice(mean_service_ns);

    return by_service > codel->target ? by_service : codel->target;
}

static void begin(struct codel *codel, td_time now)
{
    codel->interval_ends = now + CODEL_INTERVAL_NS;
    codel->least = TD_FOREVER;
}

/* When the interval is over: judges it, and begins the next one. */
static void turn(struct codel *codel, td_time now, td_time oldest_age_ns, td_time mean_service_ns)
{
    bool jobs_left = codel->least != TD_FOREVER && now - codel->interval_ends < CODEL_INTERVAL_NS;
    td_time least = jobs_left ? codel->least : oldest_age_ns;

    if (now < codel->interval_ends)
        return;
    codel->overloaded = codel->interval_ends != 0 && least > target_in_force(codel, mean_service_ns) &&
                        (jobs_left || oldest_age_ns >= CODEL_INTERVAL_NS);
    begin(codel, now);
}

void codel_init(struct codel *codel, td_time target_ns)
{
    *codel = (struct codel){.target = target_ns, .least = TD_FOREVER};
}

void codel_job(struct codel *codel, td_time now, td_time sojourn_ns, td_time mean_service_ns)
{
    if (codel->target <= 0)
        return;
    turn(codel, now, sojourn_ns, mean_service_ns);
    if (sojourn_ns < codel->least)
        codel->least = sojourn_ns;
}

void codel_idle(struct codel *codel, td_time now)
{
    codel->overloaded = false;
    begin(codel, now);
}

bool codel_refuses(struct codel *codel, td_time now, td_time oldest_age_ns, td_time mean_service_ns)
{
    if (codel->target <= 0)
        return false;
    if (oldest_age_ns <= 0)
        codel_idle(codel, now);
    else
        turn(codel, now, oldest_age_ns, mean_service_ns);
    return codel->overloaded;
}

bool codel_drops(const struct codel *codel, td_time sojourn_ns, td_time mean_service_ns)
{
    return codel->overloaded && sojourn_ns > twice(target_in_force(codel, mean_service_ns));
}
