/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <stddef.h>
#include <time.h>

/* tidy: allow, because td_now has no argument: "now" is what the calling thread's loop says */
static _Thread_local const td_time *virtual_now;

static td_time scaled(int64_t count, int64_t unit)
{
    td_time result;

    if (__builtin_mul_overflow(count, unit, &result))
        return count < 0 ? -TD_FOREVER : TD_FOREVER;
    return result;
}

td_time td_sec(int64_t seconds)
{
    return scaled(seconds, 1000000000);
}

td_time td_ms(int64_t milliseconds)
{
    return scaled(milliseconds, 1000000);
}

td_time td_us(int64_t microseconds)
{
    return scaled(microseconds, 1000);
}

void clock_adopt(const td_time *at)
{
    virtual_now = at;
}

td_time td_now(void)
{
    const td_time *at = virtual_now;

    return at ? *at : clock_real();
}

int64_t clock_calendar(void)
{
    const td_time *at = virtual_now;

    return at ? CLOCK_VIRTUAL_EPOCH + *at / 1000000000 : (int64_t)time(NULL);
}

td_time clock_real(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);  /* cannot fail for this clock */
    return (td_time)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

td_time td_after(td_time from_now)
{
    td_time at;

    return __builtin_add_overflow(td_now(), from_now, &at) ? TD_FOREVER : at;
}
