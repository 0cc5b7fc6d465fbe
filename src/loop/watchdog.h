/* SPDX-License-Identifier: MIT */
/*
 * The watchdog: a thread that looks at a loop from outside, and says which task holds it (law 5).
 */
#ifndef TANDEM_LOOP_WATCHDOG_H
#define TANDEM_LOOP_WATCHDOG_H

#include <pthread.h>
#include <stdbool.h>

#include "loop/loop.h"

struct watchdog {
    struct loop *loop;
    pthread_t thread, watched;
    int watched_tid;
    pthread_mutex_t mutex;
    pthread_cond_t stopped;
    bool running, stop;
};

/* Called on the loop's thread. A loop whose stall_after is TD_FOREVER gets no watchdog. Returns 0 or a negative errno. */
int watchdog_start(struct watchdog *dog, struct loop *loop);
void watchdog_stop(struct watchdog *dog);

#endif
