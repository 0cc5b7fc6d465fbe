/* SPDX-License-Identifier: MIT */
/*
 * The clocks. `td_now` (tandem/time.h) is the clock of the caller's loop: the machine's, or on a loop that runs in
 * virtual time that loop's own. What measures the machine (the watchdog, the lengths of turns) asks `clock_real`.
 */
#ifndef TANDEM_BASE_CLOCK_H
#define TANDEM_BASE_CLOCK_H

#include "tandem/time.h"

#define CLOCK_VIRTUAL_START 1000000000      /* where virtual time begins: a point that prints well, and is not 0 */
#define CLOCK_VIRTUAL_EPOCH 1767225600      /* the calendar's second at virtual time 0: 2026-01-01T00:00:00Z */

/* The machine's monotonic clock, in nanoseconds. Any thread. */
td_time clock_real(void);

/* Seconds since 1970, by the calendar; in virtual time too it goes with td_now. Any thread. */
int64_t clock_calendar(void);

/*
 * From now on td_now on the calling thread is *at, which the caller moves and keeps alive; NULL: the machine's clock
 * again.
 */
void clock_adopt(const td_time *at);

#endif
