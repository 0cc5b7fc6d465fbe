/* SPDX-License-Identifier: MIT */
/* Datagrams over UDP and Unix sockets. */
#include <sys/stat.h>

#include "run/harness.h"

static td_datagram *bound(const char *address)
{
    td_datagram *socket = NULL;

    expect_int(td_datagram_open(&socket, &(td_datagram_opts){.bind = address}), 0);
    return socket;
}

static td_datagram *connected(const char *address)
{
    td_datagram *socket = NULL;

    expect_int(td_datagram_open(&socket, &(td_datagram_opts){.connect = address}), 0);
    return socket;
}

static void exchange(const char *first, const char *second)
{
    td_datagram *a = bound(first), *b = bound(second);
    td_address from;
    char data[20] = "";

    expect_int(td_datagram_send(a, "hello", 5, td_datagram_address(b)), 5);
    expect_int(td_datagram_receive(b, data, sizeof data, &from), 5);
    expect(memcmp(data, "hello", 5) == 0);
    expect_text(from.text, td_datagram_address(a));
    expect_int(td_datagram_send(b, "", 0, from.text), 0);
    expect_int(td_datagram_receive(a, data, sizeof data, &from), 0);  /* an empty one is one */
    expect_text(from.text, td_datagram_address(b));
    td_datagram_close(a);
    td_datagram_close(b);
}

static int exchange_body(void *arg)
{
    char folder[] = "/tmp/tandem-datagram-XXXXXX", first[60], second[60];

    exchange("127.0.0.1:0", "127.0.0.1:0");
    exchange("unix:@tandem datagram a", "unix:@tandem datagram b");
    expect(mkdtemp(folder) != NULL);
    snprintf(first, sizeof first, "unix:%s/a", folder);
    snprintf(second, sizeof second, "unix:%s/b", folder);
    exchange(first, second);
    exchange(first, second);
    expect_int(rmdir(folder), 0);  /* the sockets' files are gone */
    return 0;
}

static void they_go_there_and_back(void **state)
{
    assert_int_equal(run(state, exchange_body, NULL), 0);
}

static int cut_body(void *arg)
{
    td_datagram *in = bound("127.0.0.1:0"), *out = connected(td_datagram_address(in));
    char data[6] = "------";

    expect_int(td_datagram_send(out, "0123456789", 10, NULL), 10);
    expect_int(td_datagram_send(out, "abc", 3, NULL), 3);
    expect_int(td_datagram_receive(in, data, 4, NULL), 10);
    expect(memcmp(data, "0123--", 6) == 0);
    expect_int(td_datagram_receive(in, data, 4, NULL), 3);  /* the rest of the first is gone */
    expect(memcmp(data, "abc3--", 6) == 0);
    td_datagram_close(in);
    td_datagram_close(out);
    return 0;
}

static void what_was_cut_tells_how_long_it_was(void **state)
{
    assert_int_equal(run(state, cut_body, NULL), 0);
}

static int refusals_body(void *arg)
{
    static char large[70000];
    td_datagram *socket = NULL, *other;
    char data[10];

    expect_int(td_datagram_open(&socket, &(td_datagram_opts){0}), -EINVAL);
    expect_int(td_datagram_open(&socket, &(td_datagram_opts){.bind = "nonsense"}), -EINVAL);
    expect_int(td_datagram_open(&socket, &(td_datagram_opts){.bind = "127.0.0.1:0", .connect = "unix:@a"}), -EINVAL);
    expect_int(td_datagram_open(&socket, &(td_datagram_opts){.connect = "unix:@nobody is behind this"}), -ECONNREFUSED);
    expect(socket == NULL);
    socket = bound("127.0.0.1:0");
    expect_int(td_datagram_open(&other, &(td_datagram_opts){.bind = td_datagram_address(socket)}), -EADDRINUSE);
    expect_int(td_datagram_send(socket, "x", 1, NULL), -EDESTADDRREQ);
    expect_int(td_datagram_send(socket, "x", 1, "nonsense"), -EINVAL);
    expect_int(td_datagram_send(socket, large, sizeof large, td_datagram_address(socket)), -EMSGSIZE);
    other = connected(td_datagram_address(socket));
    td_datagram_close(socket);
    expect_int(td_datagram_send(other, "x", 1, NULL), 1);
    expect_int(td_datagram_receive(other, data, sizeof data, NULL), -ECONNREFUSED);
    td_datagram_close(other);
    return 0;
}

static void refusals_are_values(void **state)
{
    assert_int_equal(run(state, refusals_body, NULL), 0);
}

