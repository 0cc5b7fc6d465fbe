/* SPDX-License-Identifier: MIT */
/* Requests and answers over one connection of HTTP/1: order, framing, keeping alive, what is parked. */
#include <malloc.h>

#include "talk.h"

/* Says its path; "/slow" takes its time, "/held" waits for the story's event, "/body" says the body. */
static int echo(td_http *http, void *arg)
{
    const char *path = td_http_path(http);
    size_t size;

    if (strcmp(path, "/slow") == 0)
        td_sleep(td_ms(5));
    if (strcmp(path, "/held") == 0)
        td_event_wait(((struct talk *)arg)->arg);
    if (strcmp(path, "/body") == 0) {
        const char *body = td_http_body(http, &size);

        return td_http_respond(http, 200, NULL, "text/plain", body, size);
    }
    return td_http_respond(http, 200, NULL, "text/plain", path, strlen(path));
}

static void in_order_story(struct talk *talk)
{
    char requests[8000] = "", path[16], answer[32];

    for (int i = 0; i < 60; i++) {
        snprintf(path, sizeof path, "/%s", i % 7 == 0 ? "slow" : "");
        snprintf(requests + strlen(requests), sizeof requests - strlen(requests), "GET %s HTTP/1.1\r\nHost: h\r\nX: %d\r\n\r\n",
                 i % 7 == 0 ? "/slow" : "/quick", i);
    }
    say(talk, requests);
    for (int i = 0; i < 60; i++) {
        snprintf(answer, sizeof answer, "\r\n\r\n%s", i % 7 == 0 ? "/slow" : "/quick");
        if (!hear(talk, answer))
            return;
    }
    expect_int(talk_stats(talk).requests, 60);
    expect_int(talk->size, 0);
}

STORY(pipelined_requests_are_answered_in_order, in_order_story, .handler = echo)

/* A request cut anywhere is the same request. */
static void cuts_story(struct talk *talk)
{
    static const char request[] = "POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\n"
                                  "de\r\n0\r\nT: x\r\n\r\n" GET("/next");

    for (size_t cut = 1; cut < sizeof request - 1; cut++) {
        char first[sizeof request] = {0};

        memcpy(first, request, cut);
        say(talk, first);
        settle();
        td_yield();
        say(talk, request + cut);
        if (!hear(talk, "\r\n\r\nabcde") || !hear(talk, "\r\n\r\n/next"))
            return;
    }
    for (const char *at = request; *at; at++) {
        say(talk, (char[]){*at, '\0'});
        td_yield();
    }
    expect(hear(talk, "\r\n\r\nabcde") && hear(talk, "\r\n\r\n/next"));
}

STORY(a_request_may_be_cut_anywhere, cuts_story, .handler = echo)

static void count_story(struct talk *talk)
{
    say(talk, GET("/1"));
    expect(hear(talk, "/1") && !strstr(talk->heard, "close"));
    say(talk, GET("/2") GET("/3") GET("/4"));
    hear(talk, "/2");
    hear(talk, "Connection: close\r\n\r\n/3");
    hear_the_end(talk);
    expect_int(talk->size, 0);
    expect_int(talk_stats(talk).requests, 3);
}

STORY(after_requests_max_the_connection_is_closed, count_story, .handler = echo, .opts.requests_max = 3)

