/* SPDX-License-Identifier: MIT */
/*
 * The HTTP server on a bad network. Law 7 for requests: each that was answered has one answer, its own, whole; none is
 * answered that was not asked. At the end all connections are gone.
 */
#include "sim/scenario.h"

#define CLIENTS_MAX 5
#define REQUESTS_MAX 6
#define BODY_MAX 1500
#define INPUT_BYTES 8192
#define PATIENCE td_sec(10000)  /* a slow network is no fault of anybody's */

struct site {
    struct world *world;
    td_http_server *server;
    td_listener *listener;
    bool harsh, ending, limited;
    unsigned asked, answered;
};

struct visitor {
    struct site *site;
    td_stream *stream;
    uint64_t id;
    char input[INPUT_BYTES + 1];
    size_t have;
};

static int answer(td_http *http, void *arg)
{
    struct site *site = arg;
    size_t size;
    const char *body = td_http_body(http, &size);
    char path[64];
    int rc;

    site->asked++;
    if (one_in(3)) {
        td_case cases[] = {td_on_time(td_after(td_us((int64_t)pick(20000)))), td_on_gone(http)};
        size_t which;

        (void)td_select(cases, one_in(2) ? 1 : 2, &which);
    }
    snprintf(path, sizeof path, "X-Path: %.40s\r\n", td_http_path(http));
    rc = td_http_respond(http, 200, path, "application/octet-stream", body, size);
    site->answered += rc == 0;
    return rc;
}

static int serve(void *arg)
{
    struct site *site = arg;
    int rc = td_http_server_run(site->server);

    must(site->world, rc == -ECANCELED, "the server ended with %d", rc);
    return 0;
}

/* Reads until the input holds `size` bytes, or the head's end when size is 0. Returns 1, 0 at the end, or an error. */
static ssize_t read_until(struct visitor *visitor, size_t size)
{
    while (size ? visitor->have < size : !strstr(visitor->input, "\r\n\r\n")) {
        ssize_t n = td_stream_read(visitor->stream, visitor->input + visitor->have, INPUT_BYTES - visitor->have);

        if (n <= 0)
            return n;
        visitor->have += (size_t)n;
        visitor->input[visitor->have] = '\0';
    }
    return 1;
}

/* Reads one answer and checks that it is the request's. Returns 1 when another request may follow. */
static ssize_t read_answer(struct visitor *visitor, unsigned number, size_t size)
{
    struct world *world = visitor->site->world;
    char wanted[64];
    size_t head, length;
    const char *field;
    ssize_t rc = read_until(visitor, 0);
    bool last;

    if (rc <= 0)
        return rc;
    head = (size_t)(strstr(visitor->input, "\r\n\r\n") + 4 - visitor->input);
    field = strstr(visitor->input, "Content-Length: ");
    if (!must(world, field && field < visitor->input + head, "no length in %s", visitor->input))
        return 0;
    length = strtoul(field + 16, NULL, 10);
    rc = read_until(visitor, head + length);
    if (rc <= 0)
        return rc;
    last = strstr(visitor->input, "Connection: close") != NULL;
    if (strncmp(visitor->input, "HTTP/1.1 200", 12) != 0) {
        must(world, visitor->site->harsh || visitor->site->ending ||
             (visitor->site->limited && strncmp(visitor->input, "HTTP/1.1 503", 12) == 0), "%.40s", visitor->input);
        return 0;
    }
    snprintf(wanted, sizeof wanted, "X-Path: /%u\r\n", number);
    must(world, strstr(visitor->input, wanted), "the answer to request %u is another's", number);
    must(world, length == size, "the body has %zu bytes of %zu", length, size);
    must(world, agrees((unsigned char *)visitor->input + head, length, visitor->id, number) == length, "the body differs");
    visitor->have -= head + length;
    memmove(visitor->input, visitor->input + head + length, visitor->have + 1);
    return !last;
}

static ssize_t ask(struct visitor *visitor, unsigned number, size_t size)
{
    unsigned char bytes[BODY_MAX + 200];
    int head = snprintf((char *)bytes, 200, "POST /%u HTTP/1.1\r\nHost: sim\r\nContent-Length: %zu\r\n\r\n", number, size);
    ssize_t n;

    fill(bytes + head, size, visitor->id, number);
    n = td_stream_write(visitor->stream, bytes, (size_t)head + size);
    return n < head + (ssize_t)size ? (n < 0 ? n : -EPIPE) : read_answer(visitor, number, size);
}

static int visit(void *arg)
{
    struct visitor *visitor = arg;
    struct site *site = visitor->site;
    ssize_t rc = td_connect(&visitor->stream, td_listener_address(site->listener));

    if (rc < 0) {
        must(site->world, site->harsh && is_network_error(rc), "td_connect answered %zd", rc);
        return 0;
    }
    rc = 1;
    for (unsigned i = 0; i < REQUESTS_MAX && rc > 0 && !one_in(8); i++) {
        rc = ask(visitor, i, pick(BODY_MAX));
        if (one_in(3))
            td_sleep(td_us((int64_t)pick(50000)));
    }
    /* A visitor beyond the limit is told so, and need not have been heard out. */
    must(site->world, rc >= 0 || site->harsh || site->ending || site->limited, "a visit ended with %zd", rc);
    td_stream_close(visitor->stream);
    return 0;
}

static int run(void *arg)
{
    struct site site = {.world = arg};
    td_http_opts opts = {.connections_max = one_in(3) ? 2 : 0, .head_timeout = PATIENCE, .body_timeout = PATIENCE,
                         .idle_timeout = PATIENCE, .send_timeout = PATIENCE};
    td_http_stats stats;
    td_scope server, scope;
    size_t count = 1 + pick(CLIENTS_MAX);
    int rc = td_listen(&site.listener, "10.0.0.1:80", NULL);
    struct visitor *visitors = calloc(CLIENTS_MAX, sizeof *visitors);

    if (!visitors || !must(site.world, rc == 0, "td_listen answered %d", rc))
        return -ENOMEM;
    rc = td_http_server_open(&site.server, site.listener, &opts, answer, &site);
    must(site.world, rc == 0, "td_http_server_open answered %d", rc);
    site.harsh = draw_faults();
    site.limited = opts.connections_max > 0;
    td_scope_open(&server);
    td_spawn(&server, serve, &site);
    td_scope_open(&scope);
    for (size_t i = 0; i < count; i++) {
        visitors[i].site = &site;
        visitors[i].id = td_random();
        td_spawn(&scope, visit, &visitors[i]);
    }
    if (one_in(3)) {
        td_sleep(td_us((int64_t)pick(100000)));
        site.ending = true;
        td_http_server_drain(site.server);
        rc = td_http_server_wait_drained(site.server);
        must(site.world, rc == 0, "td_http_server_wait_drained answered %d", rc);
        td_http_server_statistics(site.server, &stats);
        must(site.world, stats.connections_before_drain == 0, "%zu are left after the drain", stats.connections_before_drain);
    }
    td_scope_join(&scope);
    td_scope_cancel(&server);
    td_scope_join(&server);
    td_http_server_statistics(site.server, &stats);
    must(site.world, stats.connections == 0, "%zu connections outlived their server", stats.connections);
    must(site.world, stats.requests == site.asked, "%llu requests, %u handled", stats.requests, site.asked);
    td_http_server_close(site.server);
    td_listener_close(site.listener);
    free(visitors);
    return 0;
}

const struct scenario scenario_http = {"http", run};
