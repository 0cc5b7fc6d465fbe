/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls.h"
#include "tandem/log.h"

#define HANDSHAKE_NS 10000000000
#define PROTOCOL_MAX 31           /* of a name that is agreed on by ALPN: td_tls_info has room for it */

/* Forward secrecy and authenticated encryption, what hardware does best first; TLS 1.3 has nothing else. */
static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
static const char groups[] = "X25519:P-256:P-384";

/* "h2, http/1.1" as on the wire. Returns 0 or -EINVAL. */
static int read_alpn(struct td_tls *tls, const char *text)
{
    while (text && *text) {
        size_t size;

        text += strspn(text, ", ");
        size = strcspn(text, ", ");
        if (size > PROTOCOL_MAX || tls->alpn_size + 1 + size > sizeof tls->alpn) {
            td_log(TD_LOG_ERROR, "cannot offer the protocol \"%.*s\" in TLS\n        each has at most %d bytes, all 255",
                   (int)size, text, PROTOCOL_MAX);
            return -EINVAL;
        }
        if (size == 0)
            break;
        tls->alpn[tls->alpn_size++] = (unsigned char)size;
        memcpy(tls->alpn + tls->alpn_size, text, size);
        tls->alpn_size += (unsigned)size;
        text += size;
    }
    return 0;
}

