/* SPDX-License-Identifier: MIT */
/*
 * What runs while something fails: small programs that use a part of the library. Each ends by itself, with 0 and all
 * of its work done, or with the negative errno of what went wrong; and it calls `lie` where the library says that
 * something is done which is not.
 */
#ifndef TANDEM_TESTS_FAULTS_SCENARIOS_H
#define TANDEM_TESTS_FAULTS_SCENARIOS_H

#include <stdbool.h>

#include "tandem.h"

struct scenario {
    const char *name;
    td_fn fn;            /* the first task */
    bool watched;        /* with a watchdog */
    bool slow;           /* waits by the clock when something fails for good */
};

extern const struct scenario scenarios[], scenarios_net[], scenarios_fetch[], scenarios_os[];  /* ended by one without a name */

/* Takes note of a lie, for the driver to find. `truth` is returned. */
bool truth_at(bool truth, const char *where, const char *what);
#define truth(condition) truth_at((condition), __FILE__ ":" TD_STRING(__LINE__), #condition)

#endif
