/* SPDX-License-Identifier: MIT */
#include "compute.h"
#include "json.h"
#include "pools.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct op {
    const char *name;
    td_fn run;
    bool test;              /* only with --enable-test-ops */
    const char *parameter;  /* its name; NULL: none */
    int64_t max;
    const char *wrong;
} ops[] = {
    {"primes", op_primes, false, "n", OP_PRIMES_MAX, "n must be an integer from 0 to 10000000000"},
    {"burn", op_burn, false, "ms", OP_BURN_MAX_MS, "ms must be an integer from 0 to 60000"},
    {"crash", op_crash, true, NULL, 0, NULL},
    {"hang", op_hang, true, NULL, 0, NULL},
};

const char *compute_parse(const struct app *app, const json_t *object, struct compute_request *request)
{
    const json_t *op = json_object_get(object, "op"), *deadline = json_object_get(object, "deadline_ms"), *value;

    *request = (struct compute_request){0};
    if (!json_is_string(op))
        return "op must be a string: primes or burn";
    if (deadline && (!json_is_integer(deadline) || json_integer_value(deadline) < 1 ||
                     json_integer_value(deadline) > INT64_C(86400000)))
        return "deadline_ms must be an integer from 1 to 86400000";
    request->deadline_ms = json_integer_value(deadline);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(ops[i].name, json_string_value(op)) != 0)
            continue;
        if (ops[i].test && !app->options->test_ops)
            return "this op is for tests only: start the server with --enable-test-ops";
        if (ops[i].test && app->options->pool_kind == TD_THREADS)
            return "this op needs --pool-kind processes: a thread would take the server with it";
        request->op = &ops[i];
        if (!ops[i].parameter)
            return NULL;
        value = json_object_get(object, ops[i].parameter);
        request->n = json_integer_value(value);
        return json_is_integer(value) && request->n >= 0 && request->n <= ops[i].max ? NULL : ops[i].wrong;
    }
    return "unknown op: primes or burn";
}

void compute_run(struct app *app, const struct compute_request *request, struct compute_result *result)
{
    struct op_job *job = td_shared_calloc(1, sizeof *job);
    td_offload_opts opts = {.when_full = TD_POOL_DEFAULT, .report = &result->report};

    *result = (struct compute_result){.rc = -ENOMEM};
    if (!job)
        return;
    job->n = request->n;
    opts.deadline = td_ms(request->deadline_ms ? request->deadline_ms : COMPUTE_DEADLINE_MS);
    result->rc = td_offload_with(app->pools[POOL_COMPUTE], request->op->run, job, &opts);
    result->value = job->value;
    td_shared_free(job);
    app->counters.worker_died += result->rc == -EOWNERDEAD;
}

static json_t *milliseconds(td_time ns)
{
    return json_real(round((double)ns / 1e5) / 10);
}

int compute_describe(json_t *object, const struct compute_request *request, const struct compute_result *result)
{
    int rc = 0;

    rc |= json_object_set_new(object, "op", json_string(request->op->name));
    if (request->op->parameter)
        rc |= json_object_set_new(object, request->op->parameter, json_integer(request->n));
    rc |= json_object_set_new(object, "value", json_integer(result->value));
    rc |= json_object_set_new(object, "queued_ms", milliseconds(result->report.queued_ns));
    rc |= json_object_set_new(object, "ran_ms", milliseconds(result->report.ran_ns));
    return rc ? -1 : 0;
}

const char *compute_failure(int rc)
{
    switch (rc) {
    case -EOWNERDEAD:
        return "worker died";
    case -ETIMEDOUT:
        return "deadline passed";
    case -EBUSY:
        return "busy";
    case -ECANCELED:
    case -EPIPE:
        return "the server is going down";
    case -ENOMEM:
        return "out of memory";
    default:
        return td_strerror(rc);
    }
}

int64_t compute_retry_after_ms(struct app *app)
{
    td_pool_stats stats;
    int64_t ms;

    pools_statistics(app, POOL_COMPUTE, &stats);
    if (stats.mean_ran_ns == 0)
        return 1000;  /* nothing has finished yet to go by */
    ms = stats.mean_ran_ns / 1000000 * (int64_t)(stats.depth + 1) / stats.workers;
    return ms < 100 ? 100 : ms > 60000 ? 60000 : ms;
}

static int answer_result(td_http *http, const struct compute_request *request, const struct compute_result *result)
{
    json_t *object = json_object();
    char *text = NULL;
    int rc = -ENOMEM;

    if (object && compute_describe(object, request, result) == 0)
        text = json_dumps(object, COMPUTE_JSON);
    if (text)
        rc = td_http_respond(http, 200, NULL, "application/json", text, strlen(text));
    free(text);
    json_decref(object);
    return rc;
}

static int answer_failure(td_http *http, struct app *app, int rc)
{
    char retry[48];

    switch (rc) {
    case -EBUSY:
    case -ECANCELED:
    case -EPIPE:
    case -ENOMEM:
        snprintf(retry, sizeof retry, "Retry-After: %lld\r\n", (long long)(compute_retry_after_ms(app) + 999) / 1000);
        return answer_error(http, 503, retry, compute_failure(rc));
    case -ETIMEDOUT:
        return answer_error(http, 504, NULL, compute_failure(rc));
    default:
        return answer_error(http, 500, NULL, compute_failure(rc));
    }
}

int compute_answer(td_http *http, struct app *app)
{
    struct compute_request request;
    struct compute_result result;
    json_error_t error;
    size_t size;
    const char *body = td_http_body(http, &size), *wrong;
    json_t *object = json_read(body, size, &error);
    char text[256];

    if (!object) {
        snprintf(text, sizeof text, "the body is not JSON: %s (line %d, column %d)", error.text, error.line, error.column);
        return answer_error(http, 400, NULL, text);
    }
    wrong = json_is_object(object) ? compute_parse(app, object, &request) : "the body must be a JSON object";
    json_decref(object);
    if (wrong)
        return answer_error(http, 400, NULL, wrong);
    compute_run(app, &request, &result);
    if (result.rc < 0)
        return answer_failure(http, app, result.rc);
    return answer_result(http, &request, &result);
}