/* RFC 7301, 3.2: our order counts; a client that speaks nothing of it is told so. */
static int choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *size, const unsigned char *offer,
                           unsigned offer_size, void *arg)
{
    struct td_tls *tls = ((struct tls_stream *)SSL_get_app_data(ssl))->tls;
    unsigned char *found;

    if (SSL_select_next_proto(&found, size, tls->alpn, tls->alpn_size, offer, offer_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
    struct td_tls *tls = ((struct tls_stream *)SSL_get_app_data(ssl))->tls;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    for (size_t i = 0; name && i < tls->context_count; i++) {
        if (X509_check_host(SSL_CTX_get0_certificate(tls->contexts[i]), name, 0, 0, NULL) == 1) {
            SSL_set_SSL_CTX(ssl, tls->contexts[i]);
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* The client's hello is whole: what follows is expensive, and waits for its turn. */
static int hello_came(SSL *ssl, int *alert, void *arg)
{
    struct tls_stream *stream = SSL_get_app_data(ssl);

    if (stream->turned_away) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    return stream->admitted ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_RETRY;
}

/*
 * Messages that a peer may send between its data cost us a derivation of keys and an answer (KeyUpdate), or memory
 * (NewSessionTicket). A few are normal, then one for each 64 KiB of data; a flood ends the connection.
 */
static void between_data(int writes, int version, int type, const void *data, size_t size, SSL *ssl, void *arg)
{
    struct tls_stream *stream = SSL_get_app_data(ssl);

    if (writes || type != SSL3_RT_HANDSHAKE || !stream->established)
        return;
    if (stream->messages_left == 0)
        stream->broken = -EPROTO;
    else
        stream->messages_left--;
}

/* A session that was made under one verdict on clients is not resumed under another. */
static int name_sessions(struct td_tls *tls, SSL_CTX *context)
{
    STACK_OF(X509_NAME) *names = SSL_CTX_get_client_CA_list(context);
    unsigned char digest[SSL_MAX_SID_CTX_LENGTH] = {(unsigned char)tls->clients};

    for (int i = 0; names && i < sk_X509_NAME_num(names); i++) {
        unsigned char one[EVP_MAX_MD_SIZE];
        unsigned size;

        if (X509_NAME_digest(sk_X509_NAME_value(names, i), EVP_sha256(), one, &size) != 1)
            return -ENOMEM;
        for (unsigned j = 0; j < sizeof digest; j++)
            digest[j] = (unsigned char)(digest[j] * 31 + one[j]);
    }
    return SSL_CTX_set_session_id_context(context, digest, sizeof digest) == 1 ? 0 : -ENOMEM;
}

static int prepare_server(struct td_tls *tls, SSL_CTX *context)
{
    static const int asks[] = {[TD_TLS_ANONYMOUS] = SSL_VERIFY_NONE, [TD_TLS_MAY_PROVE] = SSL_VERIFY_PEER,
                               [TD_TLS_MUST_PROVE] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};

    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_client_hello_cb(context, hello_came, NULL);
    SSL_CTX_set_tlsext_servername_callback(context, choose_certificate);
    if (tls->alpn_size)
        SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    tls_tickets_use(tls, context);
    SSL_CTX_set_verify(context, asks[tls->clients], NULL);
    if (tls->clients != TD_TLS_ANONYMOUS) {
        int rc = tls_load_trust(context, tls->ca, true);

        if (rc < 0)
            return rc;
    }
    return name_sessions(tls, context);
}

static int prepare_client(struct td_tls *tls, SSL_CTX *context)
{
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    tls_session_remember(tls, context);
    if (tls->alpn_size && SSL_CTX_set_alpn_protos(context, tls->alpn, tls->alpn_size) != 0)
        return -ENOMEM;
    if (tls->ca)
        return tls_load_trust(context, tls->ca, false);
    return SSL_CTX_set_default_verify_paths(context) == 1 ? 0 : -ENOMEM;
}

static int make_context(struct td_tls *tls, const td_tls_certificate *certificate, SSL_CTX **out)
{
    SSL_CTX *context = SSL_CTX_new(tls->is_server ? TLS_server_method() : TLS_client_method());
    int rc = -ENOMEM;

    if (context && SSL_CTX_set_min_proto_version(context, tls->version_min == 13 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_cipher_list(context, ciphers) == 1 && SSL_CTX_set1_groups_list(context, groups) == 1)
        rc = 0;
    if (rc == 0) {
        SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_msg_callback(context, between_data);
        rc = tls->is_server ? prepare_server(tls, context) : prepare_client(tls, context);
    }
    if (rc == 0 && certificate)
        rc = tls_load_certificate(context, certificate);
    ERR_clear_error();
    if (rc < 0)
        SSL_CTX_free(context);
    else
        *out = context;
    return rc;
}

static void free_contexts(SSL_CTX **contexts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        SSL_CTX_free(contexts[i]);
    free(contexts);
}

/* Reads all files anew. On failure everything stays as it was. */
static int load(struct td_tls *tls, const td_tls_certificate *certificates, size_t count)
{
    size_t wanted = count ? count : 1, made = 0;
    SSL_CTX **contexts = calloc(wanted, sizeof *contexts);
    int rc = 0;

    if (!contexts)
        return -ENOMEM;
    while (rc == 0 && made < wanted) {
        rc = make_context(tls, count ? &certificates[made] : NULL, &contexts[made]);
        made += rc == 0;
    }
    if (rc < 0) {
        free_contexts(contexts, made);
        return rc;
    }
    tls_session_forget_all(tls);
    free_contexts(tls->contexts, tls->context_count);
    tls->contexts = contexts;
    tls->context_count = wanted;
    return 0;
}

static void free_certificates(td_tls_certificate *certificates, size_t count)
{
    for (size_t i = 0; certificates && i < count; i++) {
        free((char *)(uintptr_t)certificates[i].chain);
        free((char *)(uintptr_t)certificates[i].key);
    }
    free(certificates);
}

/* NULL stays NULL. False: no memory. */
static bool copy_text(const char *from, const char **to)
{
    char *copy;

    *to = NULL;
    if (!from)
        return true;
    copy = strdup(from);
    if (!copy)
        return false;
    *to = copy;
    return true;
}

static int copy_certificates(const td_tls_certificate *from, size_t count, td_tls_certificate **out)
{
    td_tls_certificate *copy = calloc(count + 1, sizeof *copy);
    bool whole = copy != NULL;

    for (size_t i = 0; whole && i < count; i++)
        whole = copy_text(from[i].chain, &copy[i].chain) && copy_text(from[i].key, &copy[i].key);
    if (!whole) {
        free_certificates(copy, count);
        return -ENOMEM;
    }
    *out = copy;
    return 0;
}

void tls_release(struct td_tls *tls)
{
    if (--tls->refs > 0)
        return;
    tls_session_forget_all(tls);
    free_contexts(tls->contexts, tls->context_count);
    free_certificates(tls->certificates, tls->certificate_count);
    list_remove(&tls->gate.turn.link);
    BIO_meth_free(tls->bio);
    free((char *)(uintptr_t)tls->ca);
    OPENSSL_cleanse(&tls->tickets, sizeof tls->tickets);
    free(tls);
}

static struct td_tls *new_tls(const char *ca, const char *alpn, int version_min, td_time timeout, int *rc)
{
    struct td_tls *tls = calloc(1, sizeof *tls);

    *rc = -ENOMEM;
    if (!tls)
        return NULL;
    tls->loop = loop_of(task_self("td_tls_server"));
    tls->refs = 1;
    list_init(&tls->gate.turn.link);
    tls->version_min = version_min ? version_min : 12;
    tls->handshake_timeout = timeout > 0 ? timeout : HANDSHAKE_NS;
    tls->bio = tls_bio_method();
    if (tls->bio && copy_text(ca, &tls->ca))
        *rc = tls->version_min == 12 || tls->version_min == 13 ? read_alpn(tls, alpn) : -EINVAL;
    return tls;
}

/* The rest of opening. */
static int begin(struct td_tls *tls, const td_tls_certificate *certificates, size_t count, int rc, td_tls **out)
{
    if (rc == 0)
        rc = copy_certificates(certificates, count, &tls->certificates);
    if (rc == 0) {
        tls->certificate_count = count;
        rc = load(tls, tls->certificates, count);
    }
    if (rc == 0)
        *out = tls;
    else
        tls_release(tls);
    return rc;
}

int td_tls_server(td_tls **out, const td_tls_server_opts *opts)
{
    struct td_tls *tls;
    int rc;

    if (!opts || opts->certificate_count == 0 || (opts->clients != TD_TLS_ANONYMOUS && !opts->client_ca)) {
        td_log(TD_LOG_ERROR, "a TLS server needs a certificate%s\n        see td_tls_server_opts",
               opts && opts->certificate_count ? " of those who vouch for its clients" : "");
        return -EINVAL;
    }
    tls = new_tls(opts->client_ca, opts->alpn, opts->version_min, opts->handshake_timeout, &rc);
    if (!tls)
        return rc;
    tls->is_server = true;
    tls->clients = opts->clients;
    tls_gate_open(&tls->gate, opts);
    if (rc == 0)
        rc = tls_tickets_open(&tls->tickets, opts);
    return begin(tls, opts->certificates, opts->certificate_count, rc, out);
}

int td_tls_client(td_tls **out, const td_tls_client_opts *opts)
{
    static const td_tls_client_opts none;
    struct td_tls *tls;
    int rc;

    opts = opts ? opts : &none;
    tls = new_tls(opts->ca, opts->alpn, opts->version_min, opts->handshake_timeout, &rc);
    if (!tls)
        return rc;
    return begin(tls, opts->certificate, opts->certificate ? 1 : 0, rc, out);
}

void td_tls_close(td_tls *tls)
{
    if (tls)
        tls_release(tls);
}

int td_tls_reload(td_tls *tls, const td_tls_certificate *certificates, size_t count)
{
    td_tls_certificate *copy;
    int rc;

    if (!certificates)
        return load(tls, tls->certificates, tls->certificate_count);
    if (count == 0 && tls->is_server)
        return -EINVAL;
    rc = copy_certificates(certificates, count, &copy);
    if (rc < 0)
        return rc;
    rc = load(tls, copy, count);
    free_certificates(rc == 0 ? tls->certificates : copy, rc == 0 ? tls->certificate_count : count);
    if (rc == 0) {
        tls->certificates = copy;
        tls->certificate_count = count;
    }
    return rc;
}

void td_tls_statistics(const td_tls *tls, td_tls_stats *stats)
{
    *stats = tls->stats;
    stats->running = tls->gate.running;
    stats->waiting = tls->gate.waiting;
}

const char *td_tls_why(const td_tls *tls)
{
    return tls->why;
}
