/* SPDX-License-Identifier: MIT */
/*
 * A server process: from the open port to the last close frame.
 *
 * The drain has three steps, all within --drain seconds. First nothing new begins, and what is under way ends by
 * itself. When a part of the time is left, jobs are killed and connections ended, with a close frame ahead of
 * whatever they have queued. At the very end the process exits, whoever does not let go.
 */
#include "serve.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "app.h"
#include "pools.h"
#include "room.h"
#include "session.h"
#include "tls.h"

#define GOODBYE_NS 2600000000   /* two seconds that peers have to answer a close, and a little */
#define LEAST_NS 200000000      /* even with --drain 0, for close frames to leave */
#define ANSWER_NS 300000000     /* for handlers to answer after their job was killed */

struct serve {
    struct app app;
    const struct serve_options *options;
    td_listener *listener;
    int signals;       /* a signalfd */
    int ready;         /* a pipe to the supervisor, or -1 */
    pid_t supervisor;  /* 0: none */
    unsigned orders;   /* signals from the supervisor */
    td_scope *limit;   /* around everything: the drain's time limit is a task of it */
};

static int serve_connections(void *arg)
{
    struct serve *serve = arg;
    int rc = td_http_server_run(serve->app.server);

    if (rc < 0 && rc != -ECANCELED)
        td_log(TD_LOG_ERROR, "accepting connections failed: %s", td_strerror(rc));
    return rc;
}

/* Waits for SIGTERM or SIGINT. On SIGHUP the certificates are renewed. */
static int wait_for_signal(struct serve *serve)
{
    struct signalfd_siginfo info;
    int rc;

    do {
        info = (struct signalfd_siginfo){0};
        rc = td_wait_readable(serve->signals);
        if (rc == 0 && read(serve->signals, &info, sizeof info) < 0 && errno != EAGAIN)
            rc = -errno;
        if (info.ssi_signo == SIGHUP)
            tls_reload(&serve->app);
    } while (rc == 0 && info.ssi_signo != SIGTERM && info.ssi_signo != SIGINT);
    serve->orders += serve->supervisor && info.ssi_pid == (uint32_t)serve->supervisor;
    return rc;
}

/*
 * A second signal means: now. Under a supervisor its second one: the first time a terminal's Ctrl-C, which reaches
 * the whole group, and the supervisor's order come together.
 */
static int hurry(void *arg)
{
    struct serve *serve = arg;
    int rc;

    do
        rc = wait_for_signal(serve);
    while (rc == 0 && serve->supervisor && serve->orders < 2);
    return rc == 0 ? -EINTR : rc;
}

/* Waits for connections to end, up to `until`. */
static void wait_drained(struct serve *serve, td_time until)
{
    td_scope scope;

    td_scope_open(&scope);
    td_scope_deadline(&scope, until);
    if (td_spawn(&scope, hurry, serve) == 0) {
        td_http_server_wait_drained(serve->app.server);
        td_scope_cancel(&scope);
    }
    td_scope_join(&scope);
}

/* The end of --drain, whatever happens: worker processes die with this one. */
static int exit_in_time(void *arg)
{
    struct serve *serve = arg;
    int rc = td_sleep(serve->options->drain_ns > LEAST_NS ? serve->options->drain_ns : LEAST_NS);

    if (rc < 0)
        return rc;
    td_log(TD_LOG_WARNING, "the drain time is over; leaving connections that did not end");
    _exit(0);
}

static void drain(struct serve *serve)
{
    struct app *app = &serve->app;
    td_time grace = serve->options->drain_ns / 2 < GOODBYE_NS ? serve->options->drain_ns / 2 : GOODBYE_NS;
    td_time force = td_after(serve->options->drain_ns - grace);

    td_log(TD_LOG_INFO, "draining: new work is refused, what is under way has %.1f s",
           (double)(serve->options->drain_ns - grace) / 1e9);
    app->draining = true;
    td_http_server_drain(app->server);
    sessions_drain(app);
    wait_drained(serve, force);
    pools_cancel(app);
    wait_drained(serve, td_after(ANSWER_NS < grace / 4 ? ANSWER_NS : grace / 4));
}

