/* SPDX-License-Identifier: MIT */
/* What a transfer's end means. */
#include <errno.h>
#include <stdio.h>

#include "fetch/transfer.h"
#include "tandem/error.h"

/* What the system said, where it was asked; otherwise the plain meaning. */
static int by_system(CURL *easy, int plain)
{
    long said = 0;

    if (curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &said) != CURLE_OK || said <= 0 || said > 4095)
        return plain;
    return said == EAGAIN || said == EINPROGRESS || said == ENOTCONN ? plain : -(int)said;
}

static int error_of(CURL *easy, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_BAD_FUNCTION_ARGUMENT:
        return -EINVAL;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -ENOENT;
    case CURLE_COULDNT_CONNECT:
        return by_system(easy, -ECONNREFUSED);
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        return -EKEYREJECTED;
    case CURLE_TOO_MANY_REDIRECTS:
        return -ELOOP;
    case CURLE_FILESIZE_EXCEEDED:
        return -EMSGSIZE;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return by_system(easy, -ECONNRESET);
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_FAIL_REWIND:
        return -ECONNRESET;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_UNSUPPORTED_PROTOCOL:  /* an answer that is HTTP/0.9, a redirect to something else: the URL has been looked at */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_PROXY:
    case CURLE_HTTP_RETURNED_ERROR:
        return -EPROTO;
    default:
        return -EIO;
    }
}

void outcome_tell(const td_http_fetch_opts *opts, const char *reason)
{
    if (opts->reason && opts->reason_size)
        snprintf(opts->reason, opts->reason_size, "%s", reason);
}

int transfer_outcome(struct transfer *transfer)
{
    int rc = transfer->rc;
    const char *reason = transfer->reason;

    if (rc == 0) {
        rc = error_of(transfer->member.easy, transfer->code);
        if (rc < 0)
            reason = transfer->libcurl_says[0] ? transfer->libcurl_says : curl_easy_strerror(transfer->code);
    }
    if (rc == 0 && !transfer->response->head_done) {
        rc = -ECONNRESET;  /* libcurl takes the part of a head for an answer without a body */
        reason = "the connection ended within the head of the answer";
    }
    if (rc < 0)
        outcome_tell(transfer->opts, reason ? reason : td_strerror(rc));
    return rc;
}
