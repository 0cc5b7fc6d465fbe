/* SPDX-License-Identifier: MIT */
/*
 * What of a request and its answer does not depend on what carries them.
 *
 * Invariants: 1. An answer's head leaves once, and what was announced is the most that is written. 2. After an upgrade, nothing
 * is answered.
 */
#include "http/compress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tandem/error.h"
#include "tandem/log.h"

#define BODY_FIRST 1024

void exchange_init(td_http *http, td_http_server *server, const struct exchange_kind *kind, td_stream *stream, void *room,
                   size_t room_size)
{
    *http = (td_http){.kind = kind, .server = server, .stream = stream, .answer_left = -1};
    head_init(&http->head, room, room_size);
    head_init(&http->trailers, NULL, 0);
}

void exchange_fini(td_http *http)
{
    head_clear(&http->head);
    head_clear(&http->trailers);
    free(http->body);
    compress_end(http);
}

int exchange_keep_body(td_http *http, const void *data, size_t size)
{
    size_t room = http->body_room ? http->body_room : BODY_FIRST;
    char *larger;

    while (room < http->body_size + size + 1)
        room *= 2;
    if (room != http->body_room) {
        larger = realloc(http->body, room);
        if (!larger)
            return -ENOMEM;
        http->body = larger;
        http->body_room = room;
    }
    memcpy(http->body + http->body_size, data, size);
    http->body_size += size;
    http->body[http->body_size] = '\0';
    return 0;
}

/* RFC 9110, 6.4.1 and 15.4.5 */
static bool has_no_body(const td_http *http, int status)
{
    return status < 200 || status == 204 || status == 304 || strcmp(http_method(&http->head), "HEAD") == 0;
}

/* The head of the answer, and what of the body there is already. */
static int begin(td_http *http, struct answer *answer, const void *body, size_t size, bool last)
{
    int rc;

    if (http->phase != NOT_ANSWERED)
        return -EINVAL;
    answer->bodyless = has_no_body(http, answer->status);
    if (answer->fields == NULL)
        answer->fields = "";
    http->phase = last ? ANSWERED : ANSWERING;
    http->bodyless = answer->bodyless;
    http->answer_left = answer->body_bytes;
    rc = http->kind->head(http, answer, body, size, last);
    if (rc == -EINVAL || rc == -ENOMEM)
        http->phase = NOT_ANSWERED;  /* not a byte has left: something else may be said */
    return rc;
}

int exchange_refuse(td_http *http, int status, const char *why)
{
    char body[256];
    int n = snprintf(body, sizeof body, "{\"error\":\"%s\"}\n", why);
    struct answer answer = {.status = status, .fields = status == 503 ? "Retry-After: 1\r\n" : NULL, .type = "application/json",
                            .body_bytes = n, .close = true};

    http->server->stats.bad_requests++;
    return begin(http, &answer, body, (size_t)n, true);
}

/* The path is decoded into the head's own store, behind the fields. Returns 0, -EINVAL, -ENOMEM. */
static int find_path(td_http *http)
{
    struct http_head *head = &http->head;
    size_t size = strlen(http_target(head)) + 2;
    int rc = head_reserve(head, size);

    if (rc < 0)
        return rc;
    http->path = head->bytes + head->size;
    return http_path(http_target(head), head->bytes + head->size, size, &http->query);
}

/* RFC 9110, 9.3.7: about the server, not about one of its resources. */
static int answer_options(td_http *http)
{
    return td_http_respond(http, 204, "Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n", NULL, NULL, 0);
}

/* What the server itself says to requests that no handler is asked about. Returns 1 when one is to be asked. */
static int answer_oneself(td_http *http)
{
    const char *method = http_method(&http->head), *target = http_target(&http->head);
    int rc;

    if (*method == 'O' && strcmp(method, "OPTIONS") == 0 && strcmp(target, "*") == 0)
        return answer_options(http);
    if (http->head.version <= 11 && *method == 'C' && strcmp(method, "CONNECT") == 0)
        return exchange_refuse(http, 501, "this server is no proxy");
    if (*method == 'T' && strcmp(method, "TRACE") == 0)   /* it would give away what a browser keeps from its scripts */
        return exchange_refuse(http, 501, "TRACE is not served here");
    rc = find_path(http);
    if (rc == -ENOMEM)
        return exchange_refuse(http, 503, "memory is short");
    if (rc < 0)
        return exchange_refuse(http, 400, "the request's target is malformed");
    return 1;
}

/* What a failed handler leaves to be said. */
static int make_up(td_http *http, int rc)
{
    bool its_client = rc == -ECANCELED || rc == -EPIPE || rc == -ECONNRESET || rc == -ETIMEDOUT;

    if (rc < 0 && !its_client && http->fault.status == 0)
        td_log(TD_LOG_ERROR, "%s %.200s failed: %s", td_http_method(http), http_target(&http->head), td_strerror(rc));
    if (http->phase == NOT_ANSWERED && http->fault.status != 0)
        return exchange_refuse(http, http->fault.status, http->fault.why);
    if (http->phase == NOT_ANSWERED && rc != -ECANCELED)
        return exchange_refuse(http, 500, "internal error");
    if (http->phase == ANSWERING)
        return rc < 0 ? rc : td_http_end(http, NULL);
    return rc;
}

