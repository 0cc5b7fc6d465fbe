/* SPDX-License-Identifier: MIT */
/* What strangers send, and how much of it a server bears: it says no in words, and keeps nothing. */
#include <openssl/err.h>

#include "net/tls.h"
#include "net/tls_pair.h"

const char *certificates;

struct garbage {
    const char *bytes;
    size_t size;
    int rc;
    const char *why;
};

static int send_garbage(void *arg)
{
    const struct garbage *garbage = arg;
    td_tls *server = server_tls("server", (td_tls_server_opts){.handshake_timeout = td_ms(100)});
    struct accepting accepting = {.tls = server};
    struct pair pair;
    td_scope scope;
    td_tls_stats stats;

    if (!pair_open(&pair))
        return -EIO;
    accepting.stream = &pair.far;
    td_scope_open(&scope);
    td_spawn(&scope, accept_tls, &accepting);
    expect_int(td_stream_write(pair.near, garbage->bytes, garbage->size), (long long)garbage->size);
    expect_int(td_scope_join(&scope), 0);
    expect_int(accepting.rc, garbage->rc);
    if (!strstr(td_tls_why(server), garbage->why))
        expect_text(td_tls_why(server), garbage->why);
    td_tls_statistics(server, &stats);
    expect_int((long long)stats.failed, 1);
    expect_int((long long)(stats.running + stats.waiting), 0);
    expect_int((long long)ERR_peek_error(), 0);
    pair_close(&pair);
    td_tls_close(server);
    return 0;
}

static void what_is_no_handshake_is_refused(void **state)
{
    /* A hello of TLS 1.1: version 3.2, no extension that says more. */
    static const char old[] = "\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x02"
                              "0123456789abcdef0123456789abcdef\x00\x00\x04\x00\x2f\x00\xff\x01\x00";
    struct garbage cases[] = {
        {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35, -EPROTO, "https://"},
        {"SSH-2.0-OpenSSH_9.2\r\n", 21, -EPROTO, "no TLS"},
        {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16, -EPROTO, ""},
        {old, sizeof old - 1, -EPROTO, "too old"},
        {"\x16\x03\x01\xff\xff\x01", 6, -EPROTO, ""},
        {"\x15\x03\x01\x00\x02\x02\x28", 7, -EPROTO, ""},
        {"\x16\x03\x01", 3, -ETIMEDOUT, "too long"},
    };

    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(run(state, send_garbage, &cases[i]), 0);
}

/* Carries bytes from one stream to another, until the far end or so many; then breaks both. */
struct wire {
    td_stream *from, *to;
    size_t left;
};

static int carry(void *arg)
{
    struct wire *wire = arg;
    char bytes[512];
    ssize_t n;

    while (wire->left > 0 && (n = td_stream_read(wire->from, bytes, wire->left < sizeof bytes ? wire->left : sizeof bytes)) > 0) {
        wire->left -= (size_t)n;
        if (td_stream_write(wire->to, bytes, (size_t)n) < 0)
            break;
    }
    stream_break(wire->from);
    stream_break(wire->to);
    return 0;
}

struct cut {
    td_tls *server, *client;
    size_t at;
    bool to_server;
};

/* A handshake through a wire that breaks at a byte of one direction. */
static void shake_until(struct cut *cut, int *client_rc, int *server_rc)
{
    struct pair a, b;
    struct accepting accepting;
    struct wire wires[2];
    td_scope scope;

    if (!pair_open(&a) || !pair_open(&b))
        return;
    accepting = (struct accepting){&b.far, cut->server, 1};
    wires[0] = (struct wire){a.far, b.near, cut->to_server ? cut->at : SIZE_MAX};
    wires[1] = (struct wire){b.near, a.far, cut->to_server ? SIZE_MAX : cut->at};
    td_scope_open(&scope);
    td_spawn(&scope, accept_tls, &accepting);
    td_spawn(&scope, carry, &wires[0]);
    td_spawn(&scope, carry, &wires[1]);
    *client_rc = td_stream_tls_connect(&a.near, cut->client, "localhost");
    if (*client_rc < 0)
        stream_break(a.near);
    else
        expect_int(td_stream_end(a.near), 0);
    expect_int(td_scope_join(&scope), 0);
    *server_rc = accepting.rc;
    pair_close(&a);
    pair_close(&b);
}

