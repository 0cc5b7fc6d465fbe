/* SPDX-License-Identifier: MIT */
/*
 * The parts of a handshake that know no socket: whose pages may connect, subprotocols, addresses, what a client asks and which
 * answers it takes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>

#include <cmocka.h>

#include "ws/answer.h"
#include "ws/ask.h"
#include "ws/origin.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void pages_of_the_same_host_may_connect(void **state)
{
    static const struct { const char *origin, *host; bool allowed; } cases[] = {
        {"http://a.example", "a.example", true}, {"https://a.example", "a.example", true},
        {"http://A.Example", "a.eXAMPLE", true}, {"http://a.example:8080", "a.example:8080", true},
        {"http://a.example:80", "a.example", true}, {"https://a.example:443", "a.example", true},
        {"https://a.example", "a.example:443", true}, {"http://[::1]:8080", "[::1]:8080", true},
        {"http://a.example", "b.example", false}, {"http://a.example", "a.example:8080", false},
        {"http://a.example:8080", "a.example", false}, {"https://a.example", "a.example:80", false},
        {"http://a.example.evil", "a.example", false}, {"http://evil/a.example", "a.example", false},
        {"http://a.example@evil", "a.example", false}, {"null", "a.example", false}, {"", "a.example", false},
        {"a.example", "a.example", false}, {"http://", "", false}, {"http://a.example http://b.example", "a.example", false},
        {"http://a.example", NULL, false}, {"http://a.example/", "a.example", false}, {"http://a:b", "a", false},
        {"http://a:65536", "a:65536", false}, {"http://a:", "a", false},
    };

    for (size_t i = 0; i < COUNT(cases); i++)
        if (ws_origin_allowed(cases[i].origin, cases[i].host, NULL) != cases[i].allowed)
            fail_msg("%s at %s", cases[i].origin, cases[i].host ? cases[i].host : "no host");
}

static void pages_of_listed_origins_may_connect(void **state)
{
    static const char list[] = "https://a.example, https://b.example:8443,http://c.example";

    assert_true(ws_origin_allowed("https://a.example", "x", list));
    assert_true(ws_origin_allowed("https://A.example:443", "x", list));
    assert_true(ws_origin_allowed("https://b.example:8443", "x", list));
    assert_true(ws_origin_allowed("http://c.example", "x", list));
    assert_false(ws_origin_allowed("http://a.example", "x", list));
    assert_false(ws_origin_allowed("https://b.example", "x", list));
    assert_false(ws_origin_allowed("https://x", "x", list));  /* a list says it all */
    assert_false(ws_origin_allowed("null", "x", list));
    assert_true(ws_origin_allowed("null", "x", "null"));
    assert_true(ws_origin_allowed("null", "x", "*"));
    assert_true(ws_origin_allowed("http://anything", NULL, "*"));
    assert_false(ws_origin_allowed("http://a", "a", ""));
}

static void the_best_protocol_that_was_offered_is_chosen(void **state)
{
    char chosen[WS_PROTOCOL_MAX], longest[WS_PROTOCOL_MAX + 1];

    assert_int_equal(ws_protocol_choose("v1, v2", "v3, v2, v1", chosen), 0);
    assert_string_equal(chosen, "v2");
    assert_int_equal(ws_protocol_choose("V2", "v2", chosen), 0);
    assert_string_equal(chosen, "");
    assert_int_equal(ws_protocol_choose(NULL, "v2", chosen), 0);
    assert_string_equal(chosen, "");
    assert_int_equal(ws_protocol_choose("v1", NULL, chosen), 0);
    assert_string_equal(chosen, "");
    assert_int_equal(ws_protocol_choose("", "v1", chosen), -EINVAL);
    assert_int_equal(ws_protocol_choose("v1,", "v1", chosen), -EINVAL);
    assert_int_equal(ws_protocol_choose("v1 v2", "v1", chosen), -EINVAL);
    assert_int_equal(ws_protocol_choose("v(1)", "v1", chosen), -EINVAL);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(ws_protocol_choose(longest, longest, chosen), -EINVAL);
}

static void addresses_are_read_strictly(void **state)
{
    static const char *const bad[] = {"", "ws", "ws://", "http://a", "ws://:80", "ws://a:", "ws://a:b", "ws://a:123456",
                                      "ws://u@a", "ws://[::1", "ws://[]", "ws://a#f", "ws://a/x#f", "ws://a/ b",
                                      "ws://a/\r\nX: y", "ws://a b"};
    struct ws_url url;

    for (size_t i = 0; i < COUNT(bad); i++)
        if (ws_url_parse(bad[i], &url) != -EINVAL)
            fail_msg("\"%s\" was taken", bad[i]);
    assert_int_equal(ws_url_parse("ws://a.example", &url), 0);
    assert_string_equal(url.place, "a.example:80");
    assert_string_equal(url.field, "a.example");
    assert_string_equal(url.target, "");
    assert_false(url.tls);
    assert_int_equal(ws_url_parse("WSS://a.example/chat?x=1", &url), 0);
    assert_string_equal(url.place, "a.example:443");
    assert_string_equal(url.target, "/chat?x=1");
    assert_true(url.tls);
    assert_int_equal(ws_url_parse("ws://[::1]:8080?q", &url), 0);
    assert_string_equal(url.place, "[::1]:8080");
    assert_string_equal(url.host, "::1");
    assert_string_equal(url.field, "[::1]:8080");
}

