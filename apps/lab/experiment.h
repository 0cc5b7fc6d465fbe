/* SPDX-License-Identifier: MIT */
/*
 * One experiment of the lab: a law of concurrency, what it predicts, and a function that measures whether this machine
 * agrees. Each has a file of its own; lab.c runs them and speaks to the user.
 */
#ifndef TANDEM_LAB_EXPERIMENT_H
#define TANDEM_LAB_EXPERIMENT_H

#include "findings.h"

struct experiment {
    const char *name;
    const char *summary;  /* what happens, in a line of 60 columns at the most */
    const char *theory;   /* what ought to come out */
    const char *because;  /* three sentences: why it is so, and what to make of it */
    /*
     * Measures, and writes down what came out, good or bad. Runs its own loop. Returns 0, or a negative errno when it
     * could not be done: that is no verdict on the theory.
     */
    int (*run)(struct findings *findings);
};

extern const struct experiment experiment_map, experiment_copytax, experiment_fifth_user, experiment_autoscale;

/*
 * Runs what the arguments name (without the command's own name), of `all`, which ends with NULL; without names all of
 * them. Returns the exit status: 0 when all that was predicted was seen, 1 when something was not, 2 for wrong usage.
 */
int lab_main(const struct experiment *const *all, int argc, char **argv);

#endif
