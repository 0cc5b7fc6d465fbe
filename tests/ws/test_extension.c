/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ws/extension.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define DEFLATE "permessage-deflate"
#define ALONE "; server_no_context_takeover; client_no_context_takeover"

static const struct ws_deflate_wish shared = {false, 15}, shared_10 = {false, 10}, own = {true, 15}, own_12 = {true, 12};

/* RFC 7692, 7.1: what an offer is answered; NULL: declined. */
static void answers_offers(void **state)
{
    static const struct { const struct ws_deflate_wish *wish; const char *offer, *answer; } cases[] = {
        {&shared, DEFLATE, DEFLATE ALONE},
        {&own, DEFLATE, DEFLATE},
        {&shared, DEFLATE "; client_max_window_bits", DEFLATE ALONE},
        {&shared_10, DEFLATE "; client_max_window_bits", DEFLATE ALONE "; server_max_window_bits=10; client_max_window_bits=10"},
        {&shared_10, DEFLATE, DEFLATE ALONE "; server_max_window_bits=10"},
        {&own_12, DEFLATE "; client_max_window_bits=9", DEFLATE "; server_max_window_bits=12; client_max_window_bits=9"},
        {&own_12, DEFLATE "; client_max_window_bits=15; server_max_window_bits=15",
         DEFLATE "; server_max_window_bits=12; client_max_window_bits=12"},
        {&own, DEFLATE "; client_max_window_bits=15", DEFLATE},
        {&own, DEFLATE "; server_max_window_bits=15", DEFLATE "; server_max_window_bits=15"},
        {&own, DEFLATE "; server_max_window_bits=8", DEFLATE "; server_max_window_bits=8"},
        {&own, DEFLATE "; client_max_window_bits=8", DEFLATE "; client_max_window_bits=8"},
        {&own, DEFLATE "; server_no_context_takeover", DEFLATE "; server_no_context_takeover"},
        {&own, DEFLATE "; client_no_context_takeover", DEFLATE "; client_no_context_takeover"},
        {&own, DEFLATE ALONE "; server_max_window_bits=9", DEFLATE ALONE "; server_max_window_bits=9"},
        /* the next offer, where the first cannot be taken */
        {&own, DEFLATE "; server_max_window_bits=16, " DEFLATE, DEFLATE},
        {&own, DEFLATE "; x, " DEFLATE "; server_max_window_bits=10, " DEFLATE, DEFLATE "; server_max_window_bits=10"},
        {&own, "x-webkit-deflate-frame, mux; max-channels=4; flow-control, " DEFLATE, DEFLATE},
        /* white space, quotes, empty elements of the list */
        {&own, " \t, ," DEFLATE " \t;\tserver_max_window_bits = \"1\\0\" ,,", DEFLATE "; server_max_window_bits=10"},
        {&own, DEFLATE ";client_max_window_bits=\"12\";server_no_context_takeover",
         DEFLATE "; server_no_context_takeover; client_max_window_bits=12"},
        /* declined: unknown, twice, bad values */
        {&own, DEFLATE "; unknown", NULL}, {&own, DEFLATE "; unknown=1", NULL},
        {&own, DEFLATE "; server_max_window_bit=10", NULL},
        {&own, DEFLATE "; Server_no_context_takeover", NULL}, {&own, DEFLATE "; server_no_context_takeover=1", NULL},
        {&own, DEFLATE "; client_no_context_takeover=\"true\"", NULL},
        {&own, DEFLATE "; server_no_context_takeover; server_no_context_takeover", NULL},
        {&own, DEFLATE "; client_max_window_bits; client_max_window_bits=10", NULL},
        {&own, DEFLATE "; server_max_window_bits=10; server_max_window_bits=10", NULL},
        {&own, DEFLATE "; server_max_window_bits", NULL}, {&own, DEFLATE "; server_max_window_bits=7", NULL},
        {&own, DEFLATE "; server_max_window_bits=16", NULL}, {&own, DEFLATE "; server_max_window_bits=08", NULL},
        {&own, DEFLATE "; server_max_window_bits=010", NULL}, {&own, DEFLATE "; server_max_window_bits=+9", NULL},
        {&own, DEFLATE "; server_max_window_bits=1", NULL}, {&own, DEFLATE "; server_max_window_bits=150", NULL},
        {&own, DEFLATE "; server_max_window_bits=10000000000000000000009", NULL},
        {&own, DEFLATE "; client_max_window_bits=0x9", NULL}, {&own, DEFLATE "; client_max_window_bits=1a", NULL},
        {&own, "permessage-bzip2", NULL}, {&own, "x-" DEFLATE, NULL}, {&own, DEFLATE "x", NULL},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ws_deflate_terms terms;
        char answer[WS_EXTENSION_MAX] = "";
        int rc = ws_extension_answer(cases[i].offer, cases[i].wish, &terms, answer);

        if (rc != (cases[i].answer != NULL) || (cases[i].answer && strcmp(cases[i].answer, answer) != 0))
            fail_msg("%s: %d, %s", cases[i].offer, rc, answer);
        if (rc == 1) {
            assert_int_equal(terms.server_keeps, !strstr(answer, "server_no"));
            assert_int_equal(terms.client_keeps, !strstr(answer, "client_no"));
            assert_true(terms.server_bits <= cases[i].wish->window_bits && terms.server_bits >= 8);
        }
    }
}

