/* SPDX-License-Identifier: MIT */
/*
 * Heavy operations: from a client's JSON to a job in the pool, and back. Used by POST /compute and by chat's "compute".
 */
#ifndef TANDEM_SERVE_COMPUTE_H
#define TANDEM_SERVE_COMPUTE_H

#include <jansson.h>

#include "app.h"
#include "ops.h"

struct op;

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
    bool left;             /* the client did, and its job was cancelled for it: rc is -ECANCELED */
};

/* Reads op, n or ms, deadline_ms from an object. Returns NULL, or a sentence that says what is wrong with it. */
const char *compute_parse(const struct app *app, const json_t *object, struct compute_request *request);

/*
 * Runs it in the pool. With a `client` that leaves meanwhile the job is cancelled: taken back when it waits, and when it
 * runs treated as --cancel-running says. Without one the caller's scope may be cancelled to the same effect. Checkpoint.
 */
void compute_run(struct app *app, td_http *client, const struct compute_request *request, struct compute_result *result);

/* Adds op, n or ms, value, queued_ms, ran_ms. Returns 0, or -1 when memory is short. */
int compute_describe(json_t *object, const struct compute_request *request, const struct compute_result *result);

/* A sentence for a failed result's client. */
const char *compute_failure(const struct compute_result *result);

/* Why it was refused, or given up before it began, in a word; NULL when it was not. */
const char *compute_refusal(const struct compute_result *result);

/* When a refused client should come back: the queue's length in mean service times, within reason. */
int64_t compute_retry_after_ms(struct app *app);

#define COMPUTE_JSON (JSON_COMPACT | JSON_REAL_PRECISION(15))

#endif
