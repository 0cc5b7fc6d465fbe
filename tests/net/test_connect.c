/* SPDX-License-Identifier: MIT */
/* Listening, accepting, connecting. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "net/pair.h"

#define MANY 200

static int listen_on_any_port(void *arg)
{
    td_listener *listener;

    expect_int(td_listen(&listener, "127.0.0.1:0", NULL), 0);
    expect(strncmp(td_listener_address(listener), "127.0.0.1:", 10) == 0);
    expect(strtol(td_listener_address(listener) + 10, NULL, 10) > 0);
    td_listener_close(listener);
    return 0;
}

static void a_listener_knows_its_real_port(void **state)
{
    assert_int_equal(run(state, listen_on_any_port, NULL), 0);
}

static int listen_twice(void *arg)
{
    td_listener *first, *second = NULL, *shared;
    char address[TD_ADDRESS_MAX];
    int descriptors;

    expect_int(td_listen(&first, "127.0.0.1:0", NULL), 0);
    descriptors = descriptors_count();
    expect_int(td_listen(&second, td_listener_address(first), NULL), -EADDRINUSE);
    expect(second == NULL);
    expect_int(descriptors_count(), descriptors);
    snprintf(address, sizeof address, "%s", td_listener_address(first));
    td_listener_close(first);
    expect_int(td_listen(&first, address, &(td_listen_opts){.share_port = 1}), 0);
    expect_int(td_listen(&shared, address, &(td_listen_opts){.share_port = 1, .backlog = 5}), 0);
    td_listener_close(first);
    td_listener_close(shared);
    return 0;
}

static void a_port_is_taken_once_unless_it_is_shared(void **state)
{
    assert_int_equal(run(state, listen_twice, NULL), 0);
}

static int connect_to_nobody(void *arg)
{
    td_listener *listener;
    td_stream *stream = NULL;
    char address[TD_ADDRESS_MAX];
    int descriptors = descriptors_count();

    expect_int(td_listen(&listener, "127.0.0.1:0", NULL), 0);
    snprintf(address, sizeof address, "%s", td_listener_address(listener));
    td_listener_close(listener);
    for (int i = 0; i < 10; i++)
        expect_int(td_connect(&stream, address), -ECONNREFUSED);
    expect_int(descriptors_count(), descriptors);
    *(td_stream **)arg = stream;
    return 0;
}

static void where_nobody_listens_a_connection_is_refused(void **state)
{
    td_stream *stream;

    assert_int_equal(run(state, connect_to_nobody, &stream), 0);
}

/* Law 8. Whoever closes what is not NULL must not close it twice. */
static void a_refused_connection_gives_no_stream(void **state)
{
    td_stream *stream;

    assert_int_equal(run(state, connect_to_nobody, &stream), 0);
    assert_null(stream);
}

static int accept_one(void *arg)
{
    struct pair *pair = arg;

    return td_accept(pair->listener, &pair->far);
}

static int accept_later(void *arg)
{
    struct pair pair = {.far = NULL};
    td_scope scope;
    char byte = 0;

    expect_int(td_listen(&pair.listener, "[::1]:0", NULL), 0);
    td_scope_open(&scope);
    td_spawn(&scope, accept_one, &pair);
    settle();
    expect(pair.far == NULL);
    expect_int(td_connect(&pair.near, td_listener_address(pair.listener)), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(td_stream_write(pair.near, "x", 1), 1);
    expect_int(td_stream_read(pair.far, &byte, 1), 1);
    expect_int(byte, 'x');
    pair_close(&pair);
    return 0;
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;

    if (fd >= 0)
        close(fd);
    return has;
}

static void an_accept_waits_for_its_connection(void **state)
{
    if (!has_ipv6())
        skip();
    assert_int_equal(run(state, accept_later, NULL), 0);
}

struct server {
    td_listener *listener;
    td_scope *scope;
    int connected, echoed;
};

struct conversation {
    td_stream *stream;
    struct server *server;
};

static int echo(void *arg)
{
    td_stream *stream = arg;
    char bytes[64];
    ssize_t n;

    while ((n = td_stream_read(stream, bytes, sizeof bytes)) > 0)
        if (td_stream_write(stream, bytes, (size_t)n) != n)
            break;
    td_stream_close(stream);
    return (int)n;
}

static int accept_many(void *arg)
{
    struct server *server = arg;
    td_stream *stream;
    int rc;

    while ((rc = td_accept(server->listener, &stream)) == 0)
        td_spawn(server->scope, echo, stream);
    return rc == -ECANCELED ? 0 : rc;
}

static int talk(void *arg)
{
    struct server *server = arg;
    td_stream *stream;
    char sent[20], got[20] = "";
    int number = server->connected++, rc = td_connect(&stream, td_listener_address(server->listener));
    size_t size = (size_t)snprintf(sent, sizeof sent, "I am %d", number), at = 0;

    if (!expect_int(rc, 0))
        return rc;
    for (int round = 0; round < 3; round++, at = 0) {
        expect_int(td_stream_write(stream, sent, size), (ssize_t)size);
        while (at < size) {
            ssize_t n = td_stream_read(stream, got + at, size - at);

            if (!expect(n > 0))
                break;
            at += (size_t)n;
        }
        expect_text(got, sent);
    }
    server->echoed++;
    td_stream_close(stream);
    return 0;
}

static int talk_to_many(void *arg)
{
    td_scope server_scope, clients;
    struct server server = {.scope = &server_scope};
    int descriptors = descriptors_count();

    expect_int(td_listen(&server.listener, "127.0.0.1:0", NULL), 0);
    td_scope_open(&server_scope);
    td_spawn(&server_scope, accept_many, &server);
    td_scope_open(&clients);
    for (int i = 0; i < MANY; i++)
        td_spawn(&clients, talk, &server);
    expect_int(td_scope_join(&clients), 0);
    expect_int(server.echoed, MANY);
    td_scope_cancel(&server_scope);
    td_scope_join(&server_scope);
    td_listener_close(server.listener);
    expect_int(descriptors_count(), descriptors);
    return 0;
}

static void many_connections_at_once(void **state)
{
    assert_int_equal(run(state, talk_to_many, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_listener_knows_its_real_port), ON_BOTH(a_port_is_taken_once_unless_it_is_shared),
        ON_BOTH(where_nobody_listens_a_connection_is_refused), ON_BOTH(a_refused_connection_gives_no_stream),
        ON_BOTH(an_accept_waits_for_its_connection),
        ON_BOTH(many_connections_at_once),
    };

    return cmocka_run_group_tests_name("net connect", tests, NULL, NULL);
}
