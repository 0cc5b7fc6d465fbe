/* SPDX-License-Identifier: MIT */
/*
 * An HTTP client: one call fetches one URL, by HTTP/1.1 or HTTP/2, plain or over TLS, directly or by a proxy. libcurl speaks
 * the protocols; the loop does its waiting. A call holds nothing but its own task.
 *
 *     td_http_response *answer;
 *     int rc = td_http_fetch(&answer, "https://example.org/", NULL);
 *     if (rc == 0) {
 *         size_t size;
 *         const char *page = td_http_response_body(answer, &size);
 *         ...
 *         td_http_response_free(answer);
 *     }
 *
 * There are no timeouts here but those for a connection: the deadline of a scope around the caller ends a transfer wherever
 * it is (in a lookup, a handshake, a body), at once, and leaves nothing of it behind. Connections that are still good after
 * a transfer are kept for the next one to the same place, in a pool of the loop's that ends with the loop.
 *
 * Certificates are verified unless that is declined; only http and https are spoken; a redirect is followed only if that is
 * asked for; cookies are nobody's business here.
 *
 * Everything is for tasks, on the loop where it began. In the simulation, whose network is in memory, there is no
 * client: -EOPNOTSUPP.
 */
#ifndef TANDEM_FETCH_H
#define TANDEM_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TD_HTTP_FETCH_REASON_SIZE 256  /* bytes that are enough for every reason */

/* An answer. */
typedef struct td_http_response td_http_response;

/*
 * What a fetch can be told. Every field may be zero, for its default. Everything that a pointer leads to is read until the
 * call returns.
 */
typedef struct td_http_fetch_opts {
    const char *method;        /* GET; POST where there is a body */
    const char *fields;        /* further header lines, each "Name: value\r\n"; not Content-Length, not Transfer-Encoding */
    const char *type;          /* of the body: Content-Type */

    const void *body;          /* sent with the request; or instead: */
    size_t body_size;
    /*
     * Fills `data` with up to `size` bytes of the request's body. Called in a task of its own, which may wait, whenever
     * the peer has taken what there was. Returns a count; 0 at the body's end; a negative errno, which ends the fetch. It is
     * cancelled when the answer is there first: one of 400 and above, or one after which the connection ends.
     */
    ssize_t (*send)(void *data, size_t size, void *arg);
    int64_t send_size;         /* of the whole body that `send` will give; 0: not known, and sent in chunks */

    /*
     * Told once, when the last answer's head is there and before any of its body: the status and the fields can be read.
     * In the caller's task; may wait. A negative errno ends the fetch.
     */
    int (*head)(const td_http_response *response, void *arg);
    /*
     * Given the body as it comes, instead of collecting it; `data` is valid during the call. In the caller's task; may wait:
     * what it does not take, the peer is not asked for. A negative errno ends the fetch.
     */
    int (*receive)(const void *data, size_t size, void *arg);
    void *arg;                 /* for send, head, receive */

    size_t body_bytes_max;     /* 16 MiB: of a collected body, decompressed */
    size_t head_bytes_max;     /* 64 KiB: of all header lines, those of redirects and trailers too */
    bool raw;                  /* ask for no compression, and decompress nothing */
    int version;               /* 0: HTTP/2 where TLS agrees on it, else HTTP/1.1; 11: only that; 20: HTTP/2, without TLS too */
    unsigned redirects_max;    /* 0: none is followed. For GET, HEAD, POST, PUT; never from https to http */

    const char *proxy;         /* its URL; "": none; NULL: as the environment says (http_proxy, https_proxy, no_proxy) */
    const char *user, *password;   /* Basic authentication */
    const char *bearer;        /* a token: "Authorization: Bearer ..." */

    const char *ca_file;       /* PEM: who may sign certificates; NULL: whom the system trusts */
    const char *cert_file, *key_file, *key_password;  /* PEM: the client's own certificate and key */
    bool insecure;             /* accept any certificate of any name; for tests */

    td_time connect_timeout;   /* 30 s: lookup, connection and handshakes */
    unsigned rate_min;         /* bytes a second; slower for rate_time: the fetch ends. 0: no bound */
    td_time rate_time;         /* 30 s; whole seconds */

    char *reason;              /* where a sentence is written when the fetch fails; TD_HTTP_FETCH_REASON_SIZE is enough */
    size_t reason_size;
} td_http_fetch_opts;

/*
 * Fetches a URL and waits until its answer is there, body included. An answer with a status of 400 or 500 is an answer. opts
 * may be NULL.
 *
 * Checkpoint: yes.  Returns 0 and *response, the caller's to free, whose body is empty where `receive` has had it. Otherwise
 * *response is NULL:
 *   -ECANCELED      a scope around the caller was cancelled, its deadline included
 *   -EINVAL         the URL, or an option, is none
 *   -ENOENT         no such host
 *   -ECONNREFUSED, -EHOSTUNREACH, -ENETUNREACH, ...  no connection, as the system says
 *   -ECONNRESET     the connection ended before the answer did
 *   -ETIMEDOUT      connect_timeout or rate_time passed
 *   -EPROTO         what the peer said is not HTTP, or not TLS
 *   -EKEYREJECTED   its certificate is not to be trusted, or names another host
 *   -EMSGSIZE       the body or the head is larger than allowed
 *   -ELOOP          more redirects than allowed
 *   -ENOMEM, -EMFILE, ...
 *   what send, head or receive returned
 * opts->reason has more.
 */
int td_http_fetch(td_http_response **response, const char *url, const td_http_fetch_opts *opts);

/* The answer: its status, as 404; the version it came by, 10, 11 or 20; where it came from, after redirects. Not checkpoints. */
int td_http_response_status(const td_http_response *response);
int td_http_response_version(const td_http_response *response);
const char *td_http_response_url(const td_http_response *response);

/* The first header field, or trailer, of a name in whatever case; NULL when there is none. Not checkpoints. */
const char *td_http_response_field(const td_http_response *response, const char *name);
const char *td_http_response_trailer(const td_http_response *response, const char *name);

/*
 * The header fields one by one: `index` counts from 0. Returns whether there is such a one, and its name and value. Not a
 * checkpoint.
 */
bool td_http_response_each(const td_http_response *response, size_t index, const char **name, const char **value);

/* The collected body; a zero byte follows it that does not count. Not a checkpoint. */
const char *td_http_response_body(const td_http_response *response, size_t *size);

/* Frees it; NULL is allowed. Not a checkpoint. */
void td_http_response_free(td_http_response *response);

/* Limits of all fetches of a loop. Zero: the default. */
typedef struct td_http_fetch_limits {
    unsigned connections_max;           /* 128; a fetch that needs one more waits */
    unsigned connections_per_host_max;  /* 16; likewise. From libcurl 8.1 on HTTP/2 carries many fetches over one */
    unsigned idle_max;                  /* 32: that are kept for later */
} td_http_fetch_limits;

/* Sets them for the calling task's loop, from now on. Not a checkpoint. Returns 0, -ENOMEM, -EOPNOTSUPP. */
int td_http_fetch_limit(const td_http_fetch_limits *limits);

typedef struct td_http_fetch_stats {
    size_t running;                     /* fetches under way, those that wait for a connection included */
    unsigned long long fetched, failed, cancelled;
    unsigned long long connections;     /* that were opened */
} td_http_fetch_stats;

/* Of the calling task's loop. Not a checkpoint. */
void td_http_fetch_statistics(td_http_fetch_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