static void persistence_story(struct talk *talk)
{
    static const struct {
        const char *request;
        bool kept;
        const char *says;
    } table[] = {
        {"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", true, ""},
        {"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false, "Connection: close\r\n"},
        {"GET /a HTTP/1.0\r\n\r\n", false, "Connection: close\r\n"},
        {"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, "Connection: keep-alive\r\n"},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        talk_leave(talk);
        if (!talk_connect(talk))
            return;
        say(talk, table[i].request);
        hear(talk, table[i].says);
        hear(talk, "\r\n/a");
        if (table[i].kept) {
            say(talk, GET("/b"));
            hear(talk, "\r\n\r\n/b");
        } else {
            hear_the_end(talk);
            expect_int(talk->size, 0);
        }
    }
}

STORY(connections_persist_as_was_agreed, persistence_story, .handler = echo)

static void head_story(struct talk *talk)
{
    say(talk, "HEAD /abc HTTP/1.1\r\nHost: h\r\n\r\n" GET("/"));
    hear(talk, "Content-Length: 4\r\n\r\nHTTP/1.1 200 OK\r\n");
    hear(talk, "\r\n\r\n/");
}

STORY(head_says_the_length_and_sends_nothing, head_story, .handler = echo)

/* Who has shut down his side alone still gets every answer. */
static void half_story(struct talk *talk)
{
    ask_alone(talk, GET("/slow") GET("/b") "GET /c HTTP/1.1\r\nHo");
    expect_int(times(talk->heard, "HTTP/1.1 200 OK"), 2);
    expect(strstr(talk->heard, "\r\n\r\n/slow") && strstr(talk->heard, "\r\n\r\n/b"));
}

STORY(half_a_close_is_answered_in_full, half_story, .handler = echo)

static void server_story(struct talk *talk)
{
    static const struct {
        const char *request;
        const char *status;
    } table[] = {
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 204 "},
        {"TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 501 "},
        {"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 501 "},
        {"GET * HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 "},
        {"GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 "},
        {"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n" GET("/smuggled"), "HTTP/1.1 400 "},
        {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET("/smuggled"),
         "HTTP/1.1 400 "},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        ask_alone(talk, table[i].request);
        if (!expect_int(strncmp(talk->heard, table[i].status, strlen(table[i].status)), 0))
            print_error("%.40s: %s\n", table[i].request, talk->heard);
        expect_int(times(talk->heard, "HTTP/1.1 "), 1);
    }
    expect_int(talk_stats(talk).requests, 0);
}

STORY(what_the_server_says_itself, server_story, .handler = echo)

/* RFC 9112, 3.2.2 */
static int tell_host(td_http *http, void *arg)
{
    const char *host = td_http_field(http, "Host");

    return td_http_respond(http, 200, NULL, "text/plain", host, strlen(host));
}

static void host_story(struct talk *talk)
{
    say(talk, "GET http://real:81/a HTTP/1.1\r\nHost: other\r\n\r\n");
    hear(talk, "\r\n\r\nreal:81");
    ask_alone(talk, "GET http://u@real/a HTTP/1.1\r\nHost: other\r\n\r\n");
    hear(talk, "HTTP/1.1 400 ");
    ask_alone(talk, "GET http://real/a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    hear(talk, "HTTP/1.1 400 ");
}

STORY(the_targets_host_is_the_host, host_story, .handler = tell_host)

/* A connection that waits has neither a task nor a buffer. */
static void parked_story(struct talk *talk)
{
    td_stream *clients[50];
    td_loop_stats before, after;
    char answer[512];

    td_loop_statistics(&before);
    for (size_t i = 0; i < COUNT(clients); i++) {
        expect_int(td_connect(&clients[i], td_listener_address(talk->listener)), 0);
        expect_int(td_stream_write(clients[i], GET("/"), strlen(GET("/"))), (ssize_t)strlen(GET("/")));
        expect(td_stream_read(clients[i], answer, sizeof answer) > 0);
    }
    eventually(talk_stats(talk).parked == COUNT(clients) + 1);
    td_loop_statistics(&after);
    expect_int(after.tasks, before.tasks);
    expect_int(talk_stats(talk).leased, 0);
    for (size_t i = 0; i < COUNT(clients); i++)
        td_stream_close(clients[i]);
}

STORY(who_waits_has_no_task, parked_story, .handler = echo)

/* Whatever was under way when the client left: nothing stays behind. */
static void leave_at(struct talk *talk, const char *text, size_t size, bool unread)
{
    if (!talk_connect(talk))
        return;
    if (size > 0)
        expect_int(td_stream_write(talk->client, text, size), (ssize_t)size);
    if (unread)
        hear_more(talk);  /* what comes after it stays unread, and the close is a reset */
    talk_leave(talk);
}

static void resets_story(struct talk *talk)
{
    static const char conversation[] = GET("/a") "POST /body HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                                       "Content-Length: 5\r\n\r\nhello" "POST /body HTTP/1.1\r\nHost: h\r\n"
                                       "Transfer-Encoding: chunked\r\n\r\n"
                                       "3\r\nabc\r\n0\r\nA: b\r\n\r\n" GET("/slow") GET("/z");
    size_t held = 0;

    talk_leave(talk);
    for (int round = 0; round < 2; round++) {
        for (size_t size = 0; size < sizeof conversation; size++)
            leave_at(talk, conversation, size, round == 0 && size >= strlen(GET("/a")));
        eventually(talk_stats(talk).connections == 0);
        if (round == 1 && !SANITIZED)
            expect((long long)mallinfo2().uordblks - (long long)held < 16384);
        held = mallinfo2().uordblks;
    }
}

STORY(a_client_may_leave_at_each_byte, resets_story, .handler = echo)

static void limit_story(struct talk *talk)
{
    say(talk, GET("/a"));
    hear(talk, "/a");
    td_stream *first = talk->client;
    talk_connect(talk);
    say(talk, GET("/b"));
    hear(talk, "/b");
    td_stream *second = talk->client;
    talk_connect(talk);
    hear(talk, "HTTP/1.1 503 ");
    hear(talk, "Retry-After: ");
    hear_the_end(talk);
    talk_leave(talk);
    expect_int(talk_stats(talk).refused, 1);
    td_sleep(td_sec(6));          /* now the first has idled long enough to give way */
    talk_connect(talk);
    say(talk, GET("/c"));
    hear(talk, "/c");
    expect_int(talk_stats(talk).shed, 1);
    talk_leave(talk);
    talk->client = first;
    talk->size = 0;
    hear_the_end(talk);
    talk_leave(talk);
    talk->client = second;
    talk->ended = false;
    say(talk, GET("/d"));
    hear(talk, "/d");
}

STORY_IN_NO_TIME(beyond_the_limit_it_is_503_or_who_idles_gives_way, limit_story, .handler = echo, .opts.connections_max = 2)

/* So does a connection of HTTP/2, which idles in the same list. */
static void limit_of_h2_story(struct talk *talk)
{
    static const char request[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                  "\0\0\0\4\0\0\0\0\0"                                    /* SETTINGS */
                                  "\0\0\6\1\5\0\0\0\1\x82\x86\x84\x41\1h";                  /* HEADERS: GET / */
    td_stream *first = talk->client;

    expect_int(td_stream_write(first, request, sizeof request - 1), (ssize_t)sizeof request - 1);
    eventually(talk_stats(talk).requests == 1);
    td_sleep(td_sec(6));
    talk_connect(talk);
    say(talk, GET("/b"));
    hear(talk, "/b");
    expect_int(talk_stats(talk).shed, 1);
    expect_int(talk_stats(talk).refused, 0);
    talk_leave(talk);
    talk->client = first;
    talk->ended = false;
    talk->size = 0;
    hear_the_end(talk);
}

STORY_IN_NO_TIME(beyond_the_limit_idle_http2_gives_way_too, limit_of_h2_story, .handler = echo, .opts.connections_max = 1)

static int drain(void *arg)
{
    td_http_server_drain(((struct talk *)arg)->server);
    return td_http_server_wait_drained(((struct talk *)arg)->server);
}

static void drain_story(struct talk *talk)
{
    td_event *held = talk->arg;
    td_stream *idle;
    td_scope scope;

    td_event_init(held);
    say(talk, GET("/a"));
    hear(talk, "/a");
    idle = talk->client;
    talk_connect(talk);
    say(talk, GET("/held"));
    eventually(talk_stats(talk).leased == 1);
    td_scope_open(&scope);
    td_spawn(&scope, drain, talk);
    td_yield();
    td_event_set(held);
    hear(talk, "Connection: close\r\n\r\n/held");
    hear_the_end(talk);
    talk_leave(talk);
    talk->client = idle;
    talk->ended = false;
    hear_the_end(talk);
    talk_leave(talk);
    expect_int(td_scope_join(&scope), 0);
    talk_connect(talk);
    say(talk, GET("/late"));
    hear(talk, "Connection: close\r\n\r\n/late");
    hear_the_end(talk);
}

STORY(a_drain_ends_idle_connections_and_then_the_others, drain_story, .handler = echo, .arg = &(td_event){0})

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(pipelined_requests_are_answered_in_order),
        ON_BOTH(a_request_may_be_cut_anywhere),
        ON_BOTH(after_requests_max_the_connection_is_closed),
        ON_BOTH(connections_persist_as_was_agreed),
        ON_BOTH(head_says_the_length_and_sends_nothing),
        ON_BOTH(half_a_close_is_answered_in_full),
        ON_BOTH(what_the_server_says_itself),
        ON_BOTH(the_targets_host_is_the_host),
        ON_BOTH(who_waits_has_no_task),
        ON_BOTH(a_client_may_leave_at_each_byte),
        ON_BOTH(beyond_the_limit_it_is_503_or_who_idles_gives_way),
        ON_BOTH(beyond_the_limit_idle_http2_gives_way_too),
        ON_BOTH(a_drain_ends_idle_connections_and_then_the_others),
    };

    return cmocka_run_group_tests_name("http server", tests, NULL, NULL);
}
