/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "net/tls.h"

const char *tls_reason(void)
{
    unsigned long error = ERR_peek_last_error();
    const char *reason = error ? ERR_reason_error_string(error) : NULL;

    ERR_clear_error();
    return reason ? reason : "out of memory";
}

static void subject_of(const X509 *certificate, char *text, int size)
{
    X509_NAME *name = certificate ? X509_get_subject_name(certificate) : NULL;

    text[0] = '\0';
    if (name)
        X509_NAME_oneline(name, text, size);
}

/* The peer's certificate was refused. */
static int refused_certificate(struct td_tls *tls, struct tls_stream *stream, long verdict)
{
    char subject[100], reason[120];

    subject_of(SSL_get0_peer_certificate(stream->ssl), subject, sizeof subject);
    snprintf(reason, sizeof reason, "%s", X509_verify_cert_error_string(verdict));
    snprintf(tls->why, TLS_WHY, "the peer's certificate%s%s was refused: %s", subject[0] ? " " : "", subject, reason);
    return verdict == X509_V_ERR_CERT_HAS_EXPIRED || verdict == X509_V_ERR_CERT_NOT_YET_VALID ? -EKEYEXPIRED : -EKEYREJECTED;
}

/* What the reasons mean that people meet. */
static const char *explain(int reason, int *rc)
{
    switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        return "the peer speaks HTTP without TLS; it should say https://";
    case SSL_R_WRONG_VERSION_NUMBER:
        return "what the peer sent is no TLS";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
        return "the peer speaks only versions of TLS that are too old";
    case SSL_R_NO_SHARED_CIPHER:
        return "the peer offers no cipher that is acceptable here, or none that fits our certificate";
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return "the peer offers no application protocol that we speak (ALPN)";
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        *rc = -ENOKEY;
        return "the peer must show a certificate, and showed none";
    default:
        return NULL;
    }
}

static int reason_of_failure(struct td_tls *tls, unsigned long error)
{
    int reason = ERR_GET_REASON(error), rc = -EPROTO;
    const char *text = explain(reason, &rc), *words = ERR_reason_error_string(error);

    if (reason == ERR_R_MALLOC_FAILURE) {
        snprintf(tls->why, TLS_WHY, "memory is short");
        return -ENOMEM;
    }
    if (!text && ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
        snprintf(tls->why, TLS_WHY, "the peer broke it off: %s", SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
    else
        snprintf(tls->why, TLS_WHY, "%s", text ? text : words ? words : "an error without a name");
    return rc;
}

int tls_failure(struct td_tls *tls, struct tls_stream *stream)
{
    unsigned long error = ERR_peek_error();  /* the first is the cause */
    long verdict = stream ? SSL_get_verify_result(stream->ssl) : X509_V_OK;
    int rc;

    if (stream && stream->broken) {
        snprintf(tls->why, TLS_WHY, "the connection broke");
        rc = stream->broken;
    } else if (stream && stream->lower->error < 0) {
        snprintf(tls->why, TLS_WHY, "the connection broke");
        rc = stream->lower->error;
    } else if (stream && !stream->lower->input && stream->lower->input_end <= 0) {
        snprintf(tls->why, TLS_WHY, "the peer cut the connection off");
        rc = stream->lower->input_end < 0 ? stream->lower->input_end : -ECONNRESET;
    } else if (ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED && verdict != X509_V_OK) {
        rc = refused_certificate(tls, stream, verdict);
    } else {
        rc = error ? reason_of_failure(tls, error) : -ENOMEM;
        if (!error)
            snprintf(tls->why, TLS_WHY, "memory is short");
    }
    ERR_clear_error();
    return rc;
}
