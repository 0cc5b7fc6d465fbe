/* SPDX-License-Identifier: MIT */
/* What a fetch asks, and what it makes of an answer that is as it should be. */
#include "place.h"

static void echo(struct place *place, td_stream *stream)
{
    char answer[400];

    while (hear(place, stream)) {
        snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nX-Sum: %u\r\nX-Empty:\r\nx-two: 1\r\nX-Two:  2 \r\n"
                 "Content-Length: 5\r\n\r\n", place->body_sum);
        if (say(stream, answer) < 0 || (strncmp(place->head, "HEAD", 4) != 0 && say(stream, "hello") < 0))
            return;
    }
}

static bool asked(const struct place *place, const char *what)
{
    bool so = strstr(place->head, what) != NULL;

    if (!so)
        print_error("no \"%s\" in:\n%s", what, place->head);
    return expect(so);
}

static int get(void *arg)
{
    struct place place;
    td_http_response *answer;
    const char *name, *value;
    size_t size;

    place_open(&place, echo);
    if (expect_int(fetch(&place, &answer, "/a?b=c", NULL), 0)) {
        expect_int(td_http_response_status(answer), 200);
        expect_int(td_http_response_version(answer), 11);
        expect_text(td_http_response_body(answer, &size), "hello");
        expect_int((int)size, 5);
        expect_text(td_http_response_field(answer, "X-EMPTY"), "");
        expect_text(td_http_response_field(answer, "X-Two"), "1");
        expect(td_http_response_each(answer, 3, &name, &value) && strcmp(value, "2") == 0);
        expect(!td_http_response_each(answer, 5, &name, &value));
        expect(td_http_response_field(answer, "X") == NULL && td_http_response_trailer(answer, "X-Sum") == NULL);
        expect(strcmp(td_http_response_url(answer) + strlen(place.base), "/a?b=c") == 0);
        td_http_response_free(answer);
    }
    asked(&place, "GET /a?b=c HTTP/1.1\r\n");
    expect(!strcasestr(place.head, "Content-"));
    place_close(&place);
    return 0;
}

static void a_url_is_fetched(void **state)
{
    assert_int_equal(run(state, get, NULL), 0);
}

/* Each method, with and without a body; and the header lines that come of it. */
static int methods(void *arg)
{
    static const struct { const char *method, *body, *line, *length; } cases[] = {
        {NULL, "abc", "POST / ", "Content-Length: 3\r\n"}, {"POST", NULL, "POST / ", "Content-Length: 0\r\n"},
        {"PUT", "abcd", "PUT / ", "Content-Length: 4\r\n"}, {"PUT", NULL, "PUT / ", "Content-Length: 0\r\n"},
        {"PATCH", "ab", "PATCH / ", "Content-Length: 2\r\n"}, {"DELETE", NULL, "DELETE / ", NULL},
        {"HEAD", NULL, "HEAD / ", NULL}, {"OPTIONS", NULL, "OPTIONS / ", NULL},
    };
    struct place place;
    td_http_response *answer;
    char sums[20];

    place_open(&place, echo);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *body = cases[i].body;
        td_http_fetch_opts opts = {.method = cases[i].method, .body = body, .body_size = body ? strlen(body) : 0};

        if (!expect_int(fetch(&place, &answer, "/", &opts), 0))
            continue;
        asked(&place, cases[i].line);
        expect(!cases[i].length || asked(&place, cases[i].length));
        expect(!strcasestr(place.head, "Content-Type") && !strcasestr(place.head, "Expect"));
        snprintf(sums, sizeof sums, "%u", body ? sum(0, body, strlen(body)) : 0);
        expect_text(td_http_response_field(answer, "X-Sum"), sums);
        td_http_response_free(answer);
    }
    expect_int(place.connections, 1);
    place_close(&place);
    return 0;
}

static void methods_and_bodies_go_out_as_they_are(void **state)
{
    assert_int_equal(run(state, methods, NULL), 0);
}

