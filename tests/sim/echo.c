/* SPDX-License-Identifier: MIT */
/*
 * A server that echoes and clients that know what they sent. Law 3 on streams: what comes back is what was sent, from
 * its beginning, and all of it unless a connection broke.
 */
#include "sim/scenario.h"

#define CLIENTS_MAX 6
#define BYTES_MAX 20000
#define PIECE_MAX 3000

struct echo {
    struct world *world;
    td_listener *listener;
    td_scope *server;
    bool harsh;
};

struct client {
    struct echo *echo;
    td_stream *stream;
    size_t size, sent;
    uint64_t id;
    bool broken;
};

struct guest {
    struct echo *echo;
    td_stream *stream;
};

static int serve_guest(void *arg)
{
    struct guest *guest = arg;
    unsigned char bytes[PIECE_MAX];
    ssize_t n, written;

    while ((n = td_stream_read(guest->stream, bytes, 1 + pick(sizeof bytes))) > 0) {
        written = td_stream_write(guest->stream, bytes, (size_t)n);
        if (written < n)
            break;
    }
    must(guest->echo->world, n >= 0 || n == -ECANCELED || (guest->echo->harsh && is_network_error(n)),
         "the server's read answered %zd", n);
    td_stream_close(guest->stream);
    free(guest);
    return 0;
}

static int serve(void *arg)
{
    struct echo *echo = arg;
    td_stream *stream;
    td_scope scope;
    int rc;

    td_scope_open(&scope);
    while ((rc = td_accept(echo->listener, &stream)) != -ECANCELED) {
        struct guest *guest;

        if (rc < 0) {  /* short of something: the next one may be luckier */
            must(echo->world, echo->harsh && is_network_error(rc), "td_accept answered %d", rc);
            td_sleep(td_ms(1));
            continue;
        }
        guest = malloc(sizeof *guest);
        if (!guest || td_spawn(&scope, serve_guest, guest) < 0) {
            free(guest);
            td_stream_close(stream);
            continue;
        }
        *guest = (struct guest){echo, stream};
    }
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    return 0;
}

static int send_all(void *arg)
{
    struct client *client = arg;
    unsigned char bytes[PIECE_MAX];
    ssize_t n = 0;

    while (client->sent < client->size) {
        size_t size = 1 + pick(sizeof bytes);

        size = size < client->size - client->sent ? size : client->size - client->sent;
        fill(bytes, size, client->id, client->sent);
        n = td_stream_write(client->stream, bytes, size);
        client->sent += n > 0 ? (size_t)n : 0;
        if (n < (ssize_t)size)
            break;
        if (one_in(3))
            td_sleep(td_us((int64_t)pick(5000)));
    }
    if (client->sent < client->size)
        client->broken = must(client->echo->world, client->echo->harsh, "a write was cut short: %zd", n);
    td_stream_end(client->stream);  /* when broken, too: the server may not know yet, and it is waiting for more */
    return 0;
}

static void read_all(struct client *client)
{
    struct world *world = client->echo->world;
    unsigned char bytes[PIECE_MAX];
    size_t got = 0;
    ssize_t n;

    while ((n = td_stream_read(client->stream, bytes, 1 + pick(sizeof bytes))) > 0) {
        must(world, agrees(bytes, (size_t)n, client->id, got) == (size_t)n, "wrong byte after %zu of %zu", got, client->size);
        got += (size_t)n;
        must(world, got <= client->sent || client->sent < client->size, "%zu came back of %zu", got, client->sent);
    }
    if (n < 0)
        must(world, client->echo->harsh && is_network_error(n), "a read answered %zd", n);
    else
        must(world, got == client->size || client->echo->harsh, "%zu came back of %zu", got, client->size);
}

static int be_client(void *arg)
{
    struct client *client = arg;
    td_scope scope;
    int rc;

    td_sleep(td_us((int64_t)pick(20000)));
    rc = td_connect(&client->stream, td_listener_address(client->echo->listener));
    if (rc < 0) {
        must(client->echo->world, client->echo->harsh && is_network_error(rc), "td_connect answered %d", rc);
        return 0;
    }
    td_scope_open(&scope);
    rc = td_spawn(&scope, send_all, client);
    if (rc == 0)
        read_all(client);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    td_stream_close(client->stream);
    return 0;
}

/* Cuts the way to the server for a while that TCP outlasts: bytes come late, and all of them. */
static int cut_and_mend(void *arg)
{
    struct world *world = arg;

    td_sleep(td_us((int64_t)pick(30000)));
    must(world, td_sim_partition("10.0.0.1", NULL, true) == 0, "no cut");
    td_sleep(td_ms((int64_t)pick(60000)));
    must(world, td_sim_partition("10.0.0.1", NULL, false) == 0, "no mending");
    return 0;
}

static int run(void *arg)
{
    struct echo echo = {.world = arg};
    struct client clients[CLIENTS_MAX];
    size_t count = 1 + pick(CLIENTS_MAX);
    td_scope server, scope;
    int rc = td_listen(&echo.listener, "10.0.0.1:7", NULL);

    if (!must(echo.world, rc == 0, "td_listen answered %d", rc))
        return 0;
    echo.harsh = draw_faults();
    td_scope_open(&server);
    td_spawn(&server, serve, &echo);
    td_scope_open(&scope);
    for (size_t i = 0; i < count; i++) {
        clients[i] = (struct client){.echo = &echo, .id = td_random(), .size = 1 + pick(BYTES_MAX)};
        td_spawn(&scope, be_client, &clients[i]);
    }
    if (one_in(4))
        td_spawn(&scope, cut_and_mend, echo.world);
    rc = td_scope_join(&scope);
    must(echo.world, rc == 0, "the clients' scope answered %d", rc);
    td_scope_cancel(&server);
    td_scope_join(&server);
    td_listener_close(echo.listener);
    return 0;
}

const struct scenario scenario_echo = {"echo", run};
