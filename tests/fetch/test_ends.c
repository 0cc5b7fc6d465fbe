/* SPDX-License-Identifier: MIT */
/*
 * How fetches end before their time: cancelled in each phase, slow, broken. Each ends at once and leaves nothing behind: what a
 * run leaves, the harness counts.
 */
#include <netdb.h>
#include <semaphore.h>

#include "place.h"

/* What libcurl calls to look up a name, in a thread of its own. */
static struct { sem_t go_on; atomic_int waiting; } name_server;

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    atomic_fetch_add(&name_server.waiting, 1);
    while (sem_wait(&name_server.go_on) < 0)
        ;
    atomic_fetch_sub(&name_server.waiting, 1);
    return EAI_NONAME;
}

struct call {
    struct place *place;
    const char *url;
    td_http_fetch_opts opts;
    int rc;
    bool told;
};

static int make_call(void *arg)
{
    struct call *call = arg;
    td_http_response *answer;

    call->opts.proxy = "";
    call->rc = td_http_fetch(&answer, call->url, &call->opts);
    td_http_response_free(answer);
    return call->rc;
}

/* Begins the call, waits for *reached to become `count`, and cancels. */
static void cancel_when(struct call *call, const unsigned *reached, unsigned count)
{
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, make_call, call);
    if (reached)
        while (*reached < count && td_sleep(td_ms(1)) == 0)
            ;
    else
        td_sleep(td_ms(20));  /* until it waits for a connection that will not come: nothing shows that */
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), -ECANCELED);
    expect_int(call->rc, -ECANCELED);
}

static void say_nothing(struct place *place, td_stream *stream)
{
    hear(place, stream);
    td_event_wait(&place->open);
}

