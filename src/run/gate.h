/* SPDX-License-Identifier: MIT */
/*
 * A gate that threads pass together, when the last of them has come: no loop runs before all are set up, and none is
 * closed while another could still send it a note.
 */
#ifndef TANDEM_RUN_GATE_H
#define TANDEM_RUN_GATE_H

#include <pthread.h>

struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    unsigned expected, arrived;
    int rc;  /* the first error that somebody brought */
};

void gate_init(struct gate *gate, unsigned expected);
void gate_destroy(struct gate *gate);

/* Waits for the others. Returns the first error that any of them brought, or 0. */
int gate_pass(struct gate *gate, int rc);

/* So many will not come, for this reason. Their caller has still to pass itself. */
void gate_expect_fewer(struct gate *gate, unsigned missing, int rc);

#endif
