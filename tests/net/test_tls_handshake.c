/* SPDX-License-Identifier: MIT */
/* Handshakes: who is believed, what is agreed on, how each failure is told. */
#include <openssl/err.h>

#include "net/tls.h"
#include "net/tls_pair.h"

const char *certificates;

/* What is tried, and what both ends are to say. */
struct trial {
    const char *server, *name, *trust, *client;  /* certificates: the server's, the name asked for, whom is trusted, the own */
    td_tls_clients clients;
    int client_min;
    int client_rc, server_rc;  /* 1: any failure */
    const char *why;           /* a part of what the client is told */
};

static void judge(int got, int wanted, const char *where)
{
    if (wanted == 1)
        expect_at(got < 0, where, "a failure", got, wanted);
    else
        expect_int_at(got, wanted, where, "the outcome");
}

static int try_it(void *arg)
{
    const struct trial *trial = arg;
    td_tls_certificate own = certificate(trial->client ? trial->client : "client");
    td_tls *server = server_tls(trial->server, (td_tls_server_opts){.clients = trial->clients,
                                .client_ca = in_certificates("ca.crt")});
    td_tls *client = client_tls((td_tls_client_opts){.ca = in_certificates(trial->trust ? trial->trust : "ca.crt"),
                                .certificate = trial->client ? &own : NULL, .version_min = trial->client_min});
    struct pair pair;
    int rc, server_rc;
    char byte;

    if (!server || !client || !pair_open(&pair))
        return -EIO;
    rc = shake_hands(&pair, client, server, trial->name, &server_rc);
    if (rc == 0 && trial->client_rc != 0)  /* in TLS 1.3 a client is done before the server has judged it */
        rc = (int)td_stream_read(pair.near, &byte, 1);
    judge(rc, trial->client_rc, trial->name);
    judge(server_rc, trial->server_rc, trial->name);
    if (trial->why && !strstr(td_tls_why(client), trial->why))
        expect_text(td_tls_why(client), trial->why);
    expect_int((long long)ERR_peek_error(), 0);  /* the queue is empty */
    pair_close(&pair);
    td_tls_close(server);
    td_tls_close(client);
    return 0;
}

/* What a server's certificate is worth. */
static void servers_are_judged(void **state)
{
    struct trial trials[] = {
        {"server", "localhost", .client_rc = 0},
        {"server", "127.0.0.1", .client_rc = 0},
        {"server", "::1", .client_rc = 0},
        {"second", "a.wild.example", .client_rc = 0},
        {"server", "other.example", .client_rc = -EKEYREJECTED, .server_rc = 1, .why = "ostname mismatch"},
        {"server", "127.0.0.2", .client_rc = -EKEYREJECTED, .server_rc = 1, .why = "IP address mismatch"},
        {"second", "a.b.wild.example", .client_rc = -EKEYREJECTED, .server_rc = 1},
        {"expired", "localhost", .client_rc = -EKEYEXPIRED, .server_rc = 1, .why = "expired"},
        {"self", "localhost", .client_rc = -EKEYREJECTED, .server_rc = 1, .why = "self"},
        {"server", "localhost", .trust = "other-ca.crt", .client_rc = -EKEYREJECTED, .server_rc = 1, .why = "issuer"},
        {"server", "", .client_rc = -EINVAL, .server_rc = 1},
    };

    for (size_t i = 0; i < COUNT(trials); i++)
        assert_int_equal(run(state, try_it, &trials[i]), 0);
}

