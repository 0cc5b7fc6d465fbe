/* SPDX-License-Identifier: MIT */
/*
 * Every system call fails once: the same small conversation over HTTP, again and again, with the n-th call failing, until
 * there is no n-th call any more. Whatever fails, all is closed and freed, and the next conversation goes well. The seed
 * draws the error and the order.
 */
#include "sim/scenario.h"

struct attempt {
    struct world *world;
    td_listener *listener;
    td_http_server *server;
    int rc;
};

static int answer(td_http *http, void *arg)
{
    return td_http_respond(http, 200, NULL, "text/plain", "well", 4);
}

static int serve(void *arg)
{
    struct attempt *attempt = arg;

    td_http_server_run(attempt->server);
    return 0;
}

/* Asks once. Returns 1 when the answer came whole. */
static int ask(const struct attempt *attempt)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n";
    char input[600] = "";
    size_t have = 0;
    td_stream *stream;
    ssize_t n = td_connect(&stream, td_listener_address(attempt->listener));

    if (n < 0)
        return (int)n;
    n = td_stream_write(stream, request, sizeof request - 1);
    if (n == sizeof request - 1)
        while ((n = td_stream_read(stream, input + have, sizeof input - 1 - have)) > 0)
            have += (size_t)n;
    td_stream_close(stream);
    return have > 4 && strcmp(input + have - 4, "well") == 0 ? 1 : n < 0 ? (int)n : -EPIPE;
}

static int converse(struct attempt *attempt)
{
    td_scope scope;
    int rc = td_listen(&attempt->listener, "10.0.0.1:80", NULL), joined;

    if (rc < 0)
        return rc;
    rc = td_http_server_open(&attempt->server, attempt->listener, NULL, answer, NULL);
    if (rc == 0) {
        td_scope_open(&scope);
        rc = td_spawn(&scope, serve, attempt);
        rc = rc < 0 ? rc : ask(attempt);
        td_scope_cancel(&scope);
        joined = td_scope_join(&scope);
        must(attempt->world, joined == 0, "the server's scope answered %d", joined);
        td_http_server_close(attempt->server);
    }
    td_listener_close(attempt->listener);
    return rc;
}

static int run(void *arg)
{
    static const int errors[] = {-EINTR, -ENOBUFS, -ENOMEM, -EMFILE, -ECONNRESET, -EPIPE, -EIO, -EPERM, -EAGAIN};
    td_sim_call call = (td_sim_call)pick(TD_SIM_CALLS);
    td_sim_stats stats;
    unsigned long long failed = 0;
    int rc;

    td_sim_faults(&(td_sim_fault_opts){.delay_max = td_us(1) << pick(14)});
    for (unsigned long long nth = 1;; nth++) {
        int error = errors[pick(sizeof errors / sizeof *errors)];
        struct attempt attempt = {.world = arg};

        td_sim_fail(call, nth, error);
        rc = converse(&attempt);
        td_sim_statistics(&stats);
        must(arg, stats.sockets == 0, "%llu sockets are open after call %llu failed with %d", stats.sockets, nth, error);
        if (stats.failed == failed)
            break;
        failed = stats.failed;
    }
    td_sim_fail(call, 0, -EIO);
    must(arg, rc == 1, "a conversation in which nothing failed answered %d", rc);
    must(arg, failed > 0 || call == TD_SIM_FILE, "no call of kind %d was made", call);
    return 0;
}

const struct scenario scenario_walk = {"walk", run};
