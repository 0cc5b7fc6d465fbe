/* SPDX-License-Identifier: MIT */
/*
 * Several calls at the same time, as one call.
 *
 *     td_call calls[] = {{fetch, &left}, {fetch, &right}};
 *     int rc = td_gather(calls, 2);
 *
 * Each call becomes a task of a scope that the function opens and joins, so that none outlives it.
 */
#ifndef TANDEM_GATHER_H
#define TANDEM_GATHER_H

#include <stddef.h>

#include "tandem/scope.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_call {
    td_fn fn;
    void *arg;
    int rc;  /* what fn returned, when the function below has; -ECANCELED for a call that never began */
} td_call;

/*
 * Runs all calls and waits for them. The first failure cancels the others.
 *
 * Checkpoint: yes.  Thread: a task.  Returns 0; the first failure; -ECANCELED; -EINVAL for a call without fn and -ENOMEM
 * for want of a stack, which cancel the calls before.
 */
#define td_gather(...) td_gather_at(__VA_ARGS__, __FILE__ ":" TD_STRING(__LINE__))
int td_gather_at(td_call *calls, size_t count, const char *site);

/*
 * Runs all calls to their ends, whatever the others return: look at each call's rc.
 *
 * Checkpoint: yes.  Thread: a task.  Returns 0 when all have ended by themselves, some in errors maybe; -ECANCELED,
 * -EINVAL and -ENOMEM as td_gather.
 */
#define td_gather_all(...) td_gather_all_at(__VA_ARGS__, __FILE__ ":" TD_STRING(__LINE__))
int td_gather_all_at(td_call *calls, size_t count, const char *site);

/*
 * Runs all calls until the first one ends without an error; then the others are cancelled, and waited for. *winner, unless
 * it is NULL, is that call's index; untouched when there is none.
 *
 * Checkpoint: yes.  Thread: a task.  Returns what the winner returned: 0 or more. When all failed: the last one's error;
 * -EINVAL for no calls; -ECANCELED, -EINVAL and -ENOMEM as td_gather.
 */
#define td_race(...) td_race_at(__VA_ARGS__, __FILE__ ":" TD_STRING(__LINE__))
int td_race_at(td_call *calls, size_t count, size_t *winner, const char *site);

#ifdef __cplusplus
}
#endif
#endif
