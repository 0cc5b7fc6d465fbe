/* SPDX-License-Identifier: MIT */
/*
 * One transfer: a libcurl handle, and the buffers between libcurl, which must not wait, and the tasks that may.
 *
 * Down: libcurl fills `filling`; the task takes it and gives it to `receive` while libcurl fills the other. When both are
 * full libcurl pauses, its socket is not read, and the peer notices. Up: libcurl empties `up`; when it is empty it pauses, and
 * the sender's task is asked to fill it again.
 */
#ifndef TANDEM_FETCH_TRANSFER_H
#define TANDEM_FETCH_TRANSFER_H

#include "fetch/client.h"
#include "fetch/response.h"

#define DOWN_BYTES (64 * 1024)  /* at least CURL_MAX_WRITE_SIZE */
#define UP_BYTES (64 * 1024)

struct transfer {
    struct member member;
    const td_http_fetch_opts *opts;
    struct curl_slist *fields;
    td_http_response *response;
    struct waiting *reader, *sender;   /* the tasks that wait; NULL: not now */
    int rc;                            /* why it ends, where that is ours to say; the first cause counts */
    CURLcode code;
    bool over;                         /* libcurl is done with it */
    bool head_came, head_told;         /* the last answer's; redirects that are followed are none */
    bool follows;                      /* redirects */
    bool down_paused, up_wanted, up_ended, aborted;
    unsigned char *filling, *draining; /* DOWN_BYTES each */
    size_t filled;
    unsigned char *up;                 /* UP_BYTES */
    size_t up_at, up_end;
    uint64_t body_sent;                /* of opts->body, or by `send` */
    char libcurl_says[CURL_ERROR_SIZE];
    const char *reason;                /* ours, a constant; NULL: libcurl's counts */
};

/* Returns 0 and a transfer that is ready to be added; -ENOMEM, -EINVAL: transfer_free it all the same, unless it is NULL. */
int transfer_new(struct transfer **transfer, struct client *client, const char *url, const td_http_fetch_opts *opts);

/* It must not be in the multi any more. */
void transfer_free(struct transfer *transfer);

/* Ends it with `rc`, unless it is over or ends already. It is over at the end of this turn. */
void transfer_abort(struct transfer *transfer, int rc, const char *reason);

/*
 * Park the caller until there is something for it: a body, or the end; a wish for more to send, or the end. A cancellation of the
 * reader aborts the transfer, and is seen by `rc` after the end.
 */
void transfer_await_news(struct transfer *transfer);
void transfer_await_wish(struct transfer *transfer);

/* Waits until libcurl is done with it, whatever happens. False in a forked child, whose parent has it. */
bool transfer_await_end(struct transfer *transfer);

/* Takes what came: the buffer is good until the next call. Lets libcurl go on. */
const unsigned char *transfer_take(struct transfer *transfer, size_t *size);

/* options.c: tells the handle what the caller wants. Returns 0; -EINVAL, -ENOMEM and transfer->reason. */
int transfer_configure(struct transfer *transfer, const char *url);

/* outcome.c: what the end of the transfer means, and a sentence for it in opts->reason when it is no success. */
int transfer_outcome(struct transfer *transfer);

/* Writes a reason to where the caller wants it. */
void outcome_tell(const td_http_fetch_opts *opts, const char *reason);

#endif
