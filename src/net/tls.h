/* SPDX-License-Identifier: MIT */
/*
 * TLS inside: contexts, and streams that encrypt for another stream.
 *
 * OpenSSL keeps its errors in a queue of the thread. Every function here empties it before it returns, so no later call is
 * blamed for an earlier one; no task switches between a call of OpenSSL and the look at its errors.
 */
#ifndef TANDEM_NET_TLS_H
#define TANDEM_NET_TLS_H

#include <openssl/ssl.h>

#include "net/stream.h"
#include "tandem/tls.h"

#define TLS_RECORD 16384          /* plaintext of a record at the most (RFC 8446, 5.1) */
#define TLS_WHY 256
#define TLS_MESSAGES 64           /* that a peer may send in a row between its data */
#define TLS_SECRET 32

/* Who may compute now. */
struct tls_gate {
    struct turn_end turn;         /* while this turn's share is not whole, or somebody waits for a turn */
    struct td_list waiters;
    unsigned turn_left, per_turn;
    size_t running, running_max, waiting, waiting_max;
};

struct tls_ticket_key {
    unsigned char name[16], cipher[32], mac[32];
};

struct tls_tickets {
    bool shared;                  /* the secret is, with other processes: keys follow from it and the clock alone */
    td_time period_ns;            /* 0: no tickets */
    int64_t period;               /* of `now` */
    unsigned char secret[TLS_SECRET];
    struct tls_ticket_key now, before;
};

#define TLS_SESSIONS 16

/* A client's latest session with a server. */
struct tls_session {
    char *name;
    SSL_SESSION *session;
};

struct td_tls {
    struct loop *loop;
    size_t refs;                  /* the opener's, and one for each stream */
    bool is_server;
    td_tls_certificate *certificates;  /* copies: chain and key are ours */
    size_t certificate_count;
    const char *ca;                   /* NULL: the system's roots; of an anonymous server: none */
    td_tls_clients clients;
    int version_min;
    unsigned char alpn[256];      /* as on the wire: each name behind its length */
    unsigned alpn_size;
    SSL_CTX **contexts;           /* one a certificate, at least one; those of the latest load */
    size_t context_count;
    BIO_METHOD *bio;
    td_time handshake_timeout;
    struct tls_gate gate;
    struct tls_tickets tickets;
    struct tls_session sessions[TLS_SESSIONS];
    unsigned session_next;
    td_tls_stats stats;
    char why[TLS_WHY];
    unsigned char scratch[TLS_RECORD];  /* for one call at a time */
};

struct tls_stream {
    td_stream base;               /* plaintext */
    td_stream *lower;             /* ciphertext */
    struct td_tls *tls;
    SSL *ssl;
    struct turn_end pump;
    size_t under_way;             /* bytes of the queue that are encrypted, and in the lower queue */
    int broken;                   /* sticky: after an error OpenSSL must not be called again */
    unsigned messages_left;       /* that the peer may send between its data: KeyUpdate, NewSessionTicket */
    uint32_t data_bytes;          /* that came since the last of them was allowed */
    bool admitted, turned_away;   /* by the gate */
    bool established;
    bool pumping, pushing;        /* see net/tls_stream.c */
    bool ending;                  /* our close_notify is on its way, the end of the lower stream follows it */
};

/* tls_error.c */

/*
 * After a call of OpenSSL failed for good: takes its errors from the queue, and puts a sentence in tls->why. `stream` may be
 * NULL. Returns the negative errno.
 */
int tls_failure(struct td_tls *tls, struct tls_stream *stream);
/* The newest error of OpenSSL in its own words, or "out of memory" and the like; empties the queue. */
const char *tls_reason(void);

/* tls_load.c: logs what is wrong. Returns 0 or a negative errno. */

int tls_load_certificate(SSL_CTX *context, const td_tls_certificate *certificate);
int tls_load_trust(SSL_CTX *context, const char *ca, bool ask);   /* `ask`: tell clients whose certificates we want */

/* tls_tickets.c */

int tls_tickets_open(struct tls_tickets *tickets, const td_tls_server_opts *opts);
/* Has the context encrypt its tickets so. */
void tls_tickets_use(struct td_tls *tls, SSL_CTX *context);

/* tls_session.c: what clients resume. */

void tls_session_remember(struct td_tls *tls, SSL_CTX *context);
void tls_session_offer(struct tls_stream *stream, const char *name);
void tls_session_forget_all(struct td_tls *tls);

/* tls_gate.c */

void tls_gate_open(struct tls_gate *gate, const td_tls_server_opts *opts);
/* Waits until a handshake may compute. Checkpoint. Returns 0, and tls_gate_leave must follow; -EBUSY; -ECANCELED. */
int tls_gate_enter(struct td_tls *tls);
void tls_gate_leave(struct td_tls *tls);

/* tls_context.c */

void tls_release(struct td_tls *tls);

/* tls_bio.c: OpenSSL's way to the lower stream. */

BIO_METHOD *tls_bio_method(void);                                 /* NULL when memory is short */
BIO *tls_bio_new(BIO_METHOD *method, struct tls_stream *stream);  /* likewise */

/* tls_stream.c */

extern const struct stream_kind tls_kind;

/* The handshake is done: from now on the lower stream's callbacks are ours. */
void tls_stream_begin(struct tls_stream *stream);

/* Sends what can leave a lower queue at once. */
void tls_push(td_stream *lower);

#endif