static int fields(void *arg)
{
    struct place place;
    td_http_response *answer;
    td_http_fetch_opts opts = {.fields = "X-One: a b\r\nX-None:\r\nHost: other.example\r\n", .type = "text/x-test", .body = "x",
                               .body_size = 1, .bearer = "secret"};

    place_open(&place, echo);
    expect_int(fetch(&place, &answer, "/", &opts), 0);
    td_http_response_free(answer);
    asked(&place, "\r\nX-One: a b\r\n");
    asked(&place, "\r\nX-None:\r\n");
    asked(&place, "\r\nHost: other.example\r\n");
    asked(&place, "\r\nContent-Type: text/x-test\r\n");
    asked(&place, "\r\nAuthorization: Bearer secret\r\n");
    opts = (td_http_fetch_opts){.user = "ann", .password = "pass"};
    expect_int(fetch(&place, &answer, "/", &opts), 0);
    td_http_response_free(answer);
    asked(&place, "\r\nAuthorization: Basic YW5uOnBhc3M=\r\n");
    place_close(&place);
    return 0;
}

static void fields_type_and_who_asks_are_told(void **state)
{
    assert_int_equal(run(state, fields, NULL), 0);
}

/* Nothing is sent for a request that is none; and the reason says what is wrong. */
static int refusals(void *arg)
{
    static const struct { const char *url; td_http_fetch_opts opts; } cases[] = {
        {"", {0}}, {"http://", {0}}, {"nowhere", {0}}, {"ftp://127.0.0.1/", {0}}, {"file:///etc/passwd", {0}},
        {"http://127.0.0.1:1/", {.method = "GE T"}}, {"http://127.0.0.1:1/", {.method = ""}},
        {"http://127.0.0.1:1/", {.fields = "No end"}}, {"http://127.0.0.1:1/", {.fields = "A: b\nC: d\r\n"}},
        {"http://127.0.0.1:1/", {.fields = "A b: c\r\n"}}, {"http://127.0.0.1:1/", {.fields = "Content-Length: 5\r\n"}},
        {"http://127.0.0.1:1/", {.fields = "transfer-encoding: chunked\r\n"}}, {"http://127.0.0.1:1/", {.type = "a\r\nB: c"}},
        {"http://127.0.0.1:1/", {.version = 12}}, {"http://127.0.0.1:1/", {.method = "DELETE", .redirects_max = 1}},
        {"http://127.0.0.1:1/", {.body_size = 4}},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        td_http_fetch_opts opts = cases[i].opts;
        char reason[TD_HTTP_FETCH_REASON_SIZE] = "";
        td_http_response *answer;
        int rc;

        opts.reason = reason;
        opts.reason_size = sizeof reason;
        rc = td_http_fetch(&answer, cases[i].url, &opts);
        if (!expect_int(rc, -EINVAL))
            print_error("case %zu: %s\n", i, cases[i].url);
        expect(answer == NULL && reason[0]);
    }
    return 0;
}

static void what_is_no_request_is_refused(void **state)
{
    assert_int_equal(run(state, refusals, NULL), 0);
}

static void move(struct place *place, td_stream *stream)
{
    char answer[300];

    while (hear(place, stream)) {
        long n = strtol(strchr(place->head, '/') + 1, NULL, 10);

        if (strncmp(strchr(place->head, '/'), "/loop", 5) == 0)
            snprintf(answer, sizeof answer, "HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n");
        else if (strncmp(strchr(place->head, '/'), "/ftp", 4) == 0)
            snprintf(answer, sizeof answer, "HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/\r\nContent-Length: 0\r\n\r\n");
        else if (n > 0)
            snprintf(answer, sizeof answer, "HTTP/1.1 303 See Other\r\nLocation: /%ld\r\nContent-Length: 4\r\n\r\nmove", n - 1);
        else
            snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere");
        if (say(stream, answer) < 0)
            return;
    }
}

static int count_heads(const td_http_response *response, void *arg)
{
    expect_int(td_http_response_status(response), 200);
    return ++*(int *)arg < 0;
}

