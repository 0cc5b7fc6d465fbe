/* SPDX-License-Identifier: MIT */
/*
 * Token bucket; the formula is in the header. Credit is counted in 1/per_ns of a token, of which one nanosecond brings
 * `tokens`: whole numbers, so exact however long it runs.
 *
 * Invariants: 1. 0 <= credit <= full, as of counted_at. 2. The timer is armed just while somebody waits, for the moment
 * when the first of them can be served.
 */
#include <errno.h>

#include "sync/waiters.h"
#include "tandem/sync.h"

#define COUNT_MAX ((int64_t)1 << 62)

struct rate_waiter {
    struct waiter waiter;
    td_rate *rate;
    int64_t need;  /* credit */
};

static void due(struct td_timer *timer);

int td_rate_init_at(td_rate *rate, int64_t tokens, td_time per_ns, int64_t burst, const char *what)
{
    int64_t full;

    if (tokens < 1 || tokens > COUNT_MAX || per_ns < 1 || burst < 1 || __builtin_mul_overflow(burst, per_ns, &full) ||
        full > COUNT_MAX)
        return -EINVAL;
    *rate = (td_rate){.what = what, .tokens = tokens, .per_ns = per_ns, .full = full, .credit = full, .counted_at = td_now()};
    list_init(&rate->waiters);
    timer_init(&rate->timer, due);
    return 0;
}

/* What the credit is at `now`. */
static int64_t credit_at(const td_rate *rate, td_time now)
{
    int64_t gain;

    if (now <= rate->counted_at)
        return rate->credit;
    if (__builtin_mul_overflow(now - rate->counted_at, rate->tokens, &gain) || gain > rate->full - rate->credit)
        return rate->full;
    return rate->credit + gain;
}

static void count(td_rate *rate)
{
    td_time now = td_now();

    rate->credit = credit_at(rate, now);
    rate->counted_at = now;
}

static bool take(td_rate *rate, int64_t need)
{
    if (rate->credit < need)
        return false;
    rate->credit -= need;
    rate->taken += (unsigned long long)(need / rate->per_ns);
    return true;
}

static struct rate_waiter *first(const td_rate *rate)
{
    return list_empty(&rate->waiters) ? NULL : container_of(rate->waiters.next, struct rate_waiter, waiter.link);
}

/* Serves those whose time has come, and sets the timer for the next. Not armed before. */
static void serve(td_rate *rate)
{
    struct rate_waiter *next;

    count(rate);
    while ((next = first(rate)) && take(rate, next->need))
        waiters_wake(&rate->waiters, 0);
    if (next)  /* rounded up: at that moment there is enough */
        timers_arm(&next->waiter.task->sched->timers, &rate->timer,
                   rate->counted_at + (next->need - rate->credit + rate->tokens - 1) / rate->tokens);
}

static void due(struct td_timer *timer)
{
    serve(container_of(timer, td_rate, timer));
}

static void leave(struct wait *wait)
{
    struct rate_waiter *self = container_of(wait, struct rate_waiter, waiter.wait);
    td_rate *rate = self->rate;
    bool was_first = first(rate) == self;

    waiters_give_up(wait);
    if (was_first) {  /* the next may want less */
        timers_disarm(&self->waiter.task->sched->timers, &rate->timer);
        serve(rate);
    }
}

/* The credit for n tokens; -EINVAL when there can never be as much. */
static int64_t credit_for(const td_rate *rate, size_t n)
{
    return n == 0 || n > (size_t)(rate->full / rate->per_ns) ? -EINVAL : (int64_t)n * rate->per_ns;
}

int td_rate_take(td_rate *rate, size_t n)
{
    struct td_task *self = task_self(__func__);
    struct rate_waiter waiter = {
        .waiter = {.wait = {.abort = leave, .what = rate->what}, .task = self},
        .rate = rate,
        .need = credit_for(rate, n),
    };
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    if (waiter.need < 0)
        return (int)waiter.need;
    if (list_empty(&rate->waiters)) {
        count(rate);
        if (take(rate, waiter.need))
            return 0;
    }
    rate->waits++;
    waiters_push(&rate->waiters, &waiter.waiter);
    if (first(rate) == &waiter)
        serve(rate);
    return task_park(self, &waiter.waiter.wait);
}

int td_rate_try_take(td_rate *rate, size_t n)
{
    int64_t need = credit_for(rate, n);

    task_self(__func__);
    if (need < 0)
        return (int)need;
    count(rate);
    if (list_empty(&rate->waiters) && take(rate, need))
        return 0;
    rate->refused++;
    return -EAGAIN;
}

void td_rate_statistics(const td_rate *rate, td_rate_stats *stats)
{
    td_time now = td_now();

    *stats = (td_rate_stats){
        .tokens = (size_t)(credit_at(rate, now) / rate->per_ns),
        .waiting = waiters_count(&rate->waiters),
        .oldest_wait_ns = waiters_oldest(&rate->waiters),
        .next_ns = first(rate) && rate->timer.at > now ? rate->timer.at - now : 0,
        .taken = rate->taken,
        .waits = rate->waits,
        .refused = rate->refused,
    };
}
