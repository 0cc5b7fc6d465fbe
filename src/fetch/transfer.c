/* SPDX-License-Identifier: MIT */
#include "fetch/transfer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES_MAX (64 * 1024)
#define BODY_BYTES_MAX (16 * 1024 * 1024)

struct waiting {
    struct wait wait;
    struct td_task *task;
    struct transfer *transfer;
    struct waiting **at;     /* where the transfer has it */
};

/* Ends a wait, if there is one. */
static void wake(struct waiting **at, int rc)
{
    struct waiting *waiting = *at;

    if (!waiting)
        return;
    *at = NULL;
    task_unpark(waiting->task, rc);
}

static int wait_at(struct waiting **at, struct transfer *transfer, void (*abort)(struct wait *wait), const char *what)
{
    struct waiting waiting = {.wait = {abort, what, 0}, .task = task_self(__func__), .transfer = transfer, .at = at};

    *at = &waiting;
    return task_park(waiting.task, &waiting.wait);
}

/* The task goes on when libcurl has let go of the transfer: at the end of this turn. */
static void reader_cancelled(struct wait *wait)
{
    transfer_abort(container_of(wait, struct waiting, wait)->transfer, -ECANCELED, NULL);
}

static void sender_cancelled(struct wait *wait)
{
    wake(container_of(wait, struct waiting, wait)->at, -ECANCELED);
}

/* A cancelled task is not parked with an `abort`: nobody would call it any more. */
void transfer_await_news(struct transfer *transfer)
{
    int rc = task_checkpoint(task_self(__func__));

    if (rc < 0)
        transfer_abort(transfer, rc, NULL);
    else if (!transfer->over && transfer->filled == 0 && transfer->head_came == transfer->head_told)
        (void)wait_at(&transfer->reader, transfer, reader_cancelled, "an HTTP transfer");
}

void transfer_await_wish(struct transfer *transfer)
{
    if (task_checkpoint(task_self(__func__)) == 0 && !transfer->over && !transfer->up_wanted)
        (void)wait_at(&transfer->sender, transfer, sender_cancelled, "an HTTP peer to take more");
}

bool transfer_await_end(struct transfer *transfer)
{
    while (!transfer->over)
        if (wait_at(&transfer->reader, transfer, NULL, "an HTTP transfer's end") == -EOWNERDEAD)
            return false;
    return true;
}

void transfer_abort(struct transfer *transfer, int rc, const char *reason)
{
    if (transfer->over || transfer->aborted)
        return;
    transfer->aborted = true;
    transfer->rc = rc;
    transfer->reason = reason;
    client_errand(&transfer->member, ERRAND_REMOVE);
}

const unsigned char *transfer_take(struct transfer *transfer, size_t *size)
{
    unsigned char *taken = transfer->filling;

    *size = transfer->filled;
    transfer->filling = transfer->draining;
    transfer->draining = taken;
    transfer->filled = 0;
    if (transfer->down_paused && !transfer->over && !transfer->aborted) {
        transfer->down_paused = false;
        client_errand(&transfer->member, ERRAND_RESUME);
    }
    return taken;
}

/* From here on: what libcurl calls. */

static void over(struct member *member, CURLcode code)
{
    struct transfer *transfer = container_of(member, struct transfer, member);

    transfer->over = true;
    transfer->code = code;
    wake(&transfer->reader, 0);
    wake(&transfer->sender, 0);
}

static int paused(struct member *member, bool nudged)
{
    struct transfer *transfer = container_of(member, struct transfer, member);

    return (transfer->down_paused ? CURLPAUSE_RECV : 0) | (transfer->up_wanted && !nudged ? CURLPAUSE_SEND : 0);
}

static void starve(struct member *member)
{
    transfer_abort(container_of(member, struct transfer, member), -ENOMEM, "memory is short, and a socket is not watched");
}

/* What libcurl is told when a callback fails: it ends the transfer, and `rc` says why. */
static void refuse(struct transfer *transfer, int rc, const char *reason)
{
    if (transfer->rc == 0) {
        transfer->rc = rc;
        transfer->reason = reason;
    }
}

/* Whether this is the head of the answer that the caller will get. */
static bool is_last_head(const struct transfer *transfer)
{
    const td_http_response *response = transfer->response;
    const char *to;

    if (!response->head_done || response->status < 200)
        return false;
    if (!transfer->follows || response->status < 300 || response->status > 399)
        return true;
    to = td_http_response_field(response, "Location");
    return !to || !*to;
}

