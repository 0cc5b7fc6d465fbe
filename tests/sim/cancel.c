/* SPDX-License-Identifier: MIT */
/*
 * Law 3 where it hurts: both ends of a stream work under deadlines that strike at any point, and go on where they were.
 * A cancelled read took no byte; a cancelled write says how many left. So in the end all is there, once.
 */
#include "sim/scenario.h"

#define BYTES_MAX 8000
#define PIECE_MAX 700

struct talk {
    struct world *world;
    td_stream *stream;
    size_t size;
    uint64_t id;
};

static td_time patience(void)
{
    return td_us((int64_t)pick(1 + ((size_t)1 << pick(14))));
}

/* One read or write under a deadline of its own. */
static ssize_t move_some(td_stream *stream, unsigned char *bytes, size_t size, bool out)
{
    td_scope scope;
    ssize_t n;
    int joined;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(patience()));
    n = out ? td_stream_write(stream, bytes, size) : td_stream_read(stream, bytes, size);
    joined = td_scope_join(&scope);
    return n == -ECANCELED && joined == -ETIMEDOUT ? -EAGAIN : n;
}

static int talk(void *arg)
{
    struct talk *talk = arg;
    unsigned char bytes[PIECE_MAX];
    size_t sent = 0;
    ssize_t n;

    while (sent < talk->size) {
        size_t size = 1 + pick(sizeof bytes);

        size = size < talk->size - sent ? size : talk->size - sent;
        fill(bytes, size, talk->id, sent);
        n = move_some(talk->stream, bytes, size, true);
        sent += n > 0 ? (size_t)n : 0;
        if (!must(talk->world, n >= 0 || n == -EAGAIN, "a write answered %zd", n))
            return 0;
    }
    td_stream_end(talk->stream);
    return 0;
}

static int listen_to(struct talk *talk)
{
    unsigned char bytes[PIECE_MAX];
    size_t got = 0;
    ssize_t n = 1;

    while (n != 0) {
        n = move_some(talk->stream, bytes, 1 + pick(sizeof bytes), false);
        if (n > 0) {
            must(talk->world, agrees(bytes, (size_t)n, talk->id, got) == (size_t)n, "wrong byte after %zu", got);
            got += (size_t)n;
        }
        if (!must(talk->world, n >= 0 || n == -EAGAIN, "a read answered %zd", n))
            return 0;
    }
    must(talk->world, got == talk->size, "%zu came of %zu", got, talk->size);
    return 0;
}

static int hear(void *arg)
{
    return listen_to(arg);
}

/* Connects and accepts under deadlines, too: a connection may be made and given up, so the accepted one must be ours. */
static bool connect_both(struct world *world, td_listener *listener, td_stream **out, td_stream **in)
{
    int rc = td_connect(out, td_listener_address(listener));

    if (!must(world, rc == 0, "td_connect answered %d", rc))
        return false;
    do {
        td_scope scope;

        td_scope_open(&scope);
        td_scope_deadline(&scope, td_after(patience()));
        rc = td_accept(listener, in);
        td_scope_join(&scope);
    } while (rc == -ECANCELED);
    if (must(world, rc == 0, "td_accept answered %d", rc))
        return true;
    td_stream_close(*out);
    return false;
}

static int give_up_connecting(void *arg)
{
    td_listener *listener = arg;
    td_stream *stream;
    td_scope scope;

    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(patience()));
    if (td_connect(&stream, td_listener_address(listener)) == 0)
        td_stream_close(stream);
    td_scope_join(&scope);
    return 0;
}

static int run(void *arg)
{
    struct world *world = arg;
    td_sim_fault_opts opts = {.delay_max = td_us(1) << pick(12), .interrupted = one_in(2) ? 0.1 : 0,
                              .slow_peer = one_in(4) ? 0.5 : 0, .straggler = one_in(3) ? 0.01 : 0};
    struct talk there = {.world = world, .size = 1 + pick(BYTES_MAX), .id = 1}, back = there;
    td_listener *listener, *other;
    struct talk heard_there, heard_back;
    td_stream *out, *in;
    td_scope scope;
    int rc = td_listen(&listener, "10.0.0.1:1000", NULL);

    if (!must(world, rc == 0 && td_listen(&other, "10.0.0.1:0", NULL) == 0, "td_listen answered %d", rc))
        return 0;
    td_sim_faults(&opts);
    td_scope_open(&scope);
    for (size_t i = pick(4); i > 0; i--)
        td_spawn(&scope, give_up_connecting, other);
    if (connect_both(world, listener, &out, &in)) {
        there.stream = out;
        back.stream = in;
        back.id = 2;
        heard_there = there;
        heard_there.stream = in;
        heard_back = back;
        heard_back.stream = out;
        td_spawn(&scope, talk, &there);
        td_spawn(&scope, talk, &back);
        td_spawn(&scope, hear, &heard_there);
        td_spawn(&scope, hear, &heard_back);
        rc = td_scope_join(&scope);
        must(world, rc == 0, "the scope answered %d", rc);
        td_stream_close(out);
        td_stream_close(in);
    } else {
        td_scope_join(&scope);
    }
    td_listener_close(listener);
    td_listener_close(other);
    return 0;
}

const struct scenario scenario_cancel = {"cancel", run};