/* What a client's certificate is worth. */
static void clients_are_judged(void **state)
{
    struct trial trials[] = {
        {"server", "localhost", .clients = TD_TLS_MAY_PROVE},
        {"server", "localhost", .client = "client", .clients = TD_TLS_MAY_PROVE},
        {"server", "localhost", .client = "client", .clients = TD_TLS_MUST_PROVE},
        {"server", "localhost", .clients = TD_TLS_MUST_PROVE, .client_rc = 1, .server_rc = -ENOKEY},
        {"server", "localhost", .client = "stranger", .clients = TD_TLS_MUST_PROVE, .client_rc = 1, .server_rc = -EKEYREJECTED},
        {"server", "localhost", .client = "stranger", .clients = TD_TLS_MAY_PROVE, .client_rc = 1, .server_rc = -EKEYREJECTED},
        {"server", "localhost", .client = "expired", .clients = TD_TLS_MUST_PROVE, .client_rc = 1, .server_rc = -EKEYEXPIRED},
    };

    for (size_t i = 0; i < COUNT(trials); i++)
        assert_int_equal(run(state, try_it, &trials[i]), 0);
}

static int agree_on(void *arg)
{
    td_tls_certificate both[2], own = certificate("client");
    td_tls *server, *client = client_tls((td_tls_client_opts){.alpn = "chat, http/1.1, h2", .certificate = &own});
    td_tls_info info;
    struct pair pair;
    int rc;

    both[0] = certificate("server");
    both[1] = certificate("second");
    server = server_tls(NULL, (td_tls_server_opts){.certificates = both, .certificate_count = 2, .alpn = "h2, http/1.1",
                        .clients = TD_TLS_MAY_PROVE, .client_ca = in_certificates("ca.crt")});
    if (!pair_open(&pair))
        return -EIO;
    expect_int(td_stream_tls_info(pair.far, &info), -ENOTCONN);
    expect_int(shake_hands(&pair, client, server, "second.example", &rc), 0);
    expect_int(td_stream_tls_info(pair.far, &info), 0);
    expect_int(info.version, 13);
    expect_text(info.alpn, "h2");
    expect_text(info.name, "second.example");
    expect_text(info.peer, "CN=ann,O=Example");
    expect(strncmp(info.cipher, "TLS_", 4) == 0);
    expect_int(td_stream_tls_info(pair.near, &info), 0);
    expect_text(info.peer, "CN=second.example");
    pair_close(&pair);
    td_tls_close(client);
    client = client_tls((td_tls_client_opts){.alpn = "gopher"});
    expect(pair_open(&pair));
    expect_int(shake_hands(&pair, client, server, "localhost", &rc), -EPROTO);
    expect_int(rc, -EPROTO);
    expect(strstr(td_tls_why(server), "ALPN") != NULL);
    pair_close(&pair);
    td_tls_close(client);
    td_tls_close(server);
    return 0;
}

static void names_protocols_and_peers_are_known(void **state)
{
    assert_int_equal(run(state, agree_on, NULL), 0);
}

/* One connection and a byte each way; whether it resumed a session. */
static bool resumes(td_tls *client, td_tls *server)
{
    struct pair pair;
    td_tls_info info = {0};
    char byte;

    if (!tls_pair_open(&pair, client, server))
        return false;
    expect_int(td_stream_write(pair.far, "x", 1), 1);
    expect_int(td_stream_read(pair.near, &byte, 1), 1);  /* the ticket comes before it */
    expect_int(td_stream_tls_info(pair.far, &info), 0);
    pair_close(&pair);
    return info.resumed;
}

static int come_back(void *arg)
{
    unsigned char secret[32] = "of all processes of one server";
    td_tls_server_opts shared = {.ticket_secret = secret, .ticket_period = td_sec(60)};
    td_tls *server = server_tls("server", (td_tls_server_opts){.ticket_period = td_sec(60)});
    td_tls *client = client_tls((td_tls_client_opts){0});
    td_tls *one = server_tls("server", shared), *two = server_tls("server", shared);
    td_tls *none = server_tls("server", (td_tls_server_opts){.ticket_period = -1});

    expect(!resumes(client, server));
    expect(resumes(client, server));
    expect(resumes(client, server));
    expect_int(td_sleep(td_sec(60)), 0);      /* the next key: the former one is accepted still */
    expect(resumes(client, server));
    expect_int(td_sleep(td_sec(121)), 0);     /* and now it is not */
    expect(!resumes(client, server));
    expect(!resumes(client, one));            /* another server's ticket */
    expect(resumes(client, two));             /* of one secret */
    expect_int(td_sleep(td_sec(60)), 0);
    expect(resumes(client, one));
    expect_int(td_sleep(td_sec(121)), 0);
    expect(!resumes(client, two));
    expect(!resumes(client, none));
    expect(!resumes(client, none));
    td_tls_close(server);
    td_tls_close(client);
    td_tls_close(one);
    td_tls_close(two);
    td_tls_close(none);
    return 0;
}