static int cut_everywhere(void *arg)
{
    struct cut cut = {.client = client_tls((td_tls_client_opts){0})};
    td_tls_stats stats;
    int client_rc = 1, server_rc = 1, survived = 0;

    cut.server = server_tls("server", (td_tls_server_opts){.ticket_period = -1});
    for (int way = 0; way < 2; way++) {
        cut.to_server = way == 0;
        for (cut.at = 0; cut.at < 2000; cut.at += SANITIZED ? 37 : cut.at < 700 ? 1 : 7) {
            shake_until(&cut, &client_rc, &server_rc);
            expect(client_rc == 0 || client_rc == -ECONNRESET || client_rc == -EPIPE);
            expect(server_rc == 0 || server_rc == -ECONNRESET || server_rc == -EPIPE);
            survived += client_rc == 0 && server_rc == 0;
            if (client_rc == 0 && server_rc == 0)
                break;
        }
    }
    expect(survived > 0);
    td_tls_statistics(cut.server, &stats);
    expect_int((long long)(stats.running + stats.waiting), 0);
    expect_int((long long)ERR_peek_error(), 0);
    td_tls_close(cut.server);
    td_tls_close(cut.client);
    return 0;
}

static void a_handshake_may_break_at_each_byte(void **state)
{
    assert_int_equal(run(state, cut_everywhere, NULL), 0);
}

#define CROWD 40

struct guest {
    struct pair pair;
    td_tls *client, *server;
    int rc, server_rc;
};

static int visit(void *arg)
{
    struct guest *guest = arg;

    guest->rc = shake_hands(&guest->pair, guest->client, guest->server, "second.example", &guest->server_rc);
    return 0;
}

/* So many come at once. Returns how many the server refused because others wait. */
static int crowd(td_tls *server, td_tls_stats *most)
{
    td_tls *client = client_tls((td_tls_client_opts){0});
    struct guest *guests = calloc(CROWD, sizeof *guests);
    td_scope scope;
    int refused = 0;

    if (!guests)
        return -ENOMEM;
    *most = (td_tls_stats){0};
    for (int i = 0; i < CROWD; i++) {
        guests[i].client = client;
        guests[i].server = server;
        if (!pair_open(&guests[i].pair))
            return -EIO;
    }
    td_scope_open(&scope);
    for (int i = 0; i < CROWD; i++)
        td_spawn(&scope, visit, &guests[i]);
    for (;;) {
        td_tls_stats stats;

        td_tls_statistics(server, &stats);
        most->running = stats.running > most->running ? stats.running : most->running;
        most->waiting = stats.waiting > most->waiting ? stats.waiting : most->waiting;
        if (stats.done + stats.failed >= CROWD)
            break;
        expect_int(td_yield(), 0);
    }
    expect_int(td_scope_join(&scope), 0);
    for (int i = 0; i < CROWD; i++) {
        refused += guests[i].server_rc == -EBUSY;
        if (guests[i].server_rc != -EBUSY)
            expect_int(guests[i].server_rc, 0);
        pair_close(&guests[i].pair);
    }
    free(guests);
    td_tls_close(client);
    return refused;
}

static int come_all_at_once(void *arg)
{
    td_tls *server = server_tls("second", (td_tls_server_opts){.handshakes_per_turn = 2, .handshakes_max = 6});
    td_tls_stats most;

    expect_int(crowd(server, &most), 0);
    expect(most.running <= 6);
    expect(most.waiting > 0);
    td_tls_close(server);
    server = server_tls("second", (td_tls_server_opts){.handshakes_per_turn = 1, .handshakes_max = 2,
                        .handshakes_waiting_max = 3});
    expect(crowd(server, &most) > 0);
    expect(most.running <= 2);
    expect(most.waiting <= 3);
    td_tls_close(server);
    return 0;
}

