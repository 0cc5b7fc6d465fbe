/* SPDX-License-Identifier: MIT */
/*
 * Semaphore, mutex, condition: handed over, never put up for a race. Invariants: 1. While a task waits for a semaphore
 * it has no permit. 2. While a task waits for a mutex another holds it. 3. A mutex is in its owner's list `held`, and in
 * no other.
 */
#include <assert.h>
#include <errno.h>

#include "base/fail.h"
#include "sync/waiters.h"
#include "tandem/sync.h"

void td_sem_init_at(td_sem *sem, size_t permits, const char *what)
{
    *sem = (td_sem){.what = what, .permits = permits};
    list_init(&sem->waiters);
}

static bool take(td_sem *sem)
{
    if (sem->permits == 0)
        return false;
    sem->permits--;
    sem->taken++;
    return true;
}

int td_sem_take(td_sem *sem)
{
    struct td_task *self = task_self(__func__);
    int rc = task_checkpoint(self);

    if (rc < 0 || take(sem))
        return rc;
    sem->waits++;
    return waiters_park(&sem->waiters, self, sem->what, NULL);
}

int td_sem_try_take(td_sem *sem)
{
    task_self(__func__);
    if (take(sem))
        return 0;
    sem->refused++;
    return -EAGAIN;
}

void td_sem_give(td_sem *sem)
{
    task_self(__func__);
    sem->given++;
    if (waiters_wake(&sem->waiters, 0)) {
        sem->taken++;
        return;
    }
    if (++sem->permits == 0)
        fail("td_sem_give: more permits than a size_t can count; give back only what was taken");
}

void td_sem_statistics(const td_sem *sem, td_sem_stats *stats)
{
    *stats = (td_sem_stats){
        .permits = sem->permits,
        .waiting = waiters_count(&sem->waiters),
        .oldest_wait_ns = waiters_oldest(&sem->waiters),
        .taken = sem->taken,
        .given = sem->given,
        .waits = sem->waits,
        .refused = sem->refused,
    };
}

void td_mutex_init_at(td_mutex *mutex, const char *what)
{
    *mutex = (td_mutex){.held = {.what = what}};
    list_init(&mutex->waiters);
}

static void own(td_mutex *mutex, struct td_task *task)
{
    mutex->owner = task;
    mutex->locks++;
    mutex->held.next = task->held;
    task->held = &mutex->held;
}

static void disown(td_mutex *mutex)
{
    struct td_held **at = &mutex->owner->held;

    while (*at != &mutex->held)  /* a task holds few, and mostly gives back the last first */
        at = &(*at)->next;
    *at = mutex->held.next;
    mutex->owner = NULL;
}

/* Gives the mutex to whoever waited longest, which runs later but holds it from now on. */
static void pass_on(td_mutex *mutex)
{
    struct waiter *waiter;

    disown(mutex);
    waiter = waiters_wake(&mutex->waiters, 0);
    if (waiter)
        own(mutex, waiter->task);
}

static void check_owner(const td_mutex *mutex, const struct td_task *self, const char *function)
{
    if (mutex->owner == self)
        return;
    if (mutex->owner)
        fail("%s: the caller, spawned at %s, does not hold the mutex; the task spawned at %s does (%s); only who locked "
             "a mutex unlocks it", function, self->site, mutex->owner->site, mutex->held.what);
    fail("%s: nobody holds the mutex (%s); the caller, spawned at %s, is to lock it first", function, mutex->held.what,
         self->site);
}

int td_mutex_lock(td_mutex *mutex)
{
    struct td_task *self = task_self(__func__);
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    if (mutex->owner == self)
        return -EDEADLK;
    if (!mutex->owner) {
        own(mutex, self);
        return 0;
    }
    mutex->waits++;
    return waiters_park(&mutex->waiters, self, mutex->held.what, NULL);
}

int td_mutex_try_lock(td_mutex *mutex)
{
    struct td_task *self = task_self(__func__);

    if (mutex->owner == self)
        return -EDEADLK;
    if (mutex->owner) {
        mutex->refused++;
        return -EBUSY;
    }
    own(mutex, self);
    return 0;
}

void td_mutex_unlock(td_mutex *mutex)
{
    check_owner(mutex, task_self(__func__), __func__);
    pass_on(mutex);
}

void td_mutex_statistics(const td_mutex *mutex, td_mutex_stats *stats)
{
    *stats = (td_mutex_stats){
        .locked = mutex->owner != NULL,
        .owner = mutex->owner ? mutex->owner->site : NULL,
        .waiting = waiters_count(&mutex->waiters),
        .oldest_wait_ns = waiters_oldest(&mutex->waiters),
        .locks = mutex->locks,
        .waits = mutex->waits,
        .refused = mutex->refused,
    };
}

/* A task in td_cond_wait: first in the condition's queue, then, unless the mutex is free, in the mutex's. */
struct cond_waiter {
    struct waiter waiter;
    td_mutex *mutex;
    int rc;
};

void td_cond_init_at(td_cond *cond, const char *what)
{
    *cond = (td_cond){.what = what};
    list_init(&cond->waiters);
}

/* The first wait is over, in no queue any more; from here on nothing but the mutex ends it. */
static void relock(struct cond_waiter *self, int rc)
{
    td_mutex *mutex = self->mutex;
    struct td_task *task = self->waiter.task;

    self->rc = rc;
    if (!mutex->owner) {
        own(mutex, task);
        task_unpark(task, 0);
        return;
    }
    mutex->waits++;
    self->waiter.woken = NULL;
    self->waiter.wait.abort = NULL;
    self->waiter.wait.what = mutex->held.what;
    waiters_push(&mutex->waiters, &self->waiter);
}

static void cond_told(struct waiter *waiter, int rc)
{
    relock(container_of(waiter, struct cond_waiter, waiter), rc);
}

static void cond_given_up(struct wait *wait)
{
    struct waiter *waiter = container_of(wait, struct waiter, wait);

    list_remove(&waiter->link);
    relock(container_of(waiter, struct cond_waiter, waiter), -ECANCELED);
}

int td_cond_wait(td_cond *cond, td_mutex *mutex)
{
    struct td_task *self = task_self(__func__);
    struct cond_waiter waiter = {
        .waiter = {.wait = {.abort = cond_given_up, .what = cond->what}, .task = self, .woken = cond_told},
        .mutex = mutex,
    };
    int rc;

    check_owner(mutex, self, __func__);
    rc = task_checkpoint(self);
    if (rc < 0)
        return rc;
    cond->waits++;
    waiters_push(&cond->waiters, &waiter.waiter);
    pass_on(mutex);
    rc = task_park(self, &waiter.waiter.wait);
    return rc < 0 ? rc : waiter.rc;
}

void td_cond_signal(td_cond *cond)
{
    task_self(__func__);
    cond->signals++;
    if (waiters_wake(&cond->waiters, 0))
        cond->woken++;
}

void td_cond_signal_all(td_cond *cond)
{
    task_self(__func__);
    cond->signals++;
    while (waiters_wake(&cond->waiters, 0))
        cond->woken++;
}

void td_cond_statistics(const td_cond *cond, td_cond_stats *stats)
{
    *stats = (td_cond_stats){
        .waiting = waiters_count(&cond->waiters),
        .oldest_wait_ns = waiters_oldest(&cond->waiters),
        .waits = cond->waits,
        .signals = cond->signals,
        .woken = cond->woken,
    };
}
