/* SPDX-License-Identifier: MIT */
/*
 * Reading requests, heads and bodies, from a peer that may be slow.
 *
 * A request whose bytes are all there costs no look at the clock. Time counts from the first wait: for a head it is the time
 * since then; for a body the time spent waiting, so that a handler may take its own, and every byte that came buys more of it.
 */
#include "http/visit.h"

#include <errno.h>
#include <string.h>

static int fault(struct visit *visit, int status, const char *why)
{
    visit->http.fault = (struct http_fault){status, why};
    return -EPROTO;
}

/* Waits for input for so long. Returns as stream_wait_input, or -ETIMEDOUT. */
static int wait_input(struct visit *visit, td_time limit_ns)
{
    td_scope scope;
    int rc, joined;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(limit_ns));
    rc = stream_wait_input(visit->http.stream);
    joined = td_scope_join(&scope);
    return rc == -ECANCELED && joined == -ETIMEDOUT ? -ETIMEDOUT : rc;
}

static int wait_head(struct visit *visit)
{
    td_http_server *server = visit->http.server;
    td_time now = td_now();
    int rc;

    if (visit->waiting_since == 0)
        visit->waiting_since = now;
    rc = wait_input(visit, server->opts.head_timeout - (now - visit->waiting_since));
    if (rc != -ETIMEDOUT)
        return rc;
    server->stats.timeouts_head++;
    return fault(visit, 408, "the request took too long to arrive");
}

static int wait_body(struct visit *visit)
{
    td_http_server *server = visit->http.server;
    td_time began, allowed = server->opts.body_timeout;
    int rc;

    if (!visit->continued && http_expects_continue(&visit->http.head) && visit->http.phase == NOT_ANSWERED) {
        visit->continued = true;
        rc = answer_continue(visit);
        if (rc < 0)
            return rc;
    }
    allowed += (td_time)((double)visit->body_bytes * 1e9 / (double)server->opts.rate_min);
    began = td_now();
    rc = wait_input(visit, allowed - visit->body_waited_ns);
    visit->body_waited_ns += td_now() - began;
    if (rc != -ETIMEDOUT)
        return rc;
    server->stats.timeouts_body++;
    return fault(visit, 408, "the request took too long to arrive");
}

/* Decodes up to `most` bytes of what is there. Returns the event; HTTP_MORE when there is nothing left. */
static struct http_step decode(struct visit *visit, size_t most, const uint8_t **from)
{
    td_stream *stream = visit->http.stream;
    struct http_step step;
    size_t size;

    do {
        *from = stream_peek(stream, &size);
        step = http_decode(&visit->decoder, *from, size < most ? size : most);
        if (visit->decoder.phase > IN_FIELDS)
            visit->body_bytes += step.used;
        if (step.event == HTTP_BODY || step.used == 0)
            break;  /* a body is consumed when it was copied */
        stream_consume(stream, step.used);
    } while (step.event == HTTP_MORE && stream->input);
    return step;
}

/* No byte has come, or nothing but an empty line. */
static bool nothing_came(const struct visit *visit)
{
    return http_decoder_idle(&visit->decoder);
}

int visit_read_until(struct visit *visit, enum http_event until, bool keep)
{
    td_stream *stream = visit->http.stream;
    const uint8_t *from;

    for (;;) {
        struct http_step step = decode(visit, SIZE_MAX, &from);
        int rc = 1;

        if (step.event == HTTP_FAIL)
            return fault(visit, step.status, step.why);
        if (step.event == HTTP_BODY) {
            rc = keep ? exchange_keep_body(&visit->http, step.body, step.body_size) : 0;
            stream_consume(stream, step.used);
            if (rc < 0)
                return fault(visit, 503, "memory is short");
            continue;
        }
        if (step.event == until)
            return 1;
        if (step.event != HTTP_MORE)
            continue;
        if (until == HTTP_HEAD && nothing_came(visit))
            return 0;
        rc = until == HTTP_HEAD ? wait_head(visit) : wait_body(visit);
        if (rc <= 0)
            return rc < 0 ? rc : -ECONNRESET;
    }
}

/* What a handler is told of a refusal that the server will give in its place. */
static ssize_t body_fault(struct visit *visit, const struct http_step *step)
{
    (void)fault(visit, step->status, step->why);
    return step->status == 413 ? -EMSGSIZE : step->status == 503 ? -ENOMEM : -EPROTO;
}

ssize_t body_read(td_http *http, void *data, size_t size)
{
    struct visit *visit = visit_of(http);
    const uint8_t *from;

    for (;;) {
        struct http_step step = decode(visit, size, &from);
        int rc;

        if (step.event == HTTP_FAIL)
            return body_fault(visit, &step);
        if (step.event == HTTP_DONE)
            return 0;
        if (step.event == HTTP_BODY) {
            memcpy(data, step.body, step.body_size);
            stream_consume(http->stream, step.used);
            return (ssize_t)step.body_size;
        }
        rc = wait_body(visit);
        if (rc <= 0)
            return rc == -EPROTO ? -ETIMEDOUT : rc < 0 ? rc : -ECONNRESET;
    }
}
