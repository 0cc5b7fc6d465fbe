/* SPDX-License-Identifier: MIT */
#include "run/gate.h"

void gate_init(struct gate *gate, unsigned expected)
{
    *gate = (struct gate){.expected = expected};
    pthread_mutex_init(&gate->mutex, NULL);
    pthread_cond_init(&gate->opened, NULL);
}

void gate_destroy(struct gate *gate)
{
    pthread_cond_destroy(&gate->opened);
    pthread_mutex_destroy(&gate->mutex);
}

static void note_error(struct gate *gate, int rc)
{
    if (rc < 0 && !gate->rc)
        gate->rc = rc;
}

int gate_pass(struct gate *gate, int rc)
{
    pthread_mutex_lock(&gate->mutex);
    note_error(gate, rc);
    if (++gate->arrived == gate->expected)
        pthread_cond_broadcast(&gate->opened);
    while (gate->arrived < gate->expected)
        pthread_cond_wait(&gate->opened, &gate->mutex);
    rc = gate->rc;
    pthread_mutex_unlock(&gate->mutex);
    return rc;
}

void gate_expect_fewer(struct gate *gate, unsigned missing, int rc)
{
    pthread_mutex_lock(&gate->mutex);
    note_error(gate, rc);
    gate->expected -= missing;
    pthread_mutex_unlock(&gate->mutex);
}