static void sessions_are_resumed_while_their_key_lives(void **state)
{
    assert_int_equal(run_with(state, (td_opts){.virtual_time = true}, come_back, NULL), 0);
}

static int renew(void *arg)
{
    td_tls *server = server_tls("server", (td_tls_server_opts){0}), *client = client_tls((td_tls_client_opts){0});
    td_tls_certificate second = certificate("second"), damaged = {in_certificates("second.crt"), in_certificates("server.key")};
    struct pair before, after;
    td_tls_info info;
    char text[8];
    int rc;

    if (!tls_pair_open(&before, client, server))
        return -EIO;
    expect_int(td_tls_reload(server, &damaged, 1), -EINVAL);  /* and nothing has changed: */
    expect(!resumes(client, server));
    expect_int(td_tls_reload(server, NULL, 0), 0);
    expect(resumes(client, server));
    expect_int(td_tls_reload(server, &second, 1), 0);
    expect(pair_open(&after));
    expect_int(shake_hands(&after, client, server, "second.example", &rc), 0);
    expect_int(td_stream_tls_info(after.near, &info), 0);
    expect_text(info.peer, "CN=second.example");
    expect_int(td_stream_write(before.near, "still", 5), 5);
    expect_int(td_stream_read(before.far, text, sizeof text), 5);
    td_tls_close(server);  /* streams go on */
    td_tls_close(client);
    expect_int(td_stream_write(before.far, "there", 5), 5);
    expect_int(td_stream_read(before.near, text, sizeof text), 5);
    pair_close(&before);
    pair_close(&after);
    return 0;
}

static void certificates_are_renewed_without_losing_a_connection(void **state)
{
    assert_int_equal(run(state, renew, NULL), 0);
}

static int bad_files(void *arg)
{
    const struct { const char *chain, *key; int rc; } cases[] = {
        {"none.crt", "server.key", -ENOENT}, {"server.crt", "none.key", -ENOENT}, {"server.key", "server.key", -EINVAL},
        {"server.crt", "server.crt", -EINVAL}, {"server.crt", "second.key", -EINVAL}, {"server.crt", "locked.key", -EINVAL},
        {".", "server.key", -EISDIR},
    };
    td_tls *tls = NULL;

    for (size_t i = 0; i < COUNT(cases); i++) {
        td_tls_certificate ours = {in_certificates(cases[i].chain), in_certificates(cases[i].key)};

        expect_int(td_tls_server(&tls, &(td_tls_server_opts){.certificates = &ours, .certificate_count = 1}), cases[i].rc);
    }
    expect_int(td_tls_server(&tls, NULL), -EINVAL);
    expect_int(td_tls_client(&tls, &(td_tls_client_opts){.ca = in_certificates("server.key")}), -EINVAL);
    expect_int(td_tls_client(&tls, &(td_tls_client_opts){.version_min = 11}), -EINVAL);
    expect_int(td_tls_client(&tls, &(td_tls_client_opts){.alpn = "a-name-of-more-than-thirty-one-bytes"}), -EINVAL);
    expect(tls == NULL);
    return 0;
}

static void a_file_that_does_not_fit_is_refused(void **state)
{
    assert_int_equal(run(state, bad_files, NULL), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        ON_BOTH(servers_are_judged),
        ON_BOTH(clients_are_judged),
        ON_BOTH(names_protocols_and_peers_are_known),
        ON_BOTH(sessions_are_resumed_while_their_key_lives),
        ON_BOTH(certificates_are_renewed_without_losing_a_connection),
        ON_BOTH(a_file_that_does_not_fit_is_refused),
    };

    certificates = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