/* RFC 6455, 9.1: who sends what has no meaning at all is refused. Also behind an offer that is good. */
static void refuses_bad_syntax(void **state)
{
    static const char *const offers[] = {
        "", " ", ",", ";", "=", DEFLATE ";", DEFLATE "; ;", DEFLATE "; server_max_window_bits=", DEFLATE "; =10", DEFLATE " x",
        DEFLATE "; server_max_window_bits=\"10", DEFLATE "; server_max_window_bits=\"\"",
        DEFLATE "; server_max_window_bits=\"1 0\"",
        DEFLATE "; server_max_window_bits=10 10", DEFLATE "; a=\"\\", DEFLATE "; a=\"b\"c", DEFLATE "/x", "\"" DEFLATE "\"",
        DEFLATE "=1", DEFLATE "\x7F", DEFLATE "\xC3\xA9", DEFLATE ", " DEFLATE "; ", DEFLATE ", (", "a b", "a; b=c=d",
    };

    for (size_t i = 0; i < COUNT(offers); i++) {
        struct ws_deflate_terms terms;
        char answer[WS_EXTENSION_MAX];

        if (ws_extension_answer(offers[i], &own, &terms, answer) != -EPROTO)
            fail_msg("%s is taken", offers[i]);
        assert_int_equal(ws_extension_agree(offers[i], &own, &terms), -EPROTO);
    }
}

static void offers_what_is_wished(void **state)
{
    static const struct { const struct ws_deflate_wish *wish; const char *offer; } cases[] = {
        {&own, DEFLATE "; client_max_window_bits"},
        {&own_12, DEFLATE "; server_max_window_bits=12; client_max_window_bits=12"},
        {&shared, DEFLATE ALONE "; client_max_window_bits"},
        {&shared_10, DEFLATE ALONE "; server_max_window_bits=10; client_max_window_bits=10"},
    };
    char offer[WS_EXTENSION_MAX];

    for (size_t i = 0; i < COUNT(cases); i++) {
        ws_extension_offer(cases[i].wish, offer);
        assert_string_equal(offer, cases[i].offer);
    }
}

/* RFC 7692, 7.1: what a client may be answered, and what it then has; the rest fails the connection. */
static void agrees_to_answers(void **state)
{
    static const struct { const struct ws_deflate_wish *wish; const char *answer; struct ws_deflate_terms terms; } good[] = {
        {&own, DEFLATE, {true, true, 15, 15}},
        {&own, DEFLATE ALONE, {false, false, 15, 15}},
        {&own, DEFLATE "; server_max_window_bits=8; client_max_window_bits=9", {true, true, 8, 9}},
        {&own_12, DEFLATE "; server_max_window_bits=12", {true, true, 12, 12}},
        {&own_12, DEFLATE "; server_max_window_bits=9; client_max_window_bits=15", {true, true, 9, 12}},
        {&shared, DEFLATE "; server_no_context_takeover", {false, false, 15, 15}},
        {&shared, DEFLATE ALONE "; client_max_window_bits=\"10\"", {false, false, 15, 10}},
    };
    static const struct { const struct ws_deflate_wish *wish; const char *answer; } bad[] = {
        {&shared, DEFLATE}, {&shared, DEFLATE "; client_no_context_takeover"}, {&own_12, DEFLATE},
        {&own_12, DEFLATE "; server_max_window_bits=13"}, {&own, DEFLATE "; client_max_window_bits"},
        {&own, DEFLATE "; server_max_window_bits"}, {&own, DEFLATE "; server_max_window_bits=7"}, {&own, DEFLATE "; x"},
        {&own, DEFLATE "; client_max_window_bits=16"}, {&own, DEFLATE "; server_no_context_takeover=0"}, {&own, "mux"},
        {&own, DEFLATE "; client_no_context_takeover; client_no_context_takeover"}, {&own, DEFLATE ", " DEFLATE},
        {&own, DEFLATE ", mux"}, {&own, "mux, " DEFLATE},
    };
    struct ws_deflate_terms terms;

    for (size_t i = 0; i < COUNT(good); i++) {
        assert_int_equal(ws_extension_agree(good[i].answer, good[i].wish, &terms), 1);
        assert_int_equal(terms.server_keeps, good[i].terms.server_keeps);
        assert_int_equal(terms.client_keeps, good[i].terms.client_keeps);
        assert_int_equal(terms.server_bits, good[i].terms.server_bits);
        assert_int_equal(terms.client_bits, good[i].terms.client_bits);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (ws_extension_agree(bad[i].answer, bad[i].wish, &terms) != -EPROTO)
            fail_msg("%s is agreed to", bad[i].answer);
}

/* Whatever two of us wish, they agree, and both know the same terms. */
static void our_two_sides_agree(void **state)
{
    for (unsigned i = 0; i < 2 * 7 * 2 * 7; i++) {
        struct ws_deflate_wish client = {i % 2, (uint8_t)(9 + i / 2 % 7)}, server = {i / 14 % 2, (uint8_t)(9 + i / 28)};
        struct ws_deflate_terms a, b;
        char offer[WS_EXTENSION_MAX], answer[WS_EXTENSION_MAX];

        ws_extension_offer(&client, offer);
        assert_int_equal(ws_extension_answer(offer, &server, &a, answer), 1);
        assert_int_equal(ws_extension_agree(answer, &client, &b), 1);
        assert_int_equal(a.server_keeps, b.server_keeps);
        assert_int_equal(a.client_keeps, b.client_keeps);
        assert_int_equal(a.server_bits, b.server_bits);
        assert_true(b.client_bits <= a.client_bits && a.server_bits <= client.window_bits);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_offers), cmocka_unit_test(refuses_bad_syntax), cmocka_unit_test(offers_what_is_wished),
        cmocka_unit_test(agrees_to_answers), cmocka_unit_test(our_two_sides_agree),
    };

    return cmocka_run_group_tests_name("ws extension", tests, NULL, NULL);
}
