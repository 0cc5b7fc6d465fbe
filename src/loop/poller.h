/* SPDX-License-Identifier: MIT */
/*
 * What a loop looks at by itself, without being told by the kernel: memory that workers write to. A look costs a load or
 * two, so it happens at every turn; a wake-up through the kernel costs tens of microseconds, and is asked for only when the
 * loop is about to wait.
 */
#ifndef TANDEM_LOOP_POLLER_H
#define TANDEM_LOOP_POLLER_H

#include <stdbool.h>

#include "base/list.h"
#include "tandem/time.h"

struct loop_poller {
    struct td_list link;                                        /* in loop->pollers while something is to be expected */
    bool (*look)(struct loop_poller *poller);                   /* takes what has come; true when that was something */
    bool (*arm)(struct loop_poller *poller);                    /* the loop is about to wait: asks for a wake-up, then looks */
    td_time (*expects)(struct loop_poller *poller);  /* nanoseconds until something comes, about; TD_FOREVER: far */
};

struct loop;

/* Every turn; true when something came. */
bool loop_look(struct loop *loop);

/*
 * Before the loop waits, at the most until `until`: spins for a moment where something is about to come and a core is free
 * for it; else asks for a wake-up. False when something came meanwhile: then the loop must not wait.
 */
bool loop_settle(struct loop *loop, td_time until);

#endif
