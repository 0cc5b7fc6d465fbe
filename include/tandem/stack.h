/* SPDX-License-Identifier: MIT */
/*
 * What stacks cost: how deep the tasks of each place in the program have used theirs.
 */
#ifndef TANDEM_PUBLIC_STACK_H
#define TANDEM_PUBLIC_STACK_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_stack_use {
    const char *site;           /* where the tasks were spawned: "file:line" */
    size_t stack_bytes;         /* what such a task is given, guard page included */
    size_t used_bytes_max;      /* the most that one has used, rounded up to whole pages */
    unsigned long long looked;  /* how many times one was looked at */
} td_stack_use;

/*
 * Fills `uses` with up to `max` spawn sites of the calling task's loop, the deepest first, and returns how many sites
 * there are. Tasks alive are looked at now; where an earlier task used the same stack, only what they stand on at the
 * moment is known to be theirs. Of those that came and went, a site's first four were looked at and then one in 1,024. For
 * choosing a stack size: a site near its stack_bytes is near an overflow; one far from it can do with less.
 *
 * Stacks give idle memory back while a loop waits, but not in virtual time.
 *
 * Thread: a task. Not a checkpoint.
 */
size_t td_stack_census(td_stack_use *uses, size_t max);

#ifdef __cplusplus
}
#endif
#endif