int exchange_handle(td_http *http)
{
    int rc = answer_oneself(http);

    if (rc != 1)
        return rc;
    http->server->stats.requests++;
    rc = http->server->handler(http, http->server->arg);
    if (http->phase == UPGRADED) {
        if (http->finish)
            http->finish(http, rc);
        return 0;
    }
    return http->phase == ANSWERED && rc >= 0 ? 0 : make_up(http, rc);
}

int exchange_upgrade(td_http *http, const char *protocol, const char *fields, td_stream **stream, struct http_place *place)
{
    int rc = http->phase == NOT_ANSWERED ? http->kind->upgrade(http, protocol, fields, stream, place) : -EINVAL;

    if (rc == 0)
        http->phase = UPGRADED;
    return rc;
}

/* As compress_prepare leaves it. What was announced goes on being the limit of what is written. */
static int begin_compressed(td_http *http, struct answer *answer)
{
    int64_t announced = answer->body_bytes;
    int rc = http->phase == NOT_ANSWERED ? compress_prepare(http, answer) : -EINVAL;

    if (rc == 0)
        rc = begin(http, answer, NULL, 0, false);
    if (rc == 0)
        http->answer_left = announced;
    else if (http->phase == NOT_ANSWERED)
        compress_end(http);
    return rc;
}

static int respond_compressed(td_http *http, struct answer *answer, const void *body, size_t size)
{
    int rc = begin_compressed(http, answer);

    if (rc < 0)
        return rc;
    http->answer_left = 0;
    if (!http->bodyless)
        rc = http->gzips ? compress_write(http, body, size, false) : http->kind->data(http, body, size, false, NULL);
    return rc < 0 ? rc : td_http_end(http, NULL);
}

int td_http_respond(td_http *http, int status, const char *fields, const char *type, const void *body, size_t size)
{
    struct answer answer = {.status = status, .fields = fields, .type = type, .body_bytes = (int64_t)size};

    size_t min = http->server->opts.compress_min;

    task_self(__func__);
    if (min > 0 && size >= min && http->phase == NOT_ANSWERED)
        return respond_compressed(http, &answer, body, size);
    return begin(http, &answer, body, size, true);
}

int td_http_begin(td_http *http, const td_http_answer *given)
{
    struct answer answer = {.status = given->status ? given->status : 200, .fields = given->fields, .type = given->type,
                            .body_bytes = given->size};

    task_self(__func__);
    if (answer.status < 200)
        return -EINVAL;
    return given->compress ? begin_compressed(http, &answer) : begin(http, &answer, NULL, 0, false);
}

int td_http_write(td_http *http, const void *data, size_t size)
{
    int rc = task_checkpoint(task_self(__func__));

    if (rc < 0)
        return rc;
    if (http->phase != ANSWERING || (http->answer_left >= 0 && size > (uint64_t)http->answer_left))
        return -EINVAL;
    if (http->answer_left >= 0)
        http->answer_left -= (int64_t)size;
    if (size == 0 || http->bodyless)
        return 0;
    return http->gzips ? compress_write(http, data, size, true) : http->kind->data(http, data, size, false, NULL);
}

int td_http_end(td_http *http, const char *trailers)
{
    int rc;

    task_self(__func__);
    if (http->phase != ANSWERING || (trailers && !http_lines_valid(trailers)))
        return -EINVAL;
    if (http->answer_left > 0 && !http->bodyless) {
        http->kind->abort(http);  /* who counts on the announced length must not take this for all of it */
        return -EPROTO;
    }
    http->phase = ANSWERED;
    rc = http->gzips && !http->bodyless ? compress_finish(http) : 0;
    return rc < 0 ? rc : http->kind->data(http, NULL, 0, true, trailers);
}

ssize_t td_http_read(td_http *http, void *data, size_t size)
{
    size_t kept = http->body_size - http->body_taken;
    int rc = task_checkpoint(task_self(__func__));

    if (rc < 0)
        return rc;
    if (size == 0)
        return -EINVAL;
    if (kept == 0)
        return http->body_streams ? http->kind->read(http, data, size) : 0;
    if (kept > size)
        kept = size;
    memcpy(data, http->body + http->body_taken, kept);
    http->body_taken += kept;
    return (ssize_t)kept;
}

const char *td_http_method(const td_http *http)
{
    return http_method(&http->head);
}

const char *td_http_path(const td_http *http)
{
    return http->path;
}

const char *td_http_field(const td_http *http, const char *name)
{
    return http_field(&http->head, name);
}

const char *td_http_trailer(const td_http *http, const char *name)
{
    return http_field(&http->trailers, name);
}

const char *td_http_body(const td_http *http, size_t *size)
{
    *size = http->body_size;
    return http->body ? http->body : "";
}

int td_http_query(const td_http *http, const char *name, char *value, size_t value_size)
{
    return http_query_value(http->query, name, value, value_size);
}

int td_http_version(const td_http *http)
{
    return http->head.version;
}

const char *td_http_scheme(const td_http *http)
{
    return strcmp(http->stream->kind->name, "tls") == 0 ? "https" : "http";
}

int td_http_tls(const td_http *http, td_tls_info *info)
{
    return td_stream_tls_info(http->stream, info);
}

td_case td_on_gone(td_http *http)
{
    return http->kind->gone(http);
}
