/* SPDX-License-Identifier: MIT */
/*
 * TLS 1.2 and 1.3 over a stream, by OpenSSL.
 *
 * A context (td_tls) says who we are and whom we trust; a handshake turns a stream into one that is encrypted, used like any
 * other from then on:
 *
 *     td_tls *tls;
 *     td_tls_certificate ours = {.chain = "server.crt", .key = "server.key"};
 *     int rc = td_tls_server(&tls, &(td_tls_server_opts){.certificates = &ours, .certificate_count = 1});
 *     ...
 *     rc = td_accept(listener, &stream);
 *     if (rc == 0)
 *         rc = td_stream_tls_accept(&stream, tls);
 *
 * Everything here is for tasks of the loop that made the context, and none of it is a checkpoint unless it says so.
 *
 * PEM below is a file's path, or the text of such a file itself, which begins with "-----BEGIN ".
 *
 * What is never done: TLS 1.1 and older, renegotiation, compression, early data (RFC 8446, 2.3: it can be replayed), and of
 * TLS 1.2 ciphers without forward secrecy or authenticated encryption.
 */
#ifndef TANDEM_TLS_H
#define TANDEM_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/net.h"
#include "tandem/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_tls td_tls;

typedef struct td_tls_certificate {
    const char *chain;  /* PEM: our certificate, then those between it and the root, in their order */
    const char *key;    /* PEM: its private key, without a password */
} td_tls_certificate;

/* Whether a server asks for its clients' certificates. One that is shown must be valid in any case. */
typedef enum td_tls_clients { TD_TLS_ANONYMOUS, TD_TLS_MAY_PROVE, TD_TLS_MUST_PROVE } td_tls_clients;

/* Every field but the certificates may be zero, for its default. */
typedef struct td_tls_server_opts {
    const td_tls_certificate *certificates;  /* each for the names in it; the first also for clients that name none of them */
    size_t certificate_count;        /* at least 1 */
    const char *alpn;                /* protocols we speak, best first: "h2, http/1.1"; NULL: none is agreed on (RFC 7301) */
    td_tls_clients clients;
    const char *client_ca;           /* PEM: who may vouch for clients; needed unless they are anonymous */
    int version_min;                 /* 12 (the default) or 13 */
    td_time handshake_timeout;       /* 10 s, from td_stream_tls_accept to its end */
    unsigned handshakes_per_turn;    /* 5: how many may compute in one turn of the loop, so that the others keep their latency */
    size_t handshakes_max;           /* 256: at once; each costs about 60 KiB */
    size_t handshakes_waiting_max;   /* 1024: further ones wait their turn, and beyond these they are refused */
    td_time ticket_period;           /* 1 h: how long a ticket key is used; resumption works for one more. Negative: no tickets */
    const void *ticket_secret;       /* 32 bytes, the same in all processes that are to resume each other's sessions; NULL: one
                                        that is drawn for each period, and forgotten after it */
} td_tls_server_opts;

/* Every field may be zero. */
typedef struct td_tls_client_opts {
    const char *ca;                  /* PEM: whose servers are trusted; NULL: the system's roots */
    const td_tls_certificate *certificate;  /* to prove who we are, where a server asks */
    const char *alpn;                /* as above: what we offer */
    int version_min;                 /* 12 (the default) or 13 */
    td_time handshake_timeout;       /* 10 s */
} td_tls_client_opts;

/*
 * Opens a context. What is wrong with a file is logged in a sentence, with what to do.
 * Returns 0 and *tls, to be closed; -EINVAL for a file or text that is no such thing, keys that do not belong to their
 * certificates, and options that do not fit; -ENOENT, -EACCES and what else reading a file may say; -ENOMEM.
 */
int td_tls_server(td_tls **tls, const td_tls_server_opts *opts);
int td_tls_client(td_tls **tls, const td_tls_client_opts *opts);

/* Forgets it. Streams made with it go on. */
void td_tls_close(td_tls *tls);

/*
 * Reads all files again, for handshakes from now on: certificates are renewed without losing a connection. With `certificates`
 * these take the place of the former ones; NULL: as they were. On failure nothing changes; errors as above.
 */
int td_tls_reload(td_tls *tls, const td_tls_certificate *certificates, size_t certificate_count);

typedef struct td_tls_stats {
    unsigned long long done;         /* handshakes that succeeded */
    unsigned long long resumed;      /* of them, those that resumed an earlier session */
    unsigned long long failed;       /* refused ones included */
    unsigned long long refused;      /* because too many waited */
    size_t running, waiting;         /* now */
} td_tls_stats;

/* How its handshakes went. */
void td_tls_statistics(const td_tls *tls, td_tls_stats *stats);

/* Why its latest handshake failed, in words; "" when none did. Valid until the next one fails. */
const char *td_tls_why(const td_tls *tls);

/*
 * The handshake, as the server and as the client. A client insists that the server's certificate is for `name`, a host or an IP
 * address. On success *stream is the encrypted stream, which owns the former one. On failure it is as before and good for
 * nothing but td_stream_close.
 *
 * An encrypted stream tells a peer that said its end (then it reads 0) from one that was cut off (-ECONNRESET); bytes that are
 * no TLS are -EPROTO. td_stream_end says the end, and reading goes on.
 *
 * Checkpoint: yes; bounded by the context's handshake_timeout and by the scopes around the caller.
 * Returns 0; -EPROTO when the peer speaks no TLS that we accept, or refuses ours; -EKEYEXPIRED, -EKEYREJECTED for its
 * certificate (out of date; all else: another's name, no trusted issuer...); -ENOKEY when it must show one and did not; -EBUSY
 * when too many handshakes wait; -ETIMEDOUT; -ECONNRESET; -ECANCELED; -ENOMEM; -EINVAL when the context is of the other side
 * or `name` is no name. td_tls_why has more.
 */
int td_stream_tls_accept(td_stream **stream, td_tls *tls);
int td_stream_tls_connect(td_stream **stream, td_tls *tls, const char *name);

typedef struct td_tls_info {
    int version;            /* 12 or 13 */
    bool resumed;
    char cipher[48];        /* "TLS_AES_256_GCM_SHA384" */
    char alpn[32];          /* the protocol that was agreed on; "": none */
    char name[256];         /* the server's name that the client asked for (SNI); "": none */
    char peer[256];         /* whose valid certificate the peer showed: "CN=ann,O=Example" (RFC 2253); "": it showed none */
} td_tls_info;

/* What was agreed on. Returns 0, or -ENOTCONN when the stream is not encrypted. */
int td_stream_tls_info(td_stream *stream, td_tls_info *info);

#ifdef __cplusplus
}
#endif
#endif
