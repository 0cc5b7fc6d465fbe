/* SPDX-License-Identifier: MIT */
/*
 * What an upper floor keeps for a loop: made at its first use, ended with the loop, found again by the address of something
 * that its owner alone has. So the loop need not know what lives on it.
 */
#ifndef TANDEM_LOOP_KEEP_H
#define TANDEM_LOOP_KEEP_H

#include "loop/loop.h"

struct loop_keep {
    struct td_list link;                     /* in loop->keeps */
    const void *key;
    /* Ends it, and frees it. No task is alive any more; operations may still be cancelled, and the backend polled. */
    void (*close)(struct loop_keep *keep);
};

/* NULL when there is none. The loop's thread, as everything here. */
struct loop_keep *loop_kept(struct loop *loop, const void *key);

void loop_keep(struct loop *loop, struct loop_keep *keep);

/* Only loop_close calls this. The last that was kept is the first to end. */
void keeps_close(struct loop *loop);

#endif
