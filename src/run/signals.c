/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. A handler counts itself in `inside` before it looks at a slot's fleet, and an unwatch empties the slot
 * before it looks at `inside`. 2. `users` is the number of slots in use; while it is not 0 our handler is installed
 * where `owned` says so, or the signal has come once, and its disposition is SIG_DFL again.
 */
#include "run/signals.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#include "loop/fleet.h"

#define RUNS_MAX 64
#define KINDS 2

static const int kinds[KINDS] = {SIGINT, SIGTERM};

/* tidy: allow, because dispositions of signals are the process's, and a handler finds nothing else */
static struct {
    _Atomic(struct fleet *) fleets[RUNS_MAX];
    _Atomic unsigned inside;
    _Atomic pid_t pid;         /* of the process that watches: a child has the handler until fork's own has run */
    pthread_mutex_t mutex;     /* no handler takes it */
    unsigned users;
    bool owned[KINDS];
} runs = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void set_default(int signal)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};

    sigaction(signal, &standard, NULL);
}

static void asked_to_end(int signal)
{
    int saved = errno;

    set_default(signal);  /* for the second one */
    if (atomic_load(&runs.pid) != getpid()) {
        raise(signal);
        return;
    }
    atomic_fetch_add(&runs.inside, 1);
    for (int i = 0; i < RUNS_MAX; i++) {
        struct fleet *fleet = atomic_load(&runs.fleets[i]);

        if (fleet)
            fleet_cancel(fleet);
    }
    atomic_fetch_sub(&runs.inside, 1);
    errno = saved;
}

static bool is_ours(const struct sigaction *action)
{
    return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == asked_to_end;
}

/* With the mutex held. */
static void take_over(void)
{
    struct sigaction action = {.sa_handler = asked_to_end, .sa_flags = SA_RESTART | SA_ONSTACK}, before;

    atomic_store(&runs.pid, getpid());
    for (int i = 0; i < KINDS; i++) {
        runs.owned[i] = sigaction(kinds[i], NULL, &before) == 0 && !(before.sa_flags & SA_SIGINFO) &&
                        before.sa_handler == SIG_DFL && sigaction(kinds[i], &action, NULL) == 0;
    }
}

/* With the mutex held. Whoever has put another handler in place of ours keeps it. */
static void give_back(void)
{
    struct sigaction now;

    for (int i = 0; i < KINDS; i++)
        if (runs.owned[i] && sigaction(kinds[i], NULL, &now) == 0 && is_ours(&now))
            set_default(kinds[i]);
}

void signals_watch(struct fleet *fleet)
{
    struct fleet *nobody;

    pthread_mutex_lock(&runs.mutex);
    for (int i = 0; i < RUNS_MAX; i++) {
        nobody = NULL;
        if (!atomic_compare_exchange_strong(&runs.fleets[i], &nobody, fleet))
            continue;
        if (runs.users++ == 0)
            take_over();
        break;
    }
    pthread_mutex_unlock(&runs.mutex);
}

void signals_unwatch(struct fleet *fleet)
{
    pthread_mutex_lock(&runs.mutex);
    for (int i = 0; i < RUNS_MAX; i++) {
        if (atomic_load(&runs.fleets[i]) != fleet)
            continue;
        atomic_store(&runs.fleets[i], NULL);
        if (--runs.users == 0)
            give_back();
        break;
    }
    pthread_mutex_unlock(&runs.mutex);
    while (atomic_load(&runs.inside) > 0)
        sched_yield();
}

void signals_forked(void)
{
    struct sigaction now;

    for (int i = 0; i < KINDS; i++)
        if (sigaction(kinds[i], NULL, &now) == 0 && is_ours(&now))
            set_default(kinds[i]);
    /* The child has its parent's table and may run loops of its own. No other thread is here to hold the mutex. */
    for (int i = 0; i < RUNS_MAX; i++)
        atomic_store(&runs.fleets[i], NULL);
    atomic_store(&runs.inside, 0);
    runs.users = 0;
    runs.mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}