static void say_half(struct place *place, td_stream *stream)
{
    hear(place, stream);
    say(stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    td_event_wait(&place->open);
}

static void never_read(struct place *place, td_stream *stream)
{
    td_event_wait(&place->open);
}

static int wait_in_receive(const void *data, size_t size, void *arg)
{
    (*(unsigned *)arg)++;
    return td_sleep(TD_FOREVER);
}

static ssize_t wait_in_send(void *data, size_t size, void *arg)
{
    (*(unsigned *)arg)++;
    return td_sleep(TD_FOREVER);
}

static void cancel_at(void (*script)(struct place *place, td_stream *stream), td_http_fetch_opts opts, bool by_callback)
{
    struct place place;
    struct call call = {.opts = opts};
    unsigned called = 0;

    place_open(&place, script);
    call.url = place.base;
    call.opts.arg = &called;
    cancel_when(&call, by_callback ? &called : script == never_read ? &place.connections : &place.requests, 1);
    td_event_set(&place.open);
    eventually(place.ended == place.connections);
    place_close(&place);
}

static int phases(void *arg)
{
    static char large[1 << 23];

    cancel_at(say_nothing, (td_http_fetch_opts){0}, false);
    cancel_at(say_half, (td_http_fetch_opts){0}, false);
    cancel_at(say_half, (td_http_fetch_opts){.receive = wait_in_receive}, true);
    cancel_at(never_read, (td_http_fetch_opts){.body = large, .body_size = sizeof large}, false);
    cancel_at(say_nothing, (td_http_fetch_opts){.send = wait_in_send}, true);
    cancel_at(never_read, (td_http_fetch_opts){.version = 20}, false);
    return 0;
}

static void a_fetch_is_cancelled_in_each_phase(void **state)
{
    assert_int_equal(run(state, phases, NULL), 0);
}

static int handshake(void *arg)
{
    struct place place;
    struct call call = {0};
    char url[120];

    place_open(&place, never_read);
    snprintf(url, sizeof url, "https%s", place.base + 4);
    call.url = url;
    cancel_when(&call, &place.connections, 1);
    td_event_set(&place.open);
    eventually(place.ended == 1);
    place_close(&place);
    return 0;
}

static void a_fetch_is_cancelled_in_the_handshake(void **state)
{
    assert_int_equal(run(state, handshake, NULL), 0);
}

/* A listener whose queue is full answers nobody any more. */
static int connecting(void *arg)
{
    struct place place = {0};
    struct call call = {.url = place.base};
    td_stream *filler[2];

    expect_int(td_listen(&place.listener, "127.0.0.1:0", &(td_listen_opts){.backlog = 1}), 0);
    snprintf(place.base, sizeof place.base, "http://%s", td_listener_address(place.listener));
    for (int i = 0; i < 2; i++)
        expect_int(td_connect(&filler[i], td_listener_address(place.listener)), 0);
    cancel_when(&call, NULL, 0);
    call.opts.connect_timeout = td_ms(50);
    expect_int(make_call(&call), -ETIMEDOUT);
    for (int i = 0; i < 2; i++)
        td_stream_close(filler[i]);
    td_listener_close(place.listener);
    return 0;
}

static void a_fetch_is_cancelled_while_it_connects(void **state)
{
    assert_int_equal(run(state, connecting, NULL), 0);
}

/* The lookup goes on in libcurl's thread, since nothing can end it; the fetch does not wait for it. */
static int looking_up(void *arg)
{
    struct call call = {.url = "http://name.example/"};
    int descriptors = descriptors_count();
    td_scope scope;

    td_scope_open(&scope);
    td_spawn(&scope, make_call, &call);
    eventually(atomic_load(&name_server.waiting) == 1);
    td_scope_cancel(&scope);
    expect_int(td_scope_join(&scope), -ECANCELED);
    expect_int(call.rc, -ECANCELED);
    expect_int(atomic_load(&name_server.waiting), 1);
    sem_post(&name_server.go_on);
    eventually(atomic_load(&name_server.waiting) == 0);
    eventually(descriptors_count() <= descriptors + 2);  /* of the client itself, which stays */
    sem_post(&name_server.go_on);
    expect_int(make_call(&call), -ENOENT);
    return 0;
}

static void a_fetch_is_cancelled_in_its_lookup(void **state)
{
    assert_int_equal(run(state, looking_up, NULL), 0);
}

/* One that waits for another's connection; which then goes on undisturbed. */
static int waiting(void *arg)
{
    struct place place;
    struct call first = {0}, second = {0};
    td_http_fetch_stats stats;
    td_scope scope;

    place_open(&place, say_nothing);
    first.url = second.url = place.base;
    expect_int(td_http_fetch_limit(&(td_http_fetch_limits){.connections_max = 1}), 0);
    td_scope_open(&scope);
    td_spawn(&scope, make_call, &first);
    eventually(place.requests == 1);
    cancel_when(&second, NULL, 0);
    expect_int(place.connections, 1);
    td_http_fetch_statistics(&stats);
    expect_int((int)stats.running, 1);
    expect_int((int)stats.cancelled, 1);
    td_event_set(&place.open);
    td_scope_join(&scope);
    expect_int(first.rc, -ECONNRESET);  /* the script ends without an answer */
    place_close(&place);
    return 0;
}

static void a_fetch_is_cancelled_while_it_waits_for_a_connection(void **state)
{
    assert_int_equal(run(state, waiting, NULL), 0);
}

static int deadline(void *arg)
{
    struct place place;
    struct call call = {0};
    td_scope scope;

    place_open(&place, say_half);
    call.url = place.base;
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_ms(30)));
    expect_int(make_call(&call), -ECANCELED);
    expect_int(td_scope_join(&scope), -ETIMEDOUT);
    td_scope_open(&scope);  /* nothing begins for who is cancelled already */
    td_scope_cancel(&scope);
    expect_int(make_call(&call), -ECANCELED);
    td_scope_join(&scope);
    expect_int(place.connections, 1);
    td_event_set(&place.open);
    place_close(&place);
    return 0;
}

static void a_scopes_deadline_ends_a_fetch(void **state)
{
    assert_int_equal(run(state, deadline, NULL), 0);
}

static int too_slow(void *arg)
{
    struct place place;
    td_http_fetch_opts opts = {.rate_min = 1000, .rate_time = td_sec(1)};

    place_open(&place, say_half);
    expect_int(fail_to_fetch(&place, "/", &opts), -ETIMEDOUT);
    td_event_set(&place.open);
    place_close(&place);
    return 0;
}

static void a_peer_below_the_rate_ends_a_fetch(void **state)
{
    assert_int_equal(run(state, too_slow, NULL), 0);
}

