/* SPDX-License-Identifier: MIT */
/*
 * Waiting for each other, between tasks of one loop: event, future, semaphore, mutex, condition, rate limiter; and with
 * them channels, broadcasts, and the wait for several things at once.
 *
 * These objects live in their user's memory; their fields belong to the library, and before one goes out of scope
 * nobody may be waiting in it. Each is made by its td_..._init, a macro that records the place, so that a dump can say
 * which it was. All waits are served in the order they came, and are all or nothing: one that returns -ECANCELED has
 * taken nothing, and what was handed to a task is the task's, whatever is cancelled before it runs.
 *
 * Everything here is for tasks; elsewhere it aborts with a sentence. In the statistics, `oldest_wait_ns` is how long the
 * first of those waiting has waited, to within a turn of the loop; 0 when nobody waits.
 */
#ifndef TANDEM_SYNC_H
#define TANDEM_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/broadcast.h"
#include "tandem/chan.h"
#include "tandem/list.h"
#include "tandem/scope.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Names an object for dumps: "a mutex made at bank.c:12". */
#define TD_MADE(noun) noun " made at " __FILE__ ":" TD_STRING(__LINE__)

/* An event: tasks wait until it is set. It stays set until it is cleared. */
typedef struct td_event {
    struct td_list waiters;
    const char *what;
    unsigned long long sets, waits;
    bool set;
} td_event;

/* Makes an event that is not set. Not a checkpoint. */
#define td_event_init(event) td_event_init_at((event), TD_MADE("an event"))

/* What td_event_init calls: `what` names it, and must be a constant. */
void td_event_init_at(td_event *event, const char *what);

/* Sets the event and wakes all who wait; those who come later do not wait. Not a checkpoint. Thread: the loop's tasks. */
void td_event_set(td_event *event);

/* From now on tasks wait again. Not a checkpoint. */
void td_event_clear(td_event *event);

/* Waits until the event is set. Checkpoint: yes. Returns 0 or -ECANCELED. */
int td_event_wait(td_event *event);

typedef struct td_event_stats {
    bool set;
    size_t waiting;
    td_time oldest_wait_ns;
    unsigned long long sets, waits;  /* how often it was set, and how often a task had to wait */
} td_event_stats;

/* Not a checkpoint. */
void td_event_statistics(const td_event *event, td_event_stats *stats);

/*
 * A future: one value, or one error, that is set once and may be waited for by many, before and after. What a value
 * points to is between who sets it and who waits.
 */
typedef struct td_future {
    struct td_list waiters;
    const char *what;
    void *value;
    int rc;
    bool set;
    unsigned long long waits;
} td_future;

/* Makes a future that is not set. Not a checkpoint. */
#define td_future_init(future) td_future_init_at((future), TD_MADE("a future"))

/* What td_future_init calls: `what` names it, and must be a constant. */
void td_future_init_at(td_future *future, const char *what);

/* Sets the value and wakes all who wait. Not a checkpoint. Returns 0; -EALREADY when it has a value or an error. */
int td_future_set(td_future *future, void *value);

/* Sets an error, a negative errno, instead. Not a checkpoint. Returns 0; -EALREADY; -EINVAL when `rc` is no error. */
int td_future_fail(td_future *future, int rc);

/*
 * Waits until it is set. Checkpoint: yes. Returns 0 and *value (`value` may be NULL); the error that was set; or
 * -ECANCELED. *value is written with 0 only.
 */
int td_future_wait(td_future *future, void **value);

/* The same without ever waiting: -EAGAIN when it is not set. Not a checkpoint. */
int td_future_try_wait(const td_future *future, void **value);

typedef struct td_future_stats {
    bool set;
    size_t waiting;
    td_time oldest_wait_ns;
    unsigned long long waits;  /* how often a task had to wait */
} td_future_stats;

/* Not a checkpoint. */
void td_future_statistics(const td_future *future, td_future_stats *stats);

/* A semaphore: a number of permits. */
typedef struct td_sem {
    struct td_list waiters;
    const char *what;
    size_t permits;
    unsigned long long taken, given, waits, refused;
} td_sem;

/* Makes a semaphore with that many permits; 0 is allowed. Not a checkpoint. */
#define td_sem_init(sem, permits) td_sem_init_at((sem), (permits), TD_MADE("a semaphore"))

/* What td_sem_init calls: `what` names it, and must be a constant. */
void td_sem_init_at(td_sem *sem, size_t permits, const char *what);

/* Takes a permit, and waits until there is one. Checkpoint: yes. Returns 0 or -ECANCELED. */
int td_sem_take(td_sem *sem);

/* The same without ever waiting: -EAGAIN when there is none. Not a checkpoint. */
int td_sem_try_take(td_sem *sem);

/* Gives a permit, to the task that has waited longest if one does; any task may. Not a checkpoint. */
void td_sem_give(td_sem *sem);

typedef struct td_sem_stats {
    size_t permits;            /* to be had now */
    size_t waiting;
    td_time oldest_wait_ns;
    unsigned long long taken, given;
    unsigned long long waits, refused;  /* how often a task had to wait, and -EAGAIN */
} td_sem_stats;

/* Not a checkpoint. */
void td_sem_statistics(const td_sem *sem, td_sem_stats *stats);

/*
 * A mutex: what one task at a time may hold, across its waits; where nothing waits in between, tasks of a loop need
 * none. A task that ends while it holds a mutex aborts the program.
 */
