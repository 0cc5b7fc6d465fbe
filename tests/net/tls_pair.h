/* SPDX-License-Identifier: MIT */
/*
 * Two ends of one TLS connection over loopback, with the certificates of tests/net/certificates.sh.
 */
#ifndef TANDEM_TESTS_NET_TLS_PAIR_H
#define TANDEM_TESTS_NET_TLS_PAIR_H

#include "net/pair.h"

/* Where the certificates are; set by main. */
extern const char *certificates;

/* The path of a file of theirs. One of a few buffers, used in turn. */
UNUSED static const char *in_certificates(const char *file)
{
    static char paths[16][300];
    static unsigned next;
    char *path = paths[next++ % COUNT(paths)];

    snprintf(path, sizeof paths[0], "%s/%s", certificates, file);
    return path;
}

UNUSED static td_tls_certificate certificate(const char *name)
{
    char chain[64], key[64];

    snprintf(chain, sizeof chain, "%s.crt", name);
    snprintf(key, sizeof key, "%s.key", name);
    return (td_tls_certificate){in_certificates(chain), in_certificates(key)};
}

/* A server with the named certificate, and further options. */
UNUSED static td_tls *server_tls(const char *name, td_tls_server_opts opts)
{
    td_tls_certificate ours = certificate(name);
    td_tls *tls = NULL;

    opts.certificates = opts.certificates ? opts.certificates : &ours;
    opts.certificate_count = opts.certificate_count ? opts.certificate_count : 1;
    expect_int(td_tls_server(&tls, &opts), 0);
    return tls;
}

/* A client that trusts the tests' authority, unless `opts` says otherwise. */
UNUSED static td_tls *client_tls(td_tls_client_opts opts)
{
    td_tls *tls = NULL;

    opts.ca = opts.ca ? opts.ca : in_certificates("ca.crt");
    expect_int(td_tls_client(&tls, &opts), 0);
    return tls;
}

struct accepting {
    td_stream **stream;
    td_tls *tls;
    int rc;
};

UNUSED static int accept_tls(void *arg)
{
    struct accepting *accepting = arg;

    accepting->rc = td_stream_tls_accept(accepting->stream, accepting->tls);
    return 0;
}

/* Shakes hands on a pair: the far end is the server. Returns what the client was told, *server what the server was. */
UNUSED static int shake_hands(struct pair *pair, td_tls *client, td_tls *server, const char *name, int *server_rc)
{
    struct accepting accepting = {&pair->far, server, 1};
    td_scope scope;
    int rc;

    td_scope_open(&scope);
    td_spawn(&scope, accept_tls, &accepting);
    rc = td_stream_tls_connect(&pair->near, client, name);
    if (rc < 0) {  /* a server that was not told so waits for more */
        td_stream_close(pair->near);
        pair->near = NULL;
    }
    expect_int(td_scope_join(&scope), 0);
    *server_rc = accepting.rc;
    return rc;
}

/* A pair that has shaken hands. */
UNUSED static bool tls_pair_open(struct pair *pair, td_tls *client, td_tls *server)
{
    int rc;

    return pair_open(pair) && expect_int(shake_hands(pair, client, server, "localhost", &rc), 0) && expect_int(rc, 0);
}

#endif