static const char whole[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

static void say_first(struct place *place, td_stream *stream)
{
    size_t size = *(size_t *)place->arg;

    if (hear(place, stream))
        (void)td_stream_write(stream, whole, size);
}

/* The connection ends after each byte of an answer: only the whole of it is one. (libcurl does not miss the very last byte.) */
static int each_byte(void *arg)
{
    struct place place;
    size_t size;

    place_open(&place, say_first);
    place.arg = &size;
    for (size = 0; size + 1 < strlen(whole); size++) {
        int rc = fail_to_fetch(&place, "/", NULL);

        if (!expect(rc == -ECONNRESET || rc == -EPROTO))
            print_error("after %zu bytes: %d\n", size, rc);
    }
    place_close(&place);
    return 0;
}

static void an_answer_that_breaks_off_is_none(void **state)
{
    assert_int_equal(run(state, each_byte, NULL), 0);
}

#define HEAD "HTTP/1.1 200 OK\r\n"
#define CHUNKED HEAD "Transfer-Encoding: chunked\r\n\r\n"

static const struct { const char *answer; int rc; } broken[] = {
    {"nonsense\r\n\r\n", -EPROTO},
    {"HTTP/9.9 200 OK\r\n\r\n", -EPROTO},
    {"HTTP/1.1 abc OK\r\n\r\n", -EPROTO},
    {CHUNKED "xyz\r\nhello\r\n0\r\n\r\n", -ECONNRESET},
    {CHUNKED "5\r\nhelloworld\r\n0\r\n\r\n", -ECONNRESET},
    {CHUNKED "fffffffffffffffff\r\nhello", -ECONNRESET},
    {HEAD "Content-Length: -5\r\n\r\nhello", -EPROTO},
    {HEAD "Content-Length: 10\r\n\r\nhello", -ECONNRESET},
    {HEAD "No colon\r\nContent-Length: 0\r\n\r\n", -EPROTO},
    {HEAD "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", -EPROTO},
};

static void say_broken(struct place *place, td_stream *stream)
{
    if (hear(place, stream))
        say(stream, broken[*(size_t *)place->arg].answer);
}

static int brokenness(void *arg)
{
    struct place place;
    size_t i;

    place_open(&place, say_broken);
    place.arg = &i;
    for (i = 0; i < COUNT(broken); i++) {
        char reason[TD_HTTP_FETCH_REASON_SIZE] = "";
        int rc = fail_to_fetch(&place, "/", &(td_http_fetch_opts){.reason = reason, .reason_size = sizeof reason});

        if (!expect(rc == broken[i].rc && reason[0]))
            print_error("%zu: %d, %s\n", i, rc, reason);
    }
    place_close(&place);
    return 0;
}

static void a_malformed_answer_is_none(void **state)
{
    assert_int_equal(run(state, brokenness, NULL), 0);
}

/* Heads without an end: of one answer, and of interim answers. */
static void say_heads(struct place *place, td_stream *stream)
{
    if (!hear(place, stream) || say(stream, strstr(place->head, "/interim") ? "" : "HTTP/1.1 200 OK\r\n") < 0)
        return;
    while (say(stream, strstr(place->head, "/interim") ? "HTTP/1.1 102 Wait\r\n\r\n" : "X-More: and more\r\n") == 0)
        ;
}

static int endless(void *arg)
{
    struct place place;
    char reason[TD_HTTP_FETCH_REASON_SIZE] = "";
    td_http_fetch_opts opts = {.reason = reason, .reason_size = sizeof reason};

    place_open(&place, say_heads);
    expect_int(fail_to_fetch(&place, "/", &opts), -EMSGSIZE);
    expect(strstr(reason, "head_bytes_max") != NULL);
    expect_int(fail_to_fetch(&place, "/interim", &opts), -EMSGSIZE);
    opts.head_bytes_max = 100;
    expect_int(fail_to_fetch(&place, "/", &opts), -EMSGSIZE);
    eventually(place.ended == place.connections);
    place_close(&place);
    return 0;
}

static void an_endless_head_has_an_end(void **state)
{
    assert_int_equal(run(state, endless, NULL), 0);
}

static int nobody(void *arg)
{
    struct place place;
    char reason[TD_HTTP_FETCH_REASON_SIZE] = "";

    place_open(&place, say_nothing);
    place_close(&place);
    expect_int(fail_to_fetch(&place, "/", &(td_http_fetch_opts){.reason = reason, .reason_size = sizeof reason}), -ECONNREFUSED);
    expect(strstr(reason, "connect") != NULL);
    return 0;
}

static void nobody_there_is_said(void **state)
{
    assert_int_equal(run(state, nobody, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_fetch_is_cancelled_in_each_phase),
        ON_BOTH(a_fetch_is_cancelled_in_the_handshake),
        ON_BOTH(a_fetch_is_cancelled_while_it_connects),
        ON_BOTH(a_fetch_is_cancelled_in_its_lookup),
        ON_BOTH(a_fetch_is_cancelled_while_it_waits_for_a_connection),
        ON_BOTH(a_scopes_deadline_ends_a_fetch),
        ON_BOTH(a_peer_below_the_rate_ends_a_fetch),
        ON_BOTH(an_answer_that_breaks_off_is_none),
        ON_BOTH(a_malformed_answer_is_none),
        ON_BOTH(an_endless_head_has_an_end),
        ON_BOTH(nobody_there_is_said),
    };

    sem_init(&name_server.go_on, 0, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