static size_t line_came(char *line, size_t one, size_t size, void *owner)
{
    struct transfer *transfer = owner;
    size_t max = transfer->opts->head_bytes_max ? transfer->opts->head_bytes_max : HEAD_BYTES_MAX;
    int rc = response_line(transfer->response, line, size, max);

    (void)one;  /* always 1 */
    if (rc == 0) {
        transfer->head_came = transfer->head_came || is_last_head(transfer);
        if (transfer->head_came && transfer->opts->send && !transfer->up_ended)
            client_nudge(&transfer->member);
        if (transfer->head_came && !transfer->head_told)
            wake(&transfer->reader, 0);
        return size;
    }
    refuse(transfer, rc, rc == -EMSGSIZE ? "the head of the answer is larger than head_bytes_max allows"
                       : rc == -EPROTO ? "the answer has a header line that is none" : NULL);
    return 0;
}

static size_t body_came(char *bytes, size_t one, size_t size, void *owner)
{
    struct transfer *transfer = owner;
    const td_http_fetch_opts *opts = transfer->opts;
    int rc;

    (void)one;
    if (transfer->aborted)
        return CURL_WRITEFUNC_ERROR;
    if (!opts->receive) {
        rc = response_collect(transfer->response, bytes, size, opts->body_bytes_max ? opts->body_bytes_max : BODY_BYTES_MAX);
        if (rc < 0)
            refuse(transfer, rc, rc == -EMSGSIZE ? "the body is larger than body_bytes_max allows" : NULL);
        return rc < 0 ? CURL_WRITEFUNC_ERROR : size;
    }
    if (size > DOWN_BYTES - transfer->filled) {
        assert(transfer->filled > 0);
        transfer->down_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    memcpy(transfer->filling + transfer->filled, bytes, size);
    transfer->filled += size;
    wake(&transfer->reader, 0);
    return size;
}

static size_t copy_memory(struct transfer *transfer, char *into, size_t room)
{
    const td_http_fetch_opts *opts = transfer->opts;
    size_t left = opts->body_size - (size_t)transfer->body_sent, n = left < room ? left : room;

    if (n > 0)
        memcpy(into, (const char *)opts->body + transfer->body_sent, n);
    transfer->body_sent += n;
    return n;
}

static size_t body_wanted(char *into, size_t one, size_t room, void *owner)
{
    struct transfer *transfer = owner;
    size_t n;

    room *= one;
    if (!transfer->opts->send)
        return copy_memory(transfer, into, room);
    n = transfer->up_end - transfer->up_at;
    n = n < room ? n : room;
    if (n > 0) {
        memcpy(into, transfer->up + transfer->up_at, n);
        transfer->up_at += n;
        return n;
    }
    if (transfer->up_ended)
        return 0;
    transfer->up_wanted = true;
    wake(&transfer->sender, 0);
    return CURL_READFUNC_PAUSE;
}

/* The request goes out once more: by another connection, to where a redirect leads, with a proxy's consent. */
static int body_again(void *owner, curl_off_t at, int from)
{
    struct transfer *transfer = owner;

    if (from != SEEK_SET || at < 0)
        return CURL_SEEKFUNC_FAIL;
    if (transfer->opts->send)
        return at == 0 && transfer->body_sent == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
    if ((uint64_t)at > transfer->opts->body_size)
        return CURL_SEEKFUNC_FAIL;
    transfer->body_sent = (uint64_t)at;
    return CURL_SEEKFUNC_OK;
}

static int set_callbacks(struct transfer *transfer)
{
    CURL *easy = transfer->member.easy;

    return curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer->member) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->libcurl_says) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, line_came) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, body_came) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_READFUNCTION, body_wanted) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_READDATA, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, body_again) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer) == CURLE_OK ? 0 : -ENOMEM;
}

static bool get_buffers(struct transfer *transfer)
{
    transfer->response = calloc(1, sizeof *transfer->response);
    if (!transfer->response)
        return false;
    if (transfer->opts->receive) {
        transfer->filling = malloc(DOWN_BYTES);
        transfer->draining = malloc(DOWN_BYTES);
        if (!transfer->filling || !transfer->draining)
            return false;
    }
    if (transfer->opts->send) {
        transfer->up = malloc(UP_BYTES);
        if (!transfer->up)
            return false;
    }
    transfer->member.easy = curl_easy_init();
    return transfer->member.easy != NULL;
}

int transfer_new(struct transfer **out, struct client *client, const char *url, const td_http_fetch_opts *opts)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    int rc;

    *out = transfer;
    if (!transfer)
        return -ENOMEM;
    transfer->opts = opts;
    transfer->member.client = client;
    transfer->member.over = over;
    transfer->member.paused = paused;
    transfer->member.starve = starve;
    if (!get_buffers(transfer))
        return -ENOMEM;
    rc = set_callbacks(transfer);
    return rc < 0 ? rc : transfer_configure(transfer, url);
}

void transfer_free(struct transfer *transfer)
{
    if (transfer->member.easy)
        curl_easy_cleanup(transfer->member.easy);
    curl_slist_free_all(transfer->fields);
    td_http_response_free(transfer->response);
    free(transfer->filling);
    free(transfer->draining);
    free(transfer->up);
    free(transfer);
}
