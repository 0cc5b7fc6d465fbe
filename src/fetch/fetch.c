/* SPDX-License-Identifier: MIT */
/* A fetch, as its task sees it. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/transfer.h"

/* The sender's task: fills the buffer whenever libcurl has emptied it. Its failure is the fetch's. */
static int send_body(void *arg)
{
    struct transfer *transfer = arg;
    const td_http_fetch_opts *opts = transfer->opts;

    for (;;) {
        size_t room = UP_BYTES;
        uint64_t left = opts->send_size ? (uint64_t)opts->send_size - transfer->body_sent : UINT64_MAX;
        ssize_t n = 0;

        transfer_await_wish(transfer);
        if (transfer->over || transfer->aborted || !transfer->up_wanted)
            return 0;
        room = left < room ? (size_t)left : room;
        if (room > 0)
            n = opts->send(transfer->up, room, opts->arg);
        if (transfer->over || transfer->aborted)
            return 0;
        assert(n <= (ssize_t)room);
        if (n < 0)
            transfer_abort(transfer, (int)n, "the body's sender failed");
        else if (n == 0 && room > 0 && opts->send_size)
            transfer_abort(transfer, -EIO, "the body's sender gave less than send_size");
        transfer->body_sent += n > 0 ? (size_t)n : 0;
        transfer->up_at = 0;
        transfer->up_end = n > 0 ? (size_t)n : 0;
        transfer->up_ended = n <= 0;
        transfer->up_wanted = false;
        client_errand(&transfer->member, ERRAND_RESUME);
        if (transfer->up_ended)
            return 0;
    }
}

static void tell_head(struct transfer *transfer)
{
    const td_http_fetch_opts *opts = transfer->opts;
    int rc;

    transfer->head_told = true;
    rc = opts->head ? opts->head(transfer->response, opts->arg) : 0;
    if (rc < 0) {
        transfer_abort(transfer, rc, "the caller's head function failed");
        transfer->rc = rc;  /* also where libcurl has got to the end meanwhile */
    }
}

static void hand_over(struct transfer *transfer)
{
    size_t size;
    const unsigned char *bytes = transfer_take(transfer, &size);
    int rc = transfer->opts->receive(bytes, size, transfer->opts->arg);

    if (rc < 0) {
        transfer_abort(transfer, rc, "the caller's receive function failed");
        transfer->rc = rc;
    }
}

/* Until libcurl is done, and all that it brought has been taken. */
static void converse(struct transfer *transfer)
{
    while (!transfer->aborted && transfer->rc == 0) {
        transfer_await_news(transfer);
        if (transfer->aborted || transfer->rc < 0)
            return;
        if (transfer->head_came && !transfer->head_told)
            tell_head(transfer);
        else if (transfer->filled > 0)
            hand_over(transfer);
        else if (transfer->over)
            return;
    }
}

static int converse_and_send(struct transfer *transfer)
{
    td_scope sending;
    int rc;

    td_scope_open(&sending);
    rc = td_spawn(&sending, send_body, transfer);
    if (rc < 0)
        transfer_abort(transfer, rc, NULL);
    converse(transfer);
    td_scope_cancel(&sending);
    rc = td_scope_join(&sending);
    return rc == -EOWNERDEAD ? rc : 0;
}

/* libcurl's handle can be asked until it is freed. */
static int keep_url(struct transfer *transfer)
{
    char *url = NULL;

    if (curl_easy_getinfo(transfer->member.easy, CURLINFO_EFFECTIVE_URL, &url) != CURLE_OK)
        return -ENOMEM;
    transfer->response->url = strdup(url ? url : "");
    return transfer->response->url ? 0 : -ENOMEM;
}

static void count(struct transfer *transfer, int rc)
{
    td_http_fetch_stats *stats = &transfer->member.client->stats;
    long opened = 0;

    if (curl_easy_getinfo(transfer->member.easy, CURLINFO_NUM_CONNECTS, &opened) == CURLE_OK && opened > 0)
        stats->connections += (unsigned long)opened;
    stats->fetched += rc == 0;
    stats->cancelled += rc == -ECANCELED;
    stats->failed += rc < 0 && rc != -ECANCELED;
}

/* Returns what td_http_fetch does; *gone: the transfer is a parent process's. */
static int carry_out(struct transfer *transfer, bool *gone)
{
    int rc = client_add(transfer->member.client, &transfer->member);

    if (rc < 0)
        return rc;
    if (transfer->opts->send)
        rc = converse_and_send(transfer);
    else
        converse(transfer);
    if (!transfer_await_end(transfer)) {
        *gone = true;
        return -EOWNERDEAD;
    }
    rc = transfer_outcome(transfer);
    if (rc == 0)
        rc = keep_url(transfer);
    count(transfer, rc);
    return rc;
}

int td_http_fetch(td_http_response **response, const char *url, const td_http_fetch_opts *opts)
{
    static const td_http_fetch_opts plain = {0};
    struct td_task *self = task_self(__func__);
    struct transfer *transfer;
    struct client *client;
    bool gone = false;
    int rc = task_checkpoint(self);

    *response = NULL;
    if (rc == 0)
        rc = client_of(loop_of(self), &client);
    opts = opts ? opts : &plain;
    if (rc < 0) {
        outcome_tell(opts, rc == -EOPNOTSUPP ? "the simulation's network is in memory, and has no HTTP client" : "cannot begin");
        return rc;
    }
    rc = transfer_new(&transfer, client, url, opts);
    if (!transfer)
        return rc;
    if (rc < 0)
        outcome_tell(opts, transfer->reason ? transfer->reason : "libcurl cannot be told an option: memory is short, maybe");
    else
        rc = carry_out(transfer, &gone);
    if (gone)
        return rc;
    if (rc == 0) {
        *response = transfer->response;
        transfer->response = NULL;
    }
    transfer_free(transfer);
    return rc;
}
