/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "net/tls.h"

#define NAME_MAX_DNS 253

/* Waits until the client may be answered. */
static int be_admitted(struct tls_stream *stream)
{
    struct td_tls *tls = stream->tls;
    int rc = tls_gate_enter(tls);

    stream->admitted = rc == 0;
    if (rc == -EBUSY) {
        tls->stats.refused++;
        snprintf(tls->why, TLS_WHY, "%zu handshakes wait already", tls->gate.waiting);
        stream->turned_away = true;
        (void)SSL_do_handshake(stream->ssl);  /* tells the client */
    }
    return rc;
}

static int shake(struct tls_stream *stream)
{
    int rc = 0;

    while (rc >= 0) {
        int done, error;

        ERR_clear_error();
        done = SSL_do_handshake(stream->ssl);
        if (done == 1 && !stream->broken)
            return 0;
        error = stream->broken ? SSL_ERROR_SSL : SSL_get_error(stream->ssl, done);
        switch (error) {
        case SSL_ERROR_WANT_READ:
            rc = stream_wait_input(stream->lower);  /* at its end, OpenSSL is to see it */
            if (rc < 0 && rc != -ECANCELED)
                snprintf(stream->tls->why, TLS_WHY, "the connection broke");
            break;
        case SSL_ERROR_WANT_CLIENT_HELLO_CB:
            rc = be_admitted(stream);
            break;
        default:
            rc = tls_failure(stream->tls, stream);
        }
    }
    return rc;
}

/* The same, until the context's time is over. */
static int shake_in_time(struct tls_stream *stream)
{
    td_scope scope;
    int rc, joined;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(stream->tls->handshake_timeout));
    rc = shake(stream);
    joined = td_scope_join(&scope);
    if (rc != -ECANCELED || joined != -ETIMEDOUT)
        return rc;
    snprintf(stream->tls->why, TLS_WHY, "the peer took too long");
    return -ETIMEDOUT;
}

static void free_half(struct tls_stream *stream)
{
    SSL_free(stream->ssl);
    ERR_clear_error();
    stream_fini(&stream->base);
    free(stream);
}

static struct tls_stream *half(td_tls *tls, td_stream *lower)
{
    struct tls_stream *stream = calloc(1, sizeof *stream);
    BIO *bio;

    if (!stream)
        return NULL;
    stream_init(&stream->base, &tls_kind, tls->loop);
    list_init(&stream->pump.link);
    stream->tls = tls;
    stream->lower = lower;
    stream->ssl = SSL_new(tls->contexts[0]);
    bio = stream->ssl ? tls_bio_new(tls->bio, stream) : NULL;
    if (!bio) {
        free_half(stream);
        return NULL;
    }
    SSL_set_bio(stream->ssl, bio, bio);
    SSL_set_app_data(stream->ssl, stream);
    return stream;
}

/* The handshake itself. Takes `stream` over; on success it is *out. */
static int agree(struct tls_stream *stream, td_stream **out)
{
    struct td_tls *tls = stream->tls;
    int rc;

    tls->refs++;  /* who waits may see it closed */
    rc = shake_in_time(stream);
    if (stream->admitted)
        tls_gate_leave(tls);
    if (rc == 0) {
        tls->stats.done++;
        tls->stats.resumed += SSL_session_reused(stream->ssl) == 1;
        tls_stream_begin(stream);
        *out = &stream->base;
        return 0;
    }
    tls->stats.failed++;
    tls_push(stream->lower);  /* the alert that says why */
    free_half(stream);
    tls_release(tls);
    return rc;
}

int td_stream_tls_accept(td_stream **io, td_tls *tls)
{
    struct tls_stream *stream;
    int rc = task_checkpoint(task_self(__func__));

    if (rc < 0)
        return rc;
    if (!tls->is_server)
        return -EINVAL;
    stream = half(tls, *io);
    if (!stream)
        return -ENOMEM;
    SSL_set_accept_state(stream->ssl);
    return agree(stream, io);
}

/* Whom we want to talk to: an address is only looked for in the certificate, a name is also sent (RFC 6066, 3). */
static int expect_name(struct tls_stream *stream, const char *name)
{
    struct in6_addr address;
    bool numeric = inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
    int done;

    SSL_set_hostflags(stream->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (numeric)
        done = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(stream->ssl), name);
    else
        done = SSL_set1_host(stream->ssl, name) == 1 ? (int)SSL_set_tlsext_host_name(stream->ssl, name) : 0;
    ERR_clear_error();
    if (done == 1 && !numeric)
        tls_session_offer(stream, name);
    return done == 1 ? 0 : -ENOMEM;
}

int td_stream_tls_connect(td_stream **io, td_tls *tls, const char *name)
{
    struct tls_stream *stream;
    size_t size = strlen(name);
    int rc = task_checkpoint(task_self(__func__));

    if (rc < 0)
        return rc;
    if (tls->is_server || size == 0 || size > NAME_MAX_DNS)
        return -EINVAL;
    stream = half(tls, *io);
    if (!stream)
        return -ENOMEM;
    SSL_set_connect_state(stream->ssl);
    rc = expect_name(stream, name);
    if (rc == 0)
        return agree(stream, io);
    free_half(stream);
    return rc;
}

static void subject_of_peer(const SSL *ssl, char *text, size_t size)
{
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    BIO *memory = certificate ? BIO_new(BIO_s_mem()) : NULL;
    int n = 0;

    if (memory && X509_NAME_print_ex(memory, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
        n = BIO_read(memory, text, (int)size - 1);
    text[n > 0 ? n : 0] = '\0';
    BIO_free(memory);
    ERR_clear_error();
}

int td_stream_tls_info(td_stream *base, td_tls_info *info)
{
    struct tls_stream *stream = container_of(base, struct tls_stream, base);
    const unsigned char *protocol;
    const char *name;
    unsigned size;

    if (base->kind != &tls_kind)
        return -ENOTCONN;
    name = SSL_get_servername(stream->ssl, TLSEXT_NAMETYPE_host_name);
    SSL_get0_alpn_selected(stream->ssl, &protocol, &size);
    *info = (td_tls_info){.version = SSL_version(stream->ssl) == TLS1_3_VERSION ? 13 : 12,
                          .resumed = SSL_session_reused(stream->ssl) == 1};
    snprintf(info->cipher, sizeof info->cipher, "%s", SSL_get_cipher_name(stream->ssl));
    snprintf(info->name, sizeof info->name, "%s", name ? name : "");
    if (size > 0 && size < sizeof info->alpn)
        memcpy(info->alpn, protocol, size);
    subject_of_peer(stream->ssl, info->peer, sizeof info->peer);
    return 0;
}