static int stranger_body(void *arg)
{
    td_datagram *server = bound("127.0.0.1:0"), *client = connected(td_datagram_address(server)), *stranger;
    td_address from;
    char data[10];

    stranger = bound("127.0.0.1:0");
    expect_int(td_datagram_send(stranger, "bad", 3, td_datagram_address(client)), 3);
    expect_int(td_datagram_send(server, "good", 4, td_datagram_address(client)), 4);
    expect_int(td_datagram_receive(client, data, sizeof data, &from), 4);
    expect_text(from.text, td_datagram_address(server));
    td_datagram_close(server);
    td_datagram_close(client);
    td_datagram_close(stranger);
    return 0;
}

static void a_connected_socket_hears_its_peer_alone(void **state)
{
    assert_int_equal(run(state, stranger_body, NULL), 0);
}

struct waiting {
    td_datagram *socket;
    ssize_t got;
};

static int receive_one(void *arg)
{
    struct waiting *waiting = arg;
    char data[10];

    waiting->got = td_datagram_receive(waiting->socket, data, sizeof data, NULL);
    return 0;
}

static int cancel_body(void *arg)
{
    struct waiting waiting = {.socket = bound("127.0.0.1:0")};
    td_scope scope;
    char data[10];

    td_scope_open(&scope);
    td_spawn(&scope, receive_one, &waiting);
    settle();
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    expect_int(waiting.got, -ECANCELED);
    expect_int(td_datagram_send(waiting.socket, "abc", 3, td_datagram_address(waiting.socket)), 3);
    expect_int(td_datagram_receive(waiting.socket, data, sizeof data, NULL), 3);
    td_datagram_close(waiting.socket);
    return 0;
}

/* Law 3. */
static void a_cancelled_receive_takes_none(void **state)
{
    assert_int_equal(run(state, cancel_body, NULL), 0);
}

static int select_body(void *arg)
{
    td_datagram *a = bound("127.0.0.1:0"), *b = bound("127.0.0.1:0");
    td_case cases[] = {td_on_datagram(a), td_on_datagram(b)};
    char data[10];
    size_t which = 9;

    expect_int(td_datagram_send(a, "x", 1, td_datagram_address(b)), 1);
    expect_int(td_select(cases, 2, &which), 0);
    expect_int((long long)which, 1);
    expect_int(td_datagram_receive(b, data, sizeof data, NULL), 1);
    td_datagram_close(a);
    td_datagram_close(b);
    return 0;
}

static void a_select_waits_for_one(void **state)
{
    assert_int_equal(run(state, select_body, NULL), 0);
}

#define FLOOD 2000

struct pipe_of_datagrams {
    td_datagram *out;
    const char *to;
    int sent;
};

static int send_many(void *arg)
{
    struct pipe_of_datagrams *pipe = arg;

    while (pipe->sent < FLOOD && td_datagram_send(pipe->out, &pipe->sent, sizeof pipe->sent, pipe->to) == sizeof pipe->sent)
        pipe->sent++;
    return 0;
}

static int full_body(void *arg)
{
    td_datagram *in = bound("unix:@tandem datagram in"), *out = bound("unix:@tandem datagram out");
    struct pipe_of_datagrams pipe = {.out = out, .to = td_datagram_address(in)};
    td_scope scope;
    int number;

    td_scope_open(&scope);
    td_spawn(&scope, send_many, &pipe);
    settle();
    expect(pipe.sent < FLOOD);
    for (int i = 0; i < FLOOD; i++) {
        expect_int(td_datagram_receive(in, &number, sizeof number, NULL), sizeof number);
        expect_int(number, i);
    }
    expect_int(td_scope_join(&scope), 0);
    td_datagram_close(in);
    td_datagram_close(out);
    return 0;
}

/* Law 4. Between Unix sockets nothing is lost: who sends waits for who receives. */
static void a_full_receiver_makes_its_sender_wait(void **state)
{
    assert_int_equal(run(state, full_body, NULL), 0);
}

static int simulated_body(void *arg)
{
    td_datagram *socket;

    expect_int(td_datagram_open(&socket, &(td_datagram_opts){.bind = "127.0.0.1:0"}), -EOPNOTSUPP);
    return 0;
}

static void a_simulation_has_none(void **state)
{
    assert_int_equal(run(state, simulated_body, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(they_go_there_and_back), ON_BOTH(what_was_cut_tells_how_long_it_was), ON_BOTH(refusals_are_values),
        ON_BOTH(a_connected_socket_hears_its_peer_alone), ON_BOTH(a_cancelled_receive_takes_none),
        ON_BOTH(a_select_waits_for_one), ON_BOTH(a_full_receiver_makes_its_sender_wait),
        ON(TD_BACKEND_SIM, "sim: ", a_simulation_has_none),
    };

    return cmocka_run_group_tests_name("net datagram", tests, NULL, NULL);
}
