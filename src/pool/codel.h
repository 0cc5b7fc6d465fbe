/* SPDX-License-Identifier: MIT */
/*
 * Overload told by the queue's delay ("CoDel": Nichols and Jacobson, Controlling Queue Delay, CACM 55/7, 2012; RFC 8289).
 *
 * A burst makes a queue too, and is over soon; what shows that more comes in than goes out is a queue that stands: even the
 * job that waited *least* in a whole interval of 100 ms (RFC 8289, 4.3) waited longer than the target. As in folly's variant
 * for servers, overload is a state and not a rate: it lasts until an interval in which some job waited no longer than the
 * target, or until the queue is empty.
 *
 * A target means nothing for jobs that take longer than it: behind a single one of them everybody waits too long. So the target
 * in force is max(target, 2 x mean service).
 *
 * An interval in which no job left the queue - the jobs are long, or the workers hang - is judged by the job that waits longest:
 * it is overloaded when that one has waited through all of it, and longer than the target in force.
 *
 * Pure: time comes in as an argument and never runs backwards; nothing is allocated; one thread at a time.
 */
#ifndef TANDEM_POOL_CODEL_H
#define TANDEM_POOL_CODEL_H

#include <stdbool.h>

#include "tandem/time.h"

#define CODEL_INTERVAL_NS INT64_C(100000000)

struct codel {
    td_time target, interval_ends;  /* interval_ends 0: none has begun */
    td_time least;                  /* sojourn in this interval; TD_FOREVER: no job has left the queue yet */
    bool overloaded;
};

/* With a target of 0 it is never overloaded. */
void codel_init(struct codel *codel, td_time target_ns);

/* A job leaves the queue for a worker, after so long in it. mean_service_ns: of the jobs, 0 when nothing is known yet. */
void codel_job(struct codel *codel, td_time now, td_time sojourn_ns, td_time mean_service_ns);

/* The queue is empty: there is no overload, and the interval begins anew. */
void codel_idle(struct codel *codel, td_time now);

/*
 * Whether a new job is to be refused, for overload. oldest_age_ns: how long the one that waits longest has done so; 0 when
 * none does, which is codel_idle.
 */
bool codel_refuses(struct codel *codel, td_time now, td_time oldest_age_ns, td_time mean_service_ns);

/* Whether a waiting job is to be given up: in overload, when it has waited more than twice the target in force. */
bool codel_drops(const struct codel *codel, td_time sojourn_ns, td_time mean_service_ns);

#endif
