/* SPDX-License-Identifier: MIT */
/*
 * WebSockets over TLS: wss:// to our own server, in both shapes, and only to the server that was meant.
 */
#include "net/tls_pair.h"
#include "ws/hall.h"

const char *certificates;

static int secret_story(void *arg)
{
    struct hall *hall = arg;
    td_ws_connect_opts opts = {0}, stranger = {0};
    td_ws *ws;

    hall->http.tls = server_tls("server", (td_tls_server_opts){.alpn = "http/1.1"});
    opts.tls = client_tls((td_tls_client_opts){0});
    if (!hall_open(hall))
        return -EIO;
    if (expect_int(td_ws_connect(&ws, hall->url, &opts), 0)) {
        expect_echo(ws, TD_WS_TEXT, "hello", 5);
        expect_echo(ws, TD_WS_BINARY, hall->url, sizeof hall->url);
        td_ws_free(ws);
    }
    expect_int(td_ws_connect(&ws, hall->url, &stranger), -EKEYREJECTED);  /* the system knows no such authority */
    hall_close(hall);
    td_tls_close(opts.tls);
    td_tls_close(hall->http.tls);
    return 0;
}

static void a_client_talks_in_secret(void **state)
{
    assert_int_equal(run(state, secret_story, &(struct hall){0}), 0);
    assert_int_equal(run(state, secret_story, &(struct hall){.conversation = true}), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {ON_BOTH(a_client_talks_in_secret)};

    if (argc < 2)
        return 2;
    certificates = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