static void a_request_says_what_it_must(void **state)
{
    struct ws_ask ask = {"KEY", "X-A: b\r\n", "v1", NULL};
    struct ws_url url;
    char text[1024];
    size_t size;

    assert_int_equal(ws_url_parse("ws://a:81?q", &url), 0);
    size = ws_ask_write(text, sizeof text, &url, &ask);
    assert_int_equal(size, strlen(text));
    assert_string_equal(text, "GET /?q HTTP/1.1\r\nHost: a:81\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Protocol: v1\r\nX-A: b\r\n\r\n");
    assert_true(strlen(text) < ws_ask_size(&url, &ask));
    assert_true(ws_fields_valid(NULL) && ws_fields_valid("") && ws_fields_valid("A: b\r\nC:\r\n"));
    assert_false(ws_fields_valid("A: b"));
    assert_false(ws_fields_valid("A: b\r\n\r\n"));
    assert_false(ws_fields_valid("A: b\nC: d\r\n"));
    assert_false(ws_fields_valid("A : b\r\n"));
    assert_false(ws_fields_valid("host: b\r\n"));
    assert_false(ws_fields_valid("Sec-WebSocket-Key: b\r\n"));
}

#define LINE "HTTP/1.1 101 Switching Protocols\r\n"
#define UP "Upgrade: websocket\r\n"
#define CON "Connection: Upgrade\r\n"
#define ACC "Sec-WebSocket-Accept: right\r\n"

static void only_a_proper_answer_is_taken(void **state)
{
    static const struct { const char *head; int rc; } cases[] = {
        {LINE UP CON ACC "\r\n", 0},
        {"HTTP/1.1 101\r\n" UP CON ACC "\r\n", 0},
        {LINE "upgrade:  WebSocket \r\nCONNECTION: keep-alive\r\nconnection: upgrade\r\n" ACC "X: y\r\n\r\n", 0},
        {LINE UP CON ACC "Sec-WebSocket-Protocol: v1\r\n\r\n", 0},
        {LINE UP CON ACC "Sec-WebSocket-Protocol: v2\r\n\r\n", -EPROTO},
        {LINE UP CON ACC "Sec-WebSocket-Protocol: \r\n\r\n", -EPROTO},
        {LINE UP CON ACC "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", -EPROTO},
        {LINE CON ACC "\r\n", -EPROTO}, {LINE UP ACC "\r\n", -EPROTO}, {LINE UP CON "\r\n", -EPROTO},
        {LINE UP CON "Sec-WebSocket-Accept: wrong\r\n\r\n", -EPROTO},
        {LINE UP CON "Sec-WebSocket-Accept: RIGHT\r\n\r\n", -EPROTO},
        {LINE UP CON ACC ACC "\r\n", -EPROTO}, {LINE UP UP CON ACC "\r\n", -EPROTO},
        {LINE "Upgrade: h2c\r\n" CON ACC "\r\n", -EPROTO}, {LINE "Upgrade: websocket, h2c\r\n" CON ACC "\r\n", -EPROTO},
        {LINE UP "Connection: close\r\n" ACC "\r\n", -EPROTO},
        {LINE UP CON ACC " folded\r\n\r\n", -EPROTO}, {LINE UP CON ACC "no colon\r\n\r\n", -EPROTO},
        {LINE UP CON ACC "A : b\r\n\r\n", -EPROTO}, {LINE UP CON ACC ": b\r\n\r\n", -EPROTO},
        {LINE UP CON ACC "A: \x01\r\n\r\n", -EPROTO}, {LINE UP CON ACC "A: b\nC: d\r\n\r\n", -EPROTO},
        {"HTTP/1.0 101 Switching Protocols\r\n" UP CON ACC "\r\n", -EPROTO}, {"HTTP/2 101 x\r\n" UP CON ACC "\r\n", -EPROTO},
        {"HTTP/1.1 1011 x\r\n" UP CON ACC "\r\n", -EPROTO}, {"HTTP/1.1 10 x\r\n" UP CON ACC "\r\n", -EPROTO}, {"\r\n", -EPROTO},
        {"HTTP/1.1 200 OK\r\n" UP CON ACC "\r\n", -EACCES}, {"HTTP/1.1 403 Forbidden\r\n\r\n", -EACCES},
        {"HTTP/1.1 302 Found\r\nLocation: ws://b\r\n\r\n", -EACCES},
    };
    struct ws_asked asked = {"right", "v1, v3", NULL};
    struct ws_answer answer;

    for (size_t i = 0; i < COUNT(cases); i++)
        if (ws_answer_read(cases[i].head, strlen(cases[i].head), &asked, &answer) != cases[i].rc)
            fail_msg("case %zu: %s", i, cases[i].head);
    asked.deflate = &(struct ws_deflate_wish){false, 15};
    assert_int_equal(ws_answer_read(LINE UP CON ACC "\r\n", strlen(LINE UP CON ACC "\r\n"), &asked, &answer), 0);
    assert_false(answer.deflate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_of_the_same_host_may_connect),
        cmocka_unit_test(pages_of_listed_origins_may_connect),
        cmocka_unit_test(the_best_protocol_that_was_offered_is_chosen),
        cmocka_unit_test(addresses_are_read_strictly),
        cmocka_unit_test(a_request_says_what_it_must),
        cmocka_unit_test(only_a_proper_answer_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
