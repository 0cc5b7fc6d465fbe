/* SPDX-License-Identifier: MIT */
/*
 * Session tickets (RFC 5077, RFC 8446 4.6.1): a client that comes back brings what we need to resume, encrypted with a key that
 * is ours alone. A key is used for one period and accepted for another; then no ticket of its time is worth anything.
 *
 * The keys of a period follow from the secret and the period's number: so processes that share the secret agree without a
 * word. A secret of our own is drawn anew for each period, so that nothing is left that could tell an old one.
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/clock.h"
#include "net/tls.h"

#define PERIOD_NS 3600000000000
#define MAC_BYTES 32

/* The keys of `period`, by HKDF (RFC 5869). */
static int derive(const struct tls_tickets *tickets, int64_t period, struct tls_ticket_key *key)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)tickets->secret, TLS_SECRET),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, &period, sizeof period),
        OSSL_PARAM_construct_end(),
    };
    int done = context ? EVP_KDF_derive(context, (unsigned char *)key, sizeof *key, params) : 0;

    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return done > 0 ? 0 : -ENOMEM;
}

/* Goes to the present period. On failure the old keys stay. */
static int advance(struct tls_tickets *tickets)
{
    /* Machines share the calendar, and not the time since they were started. */
    int64_t period = (tickets->shared ? clock_calendar() * 1000000000 : td_now()) / tickets->period_ns;
    struct tls_ticket_key now, before = tickets->now;

    if (period == tickets->period)
        return 0;
    if (tickets->shared) {
        if (derive(tickets, period, &now) < 0 || derive(tickets, period - 1, &before) < 0)
            return -ENOMEM;
    } else {
        if (RAND_bytes(tickets->secret, TLS_SECRET) != 1 || derive(tickets, period, &now) < 0)
            return -ENOMEM;
        if (tickets->period != period - 1 && RAND_bytes((unsigned char *)&before, sizeof before) != 1)
            return -ENOMEM;  /* nobody came for a whole period: the last keys are too old */
        OPENSSL_cleanse(tickets->secret, TLS_SECRET);
    }
    tickets->now = now;
    tickets->before = before;
    tickets->period = period;
    OPENSSL_cleanse(&now, sizeof now);
    OPENSSL_cleanse(&before, sizeof before);
    return 0;
}

int tls_tickets_open(struct tls_tickets *tickets, const td_tls_server_opts *opts)
{
    if (opts->ticket_period < 0)
        return 0;
    tickets->period_ns = opts->ticket_period > 0 ? opts->ticket_period : PERIOD_NS;
    tickets->period = -2;
    tickets->shared = opts->ticket_secret != NULL;
    if (tickets->shared)
        memcpy(tickets->secret, opts->ticket_secret, TLS_SECRET);
    return advance(tickets);
}

static int set_mac(EVP_MAC_CTX *mac, struct tls_ticket_key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof key->mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params);
}

/* OpenSSL's question for the keys of a ticket. Returns 1; 2: use them, and give the client a newer ticket; 0: unknown; -1. */
static int find_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypts)
{
    struct tls_stream *stream = SSL_get_app_data(ssl);
    struct tls_tickets *tickets = &stream->tls->tickets;
    struct tls_ticket_key *key = &tickets->now;

    if (advance(tickets) < 0)
        return encrypts ? -1 : 0;
    if (encrypts) {
        memcpy(name, key->name, sizeof key->name);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
            return -1;
        return EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv) == 1 && set_mac(mac, key) == 1 ? 1 : -1;
    }
    if (memcmp(name, key->name, sizeof key->name) != 0)
        key = &tickets->before;
    if (memcmp(name, key->name, sizeof key->name) != 0)
        return 0;
    if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv) != 1 || set_mac(mac, key) != 1)
        return -1;
    /* A ticket of TLS 1.3 is for one use, so there is always another. */
    return key == &tickets->before || SSL_version(ssl) == TLS1_3_VERSION ? 2 : 1;
}

void tls_tickets_use(struct td_tls *tls, SSL_CTX *context)
{
    if (tls->tickets.period_ns == 0) {
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(context, 0);
        return;
    }
    SSL_CTX_set_num_tickets(context, 1);  /* each resumption brings the next */
    SSL_CTX_set_timeout(context, 1 + 2 * tls->tickets.period_ns / 1000000000);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, find_key);
}