typedef struct td_mutex {
    struct td_list waiters;
    struct td_held held;
    struct td_task *owner;
    unsigned long long locks, waits, refused;
} td_mutex;

/* Makes a mutex that nobody holds. Not a checkpoint. */
#define td_mutex_init(mutex) td_mutex_init_at((mutex), TD_MADE("a mutex"))

/* What td_mutex_init calls: `what` names it, and must be a constant. */
void td_mutex_init_at(td_mutex *mutex, const char *what);

/*
 * Takes the mutex, and waits while another task holds it. Checkpoint: yes. Returns 0; -EDEADLK when the caller holds it
 * already; -ECANCELED.
 */
int td_mutex_lock(td_mutex *mutex);

/* The same without ever waiting: -EBUSY when another task holds it. Not a checkpoint. */
int td_mutex_try_lock(td_mutex *mutex);

/*
 * Gives it back, to the task that has waited longest if one does. Aborts with a sentence unless the caller holds it.
 * Not a checkpoint.
 */
void td_mutex_unlock(td_mutex *mutex);

typedef struct td_mutex_stats {
    bool locked;
    const char *owner;         /* where the task that holds it was spawned, "file:line"; NULL while nobody does */
    size_t waiting;
    td_time oldest_wait_ns;
    unsigned long long locks;
    unsigned long long waits, refused;  /* how often a task had to wait, and -EBUSY */
} td_mutex_stats;

/* Not a checkpoint. */
void td_mutex_statistics(const td_mutex *mutex, td_mutex_stats *stats);

/* A condition: wait, with a mutex given back meanwhile, until told that what the mutex guards has changed. */
typedef struct td_cond {
    struct td_list waiters;
    const char *what;
    unsigned long long waits, signals, woken;
} td_cond;

/* Makes a condition. Not a checkpoint. */
#define td_cond_init(cond) td_cond_init_at((cond), TD_MADE("a condition"))

/* What td_cond_init calls: `what` names it, and must be a constant. */
void td_cond_init_at(td_cond *cond, const char *what);

/*
 * Gives the mutex back and waits to be told, in one step. Whatever it returns, the caller holds the mutex again: taking
 * it is a wait that no cancellation ends. Look again at what was waited for, as others may have come first:
 *
 *     while (rc == 0 && queue->empty)
 *         rc = td_cond_wait(&queue->filled, &queue->mutex);
 *
 * Checkpoint: yes. Returns 0 or -ECANCELED (then the condition was not used up by this task). Aborts with a sentence
 * unless the caller holds the mutex.
 */
int td_cond_wait(td_cond *cond, td_mutex *mutex);

/* Tells the task that has waited longest; nobody when none waits. Not a checkpoint. */
void td_cond_signal(td_cond *cond);

/* Tells all that wait. Not a checkpoint. */
void td_cond_signal_all(td_cond *cond);

typedef struct td_cond_stats {
    size_t waiting;
    td_time oldest_wait_ns;
    unsigned long long waits, signals, woken;  /* woken: tasks that were told */
} td_cond_stats;

/* Not a checkpoint. */
void td_cond_statistics(const td_cond *cond, td_cond_stats *stats);

/*
 * A rate limiter: a token bucket. It holds at most `burst` tokens, begins full, and gains `tokens` of them every
 * `per_ns` nanoseconds, evenly. So in any time of T nanoseconds at most burst + tokens * T / per_ns are taken:
 * Turner, "New directions in communications", IEEE Communications 24(10), 1986; ITU-T I.371, annex A, where it is
 * called the leaky bucket. It counts in whole 1/per_ns of a token, so nothing is lost to rounding.
 */
typedef struct td_rate {
    struct td_list waiters;
    struct td_timer timer;     /* when the first of them can be served; armed while somebody waits */
    const char *what;
    int64_t tokens, per_ns, full, credit;  /* the last two in 1/per_ns of a token */
    td_time counted_at;        /* credit is as of then */
    unsigned long long taken, waits, refused;
} td_rate;

/*
 * Makes a limiter: `td_rate_init(&rate, 100, td_sec(1), 20)` is 100 a second, 20 at once. Not a checkpoint.
 * Returns 0; -EINVAL unless all three are at least 1, and tokens and burst * per_ns at most 2^62.
 */
#define td_rate_init(rate, tokens, per_ns, burst) \
    td_rate_init_at((rate), (tokens), (per_ns), (burst), TD_MADE("a rate limiter"))

/* What td_rate_init calls: `what` names it, and must be a constant. */
int td_rate_init_at(td_rate *rate, int64_t tokens, td_time per_ns, int64_t burst, const char *what);

/*
 * Takes n tokens, and waits until it can; whoever came first is served first, even where a later one wants fewer.
 * Checkpoint: yes. Returns 0; -EINVAL when n is 0 or more than the burst; -ECANCELED.
 */
int td_rate_take(td_rate *rate, size_t n);

/* The same without ever waiting: -EAGAIN when there are not enough, or others wait. Not a checkpoint. */
int td_rate_try_take(td_rate *rate, size_t n);

typedef struct td_rate_stats {
    size_t tokens;             /* to be had now */
    size_t waiting;
    td_time oldest_wait_ns;
    td_time next_ns;           /* until the first of those waiting is served; 0 when nobody waits */
    unsigned long long taken;  /* tokens */
    unsigned long long waits, refused;  /* how often a task had to wait, and -EAGAIN */
} td_rate_stats;

/* Not a checkpoint. */
void td_rate_statistics(const td_rate *rate, td_rate_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