static void announce(struct serve *serve)
{
    char line[128];
    int n = snprintf(line, sizeof line, "tandem: listening on %s://%s\n", serve->app.tls ? "https" : "http",
                     td_listener_address(serve->listener));

    /* Under a supervisor the line goes to it: it prints it when all its processes listen. */
    if (write(serve->ready >= 0 ? serve->ready : STDOUT_FILENO, line, (size_t)n) < 0)
        td_log(TD_LOG_WARNING, "cannot write the address to standard output: %s", strerrordesc_np(errno));
    if (serve->ready >= 0)
        close(serve->ready);
}

static int run_until_signal(struct serve *serve)
{
    td_scope all;
    int rc;

    td_scope_open(&all);
    serve->app.jobs = &all;
    rc = td_spawn(&all, serve_connections, serve);
    if (rc == 0) {
        announce(serve);
        rc = wait_for_signal(serve);
    }
    if (rc == 0) {
        rc = td_spawn(serve->limit, exit_in_time, serve);
        drain(serve);
    }
    td_scope_cancel(&all);
    td_scope_join(&all);
    return rc;
}

static int with_pools(struct serve *serve)
{
    struct app *app = &serve->app;
    td_http_opts http = {.connections_max = serve->options->connections_max, .tls = app->tls};
    int rc = pools_open(app);

    if (rc < 0)
        return rc;
    app->rooms = rooms_open();
    rc = app->rooms ? td_http_server_open(&app->server, serve->listener, &http, route, app) : -ENOMEM;
    if (rc == 0) {
        rc = run_until_signal(serve);
        td_http_server_close(app->server);
    }
    rooms_close(app->rooms);
    pools_close(app);
    return rc;
}

/* For whom there is no descriptor. Over TLS it would be noise. */
static const char no_room[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
                              "Content-Length: 0\r\n\r\n";

static const char *listen_advice(int rc)
{
    switch (rc) {
    case -EADDRINUSE:
        return "another server holds the port; choose another with --listen";
    case -EACCES:
        return "ports below 1024 are for root; choose another with --listen";
    case -EADDRNOTAVAIL:
        return "this machine has no such address; choose another with --listen";
    default:
        return "choose another address with --listen";
    }
}

static int serve_main(void *arg)
{
    struct serve *serve = arg;
    td_listen_opts opts = {.share_port = serve->options->workers > 1};
    td_scope limit;
    int rc;

    if (serve->options->certificate_count == 0) {
        opts.farewell = no_room;
        opts.farewell_size = sizeof no_room - 1;
    }
    rc = td_listen(&serve->listener, serve->options->listen, &opts);
    if (rc < 0) {
        td_log(TD_LOG_ERROR, "cannot listen on %s: %s\n        %s", serve->options->listen, td_strerror(rc), listen_advice(rc));
        return rc;
    }
    serve->app.options = serve->options;
    serve->app.sessions.next = serve->app.sessions.prev = &serve->app.sessions;
    serve->app.started = td_now();
    td_scope_open(&limit);
    serve->limit = &limit;
    rc = tls_open(&serve->app);
    if (rc == 0)
        rc = with_pools(serve);
    td_tls_close(serve->app.tls);
    td_scope_cancel(&limit);
    td_scope_join(&limit);
    td_listener_close(serve->listener);
    return rc;
}

#define LARGE_BYTES (256 * 1024)

int serve_process(const struct serve_options *options, int ready)
{
    struct serve serve = {.options = options, .ready = ready, .supervisor = ready >= 0 ? getppid() : 0};
    td_opts opts = {.backend = options->backend};
    sigset_t set;
    int rc;

    /* Large messages go back to the system. By itself malloc moves that bound up to 32 MiB, and they stay in the heap. */
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (options->certificate_count > 0)  /* else it ends the program, as the terminal that is closed expects */
        sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);  /* before td_run: its threads are to have them blocked, too */
    signal(SIGPIPE, SIG_IGN);
    serve.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (serve.signals < 0) {
        td_log(TD_LOG_ERROR, "cannot wait for signals: %s", strerrordesc_np(errno));
        return 1;
    }
    rc = td_run_with(&opts, serve_main, &serve);
    close(serve.signals);
    return rc < 0 ? 1 : 0;
}
