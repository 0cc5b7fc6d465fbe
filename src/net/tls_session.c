/* SPDX-License-Identifier: MIT */
/*
 * What a client resumes: its latest session with each of a few servers. A session is used once (RFC 8446, C.4: an observer
 * could else tell that two connections are of one client); the next handshake brings another.
 */
#include <stdlib.h>
#include <string.h>

#include "net/tls.h"

static struct tls_session *find(struct td_tls *tls, const char *name)
{
    for (unsigned i = 0; i < TLS_SESSIONS; i++)
        if (tls->sessions[i].session && strcmp(tls->sessions[i].name, name) == 0)
            return &tls->sessions[i];
    return NULL;
}

static void forget(struct tls_session *session)
{
    SSL_SESSION_free(session->session);
    free(session->name);
    *session = (struct tls_session){0};
}

/* OpenSSL tells of a session. Returns 1 when it was kept. */
static int came(SSL *ssl, SSL_SESSION *session)
{
    struct tls_stream *stream = SSL_get_app_data(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    struct td_tls *tls = stream->tls;
    struct tls_session *place = name ? find(tls, name) : NULL;
    char *copy = name ? strdup(name) : NULL;

    if (!copy)
        return 0;
    if (!place)
        place = &tls->sessions[tls->session_next++ % TLS_SESSIONS];
    forget(place);
    *place = (struct tls_session){copy, session};
    return 1;
}

void tls_session_remember(struct td_tls *tls, SSL_CTX *context)
{
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, came);
}

void tls_session_offer(struct tls_stream *stream, const char *name)
{
    struct tls_session *session = find(stream->tls, name);

    if (!session)
        return;
    if (SSL_SESSION_is_resumable(session->session))
        (void)SSL_set_session(stream->ssl, session->session);
    forget(session);
}

void tls_session_forget_all(struct td_tls *tls)
{
    for (unsigned i = 0; i < TLS_SESSIONS; i++)
        forget(&tls->sessions[i]);
}
