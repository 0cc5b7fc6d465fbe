/* SPDX-License-Identifier: MIT */
/*
 * Time: nanoseconds on the monotonic clock. A duration and a point in time have the same type, and the names tell
 * them apart: `for_ns`, `from_now` are durations; `at`, `deadline` are points.
 */
#ifndef TANDEM_TIME_H
#define TANDEM_TIME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int64_t td_time;

#define TD_FOREVER INT64_MAX  /* later than every point in time */

/* A timer, embedded in what it times. Its fields belong to the library. */
struct td_timer {
    td_time at;
    struct td_timer *child, *next, *prev;
    void (*fire)(struct td_timer *timer);
    unsigned round;                   /* of firing in which it was armed */
    unsigned char armed, level;       /* where it lies */
    unsigned short bucket;
};

/* Durations from seconds, milliseconds, microseconds. Too large a value is TD_FOREVER, too small a one its negative. */
td_time td_sec(int64_t seconds);
td_time td_ms(int64_t milliseconds);
td_time td_us(int64_t microseconds);

/*
 * Now, by the clock of the calling thread's loop: the machine's, or the loop's own where it runs in virtual time
 * (tandem/run.h). Not a checkpoint; any thread.
 */
td_time td_now(void);

/* The point in time `from_now` nanoseconds ahead, TD_FOREVER at most. Not a checkpoint; any thread. */
td_time td_after(td_time from_now);

/*
 * Sleeps for `for_ns` nanoseconds; zero or less only lets the other ready tasks run.
 *
 * Checkpoint: yes.  Thread: a task.  Returns 0, or -ECANCELED when a scope around the caller was cancelled.
 */
int td_sleep(td_time for_ns);

#ifdef __cplusplus
}
#endif
#endif