static int redirects(void *arg)
{
    struct place place;
    td_http_response *answer;
    int heads = 0;
    td_http_fetch_opts opts = {.redirects_max = 5, .body = "x", .body_size = 1, .head = count_heads, .arg = &heads};

    place_open(&place, move);
    if (expect_int(fetch(&place, &answer, "/5", &opts), 0)) {
        expect_text(td_http_response_body(answer, NULL), "there");
        expect(strcmp(td_http_response_url(answer) + strlen(place.base), "/0") == 0);
        td_http_response_free(answer);
    }
    asked(&place, "GET /0 ");  /* a 303 turns a POST into a GET */
    expect_int(heads, 1);
    expect_int(fail_to_fetch(&place, "/6", &(td_http_fetch_opts){.redirects_max = 5}), -ELOOP);
    expect_int(fail_to_fetch(&place, "/loop", &(td_http_fetch_opts){.redirects_max = 20}), -ELOOP);
    expect_int(fail_to_fetch(&place, "/ftp", &(td_http_fetch_opts){.redirects_max = 5}), -EPROTO);
    if (expect_int(fetch(&place, &answer, "/5", NULL), 0)) {
        expect_int(td_http_response_status(answer), 303);
        expect_text(td_http_response_body(answer, NULL), "move");
        td_http_response_free(answer);
    }
    place_close(&place);
    return 0;
}

static void redirects_are_followed_as_far_as_asked(void **state)
{
    assert_int_equal(run(state, redirects, NULL), 0);
}

static int fetch_one(void *arg)
{
    struct place *place = arg;
    td_http_response *answer = NULL;
    int rc = fetch(place, &answer, "/", NULL);

    if (rc == 0)
        expect_text(td_http_response_body(answer, NULL), "hello");
    td_http_response_free(answer);
    return rc;
}

#define CROWD (SANITIZED ? 200 : 1000)

static int crowd(void *arg)
{
    struct place place;
    td_http_fetch_stats stats;
    td_scope scope;

    place_open(&place, echo);
    expect_int(td_http_fetch_limit(&(td_http_fetch_limits){.connections_per_host_max = 4}), 0);
    td_scope_open(&scope);
    for (int i = 0; i < CROWD; i++)
        expect_int(td_spawn(&scope, fetch_one, &place), 0);
    expect_int(td_scope_join(&scope), 0);
    expect_int(place.requests, CROWD);
    expect(place.connections <= 4);
    td_http_fetch_statistics(&stats);
    expect_int((long long)stats.fetched, CROWD);
    expect_int((long long)stats.running, 0);
    expect_int((long long)stats.connections, place.connections);
    place_close(&place);
    return 0;
}

static void a_thousand_fetches_share_a_few_connections(void **state)
{
    assert_int_equal(run(state, crowd, NULL), 0);
}

/* Each of several loops has its own connections; the first loop's end does not disturb the others. */
static int on_each_loop(void *arg)
{
    struct place place;

    place_open(&place, echo);
    for (int i = 0; i < 20; i++)
        expect_int(fetch_one(&place), 0);
    expect_int(place.connections, 1);
    place_close(&place);
    return 0;
}

static void loops_fetch_side_by_side(void **state)
{
    assert_int_equal(run_with(state, (td_opts){.loops = 3}, on_each_loop, NULL), 0);
}

static int in_simulation(void *arg)
{
    td_http_response *answer;

    expect_int(td_http_fetch(&answer, "http://127.0.0.1:1/", NULL), -EOPNOTSUPP);
    return 0;
}

static void the_simulation_has_no_client(void **state)
{
    assert_int_equal(td_run_with(&(td_opts){.backend = TD_BACKEND_SIM, .seed = 1}, in_simulation, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_url_is_fetched),
        ON_BOTH(methods_and_bodies_go_out_as_they_are),
        ON_BOTH(fields_type_and_who_asks_are_told),
        ON_BOTH(what_is_no_request_is_refused),
        ON_BOTH(redirects_are_followed_as_far_as_asked),
        ON_BOTH(a_thousand_fetches_share_a_few_connections),
        ON_BOTH(loops_fetch_side_by_side),
        cmocka_unit_test(the_simulation_has_no_client),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
