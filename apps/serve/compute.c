/* SPDX-License-Identifier: MIT */
#include "compute.h"
#include "json.h"
#include "pools.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From the end of a client's side until it has left: the job of one that has only half-closed may begin meanwhile. */
#define LEAVE_NS 20000000

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
    {"eat", op_eat, true, "mib", OP_EAT_MAX_MIB, "mib must be an integer from 0 to 65536"},
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

/* Cancels the job of a client that leaves. */
struct watch {
    td_http *client;
    td_scope *job;
    bool left;
};

/* Beside the job's wait, in the same scope; no failure of its own ends that. */
static int watch_client(void *arg)
{
    struct watch *watch = arg;
    td_case gone = td_on_gone(watch->client);
    size_t which;

    if (td_select(&gone, 1, &which) == 0 && td_sleep(LEAVE_NS) == 0) {
        watch->left = true;
        td_scope_cancel(watch->job);
    }
    return 0;
}

/* As td_offload_with. */
static int run_watched(struct watch *watch, td_pool *pool, td_fn fn, void *arg, const td_offload_opts *opts)
{
    td_scope scope;
    int rc = 0;

    td_scope_open(&scope);
    watch->job = &scope;
    if (watch->client)
        rc = td_spawn(&scope, watch_client, watch);
    if (rc == 0)
        rc = td_offload_with(pool, fn, arg, opts);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    return rc;
}

void compute_run(struct app *app, td_http *client, const struct compute_request *request, struct compute_result *result)
{
    struct op_job *job = td_shared_calloc(1, sizeof *job);
    td_offload_opts opts = {.report = &result->report, .output_bytes = sizeof(struct op_result)};
    struct watch watch = {.client = client};
    void *output = NULL;

    *result = (struct compute_result){.rc = -ENOMEM, .report.refusal = TD_REFUSED_MEMORY};
    if (!job)
        return;
    job->n = request->n;
    job->stops = app->options->cancel_running;
    opts.deadline = td_ms(request->deadline_ms ? request->deadline_ms : COMPUTE_DEADLINE_MS);
    opts.output = &output;
    result->rc = run_watched(&watch, app->pools[POOL_COMPUTE], request->op->run, job, &opts);
    result->left = watch.left && result->rc == -ECANCELED;  /* else it had its outcome all the same */
    if (result->rc == 0)
        result->value = ((struct op_result *)output)->value;
    td_shared_free(output);
    td_shared_free(job);
    app->counters.worker_died += result->rc == -EOWNERDEAD && result->report.refusal == TD_REFUSED_NOT;
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

static const char *const refusals[TD_REFUSALS] = {
    [TD_REFUSED_QUEUE] = "busy: as many jobs wait as may",
    [TD_REFUSED_BYTES] = "busy: the jobs that wait hold as much memory as they may",
    [TD_REFUSED_DROPPED] = "busy: the job gave way to a newer one",
    [TD_REFUSED_DEADLINE] = "busy: it cannot finish in time, for the jobs before it take longer than its deadline",
    [TD_REFUSED_DELAY] = "busy: for some time now jobs have waited longer than they should",
    [TD_REFUSED_MEMORY] = "busy: there is no memory for its data",
    [TD_REFUSED_BROKEN] = "worker after worker died: no job is begun for the moment",
    [TD_REFUSED_CLOSING] = "the server is going down",
};

const char *compute_refusal(const struct compute_result *result)
{
    if (result->rc == -ECANCELED)
        return result->left ? "left" : td_refusal_name(TD_REFUSED_CLOSING);
    return result->rc < 0 && result->report.refusal != TD_REFUSED_NOT ? td_refusal_name(result->report.refusal) : NULL;
}

const char *compute_failure(const struct compute_result *result)
{
    if (result->report.refusal != TD_REFUSED_NOT)
        return refusals[result->report.refusal];
    switch (result->rc) {
    case -EOWNERDEAD:
        return "worker died";
    case -ETIMEDOUT:
        return "deadline passed";
    case -ECANCELED:
        return result->left ? "the client ended the connection before its job was done" : "the server is going down";
    case -ENOMEM:
        return "the job needs more memory than a worker may have";
    default:
        return td_strerror(result->rc);
    }
}

int64_t compute_retry_after_ms(struct app *app)
{
    td_pool_stats stats;
    int64_t ms;

    pools_statistics(app, POOL_COMPUTE, &stats);
    if (stats.mean_ran_ns == 0)
        return 1000;  /* nothing has finished yet to go by */
    ms = stats.mean_ran_ns / 1000000 * (int64_t)(stats.depth + 1) / (stats.workers ? stats.workers : 1);  /* all may be dead */
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

/* 503, since a later try may have more luck. */
static int answer_refusal(td_http *http, struct app *app, const struct compute_result *result)
{
    json_t *object = json_pack("{s:s, s:s}", "error", compute_failure(result), "refused", compute_refusal(result));
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL, retry[48];
    int rc = -ENOMEM;

    snprintf(retry, sizeof retry, "Retry-After: %lld\r\n", (long long)(compute_retry_after_ms(app) + 999) / 1000);
    if (text)
        rc = td_http_respond(http, 503, retry, "application/json", text, strlen(text));
    free(text);
    json_decref(object);
    return rc;
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
    compute_run(app, http, &request, &result);
    if (result.left) {
        (void)answer_refusal(http, app, &result);  /* in case half of the client is there */
        return -ECONNRESET;                        /* whatever it had sent ahead is not worth a worker's time */
    }
    if (compute_refusal(&result))
        return answer_refusal(http, app, &result);
    if (result.rc < 0)
        return answer_error(http, result.rc == -ETIMEDOUT ? 504 : 500, NULL, compute_failure(&result));
    return answer_result(http, &request, &result);
}