/* Law 4: handshakes have a queue with an end. */
static void handshakes_take_turns_and_their_line_is_bounded(void **state)
{
    assert_int_equal(run(state, come_all_at_once, NULL), 0);
}

static int flood(void *arg)
{
    td_tls *server = server_tls("server", (td_tls_server_opts){0}), *client = client_tls((td_tls_client_opts){0});
    struct pair pair;
    struct tls_stream *near;
    char byte;
    int rc = 1;

    if (!tls_pair_open(&pair, client, server))
        return -EIO;
    near = container_of(pair.near, struct tls_stream, base);
    for (int i = 0; i < 1000; i++) {
        SSL_key_update(near->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
        expect_int(SSL_do_handshake(near->ssl), 1);
    }
    rc = (int)td_stream_read(pair.far, &byte, 1);
    expect_int(rc, -EPROTO);
    pair_close(&pair);
    td_tls_close(server);
    td_tls_close(client);
    return 0;
}

/* Each costs a derivation of keys, and the peer next to nothing. */
static void a_flood_of_key_updates_ends_the_connection(void **state)
{
    assert_int_equal(run(state, flood, NULL), 0);
}

static int update_now_and_then(void *arg)
{
    td_tls *server = server_tls("server", (td_tls_server_opts){0}), *client = client_tls((td_tls_client_opts){0});
    struct pair pair;
    struct tls_stream *near;
    char byte;

    if (!tls_pair_open(&pair, client, server))
        return -EIO;
    near = container_of(pair.near, struct tls_stream, base);
    for (int i = 0; i < 20; i++) {
        SSL_key_update(near->ssl, SSL_KEY_UPDATE_REQUESTED);
        expect_int(td_stream_write(pair.near, "x", 1), 1);
        expect_int(td_stream_read(pair.far, &byte, 1), 1);
        expect_int(td_stream_write(pair.far, "y", 1), 1);
        expect_int(td_stream_read(pair.near, &byte, 1), 1);
    }
    pair_close(&pair);
    td_tls_close(server);
    td_tls_close(client);
    return 0;
}

static void keys_may_be_updated(void **state)
{
    assert_int_equal(run(state, update_now_and_then, NULL), 0);
}

static int damage(void *arg)
{
    td_tls *server = server_tls("server", (td_tls_server_opts){0}), *client = client_tls((td_tls_client_opts){0});
    struct pair pair;
    td_stream *lower;
    char byte;
    static const char record[] = "\x17\x03\x03\x00\x20" "forged, so its tag cannot be right";

    if (!tls_pair_open(&pair, client, server))
        return -EIO;
    lower = container_of(pair.near, struct tls_stream, base)->lower;
    expect_int(td_stream_write(lower, record, 37), 37);
    expect_int(td_stream_read(pair.far, &byte, 1), -EPROTO);
    (void)td_stream_write(pair.far, "x", 1);
    expect_int(td_stream_write(pair.far, "x", 1), -EPROTO);  /* sticky */
    expect_int((long long)ERR_peek_error(), 0);
    pair_close(&pair);
    td_tls_close(server);
    td_tls_close(client);
    return 0;
}

static void a_forged_record_ends_the_connection(void **state)
{
    assert_int_equal(run(state, damage, NULL), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        ON_BOTH(what_is_no_handshake_is_refused),
        ON_BOTH(a_handshake_may_break_at_each_byte),
        ON_BOTH(handshakes_take_turns_and_their_line_is_bounded),
        ON_BOTH(a_flood_of_key_updates_ends_the_connection),
        ON_BOTH(keys_may_be_updated),
        ON_BOTH(a_forged_record_ends_the_connection),
    };

    certificates = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
