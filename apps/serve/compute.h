/* SPDX-License-Identifier: MIT */
/*
 * Heavy operations: from a client's JSON to a job in the pool, and back. Used by POST /compute and by chat's "compute".
 */
#ifndef TANDEM_SERVE_COMPUTE_H
#define TANDEM_SERVE_COMPUTE_H

#include <jansson.h>

#include "app.h"
#include "ops.h"

#define COMPUTE_DEADLINE_MS 120000  /* when the client sets none: accepted work ends some time */

struct compute_request {
    const struct op *op;
    int64_t n;             /* or milliseconds */
    int64_t deadline_ms;   /* 0: COMPUTE_DEADLINE_MS */
};

struct compute_result {
    int rc;                /* as td_offload_with */
    int64_t value;
    td_job_report report;
};

/* Reads op, n or ms, deadline_ms from an object. Returns NULL, or a sentence that says what is wrong with it. */
const char *compute_parse(const struct app *app, const json_t *object, struct compute_request *request);

/* Runs it in the pool. Checkpoint. */
void compute_run(struct app *app, const struct compute_request *request, struct compute_result *result);

/* Adds op, n or ms, value, queued_ms, ran_ms. Returns 0, or -1 when memory is short. */
int compute_describe(json_t *object, const struct compute_request *request, const struct compute_result *result);

/* A sentence for a failed result's client. */
const char *compute_failure(int rc);

/* When a refused client should come back: the queue's length in mean service times, within reason. */
int64_t compute_retry_after_ms(struct app *app);

#define COMPUTE_JSON (JSON_COMPACT | JSON_REAL_PRECISION(15))

#endif
