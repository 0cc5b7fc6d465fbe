/* SPDX-License-Identifier: MIT */
/*
 * Our WebSocket client, for servers that we did not write: connects to an echo and compares.
 *
 *     echo_client URL [--backend uring|epoll] [--protocol NAME]
 *
 * Exit status 0 when every message came back as it went; 1 with a sentence otherwise.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tandem.h>

enum { LARGEST = 1 << 20 };

struct errand {
    const char *url, *protocol;
};

/* Sends `size` bytes and compares what comes back. */
static int there_and_back(td_ws *ws, td_ws_kind kind, char *data, size_t size)
{
    td_message answer;
    int rc = td_ws_send(ws, kind, data, size);

    if (rc < 0)
        return rc;
    rc = td_ws_receive(ws, &answer);
    if (rc < 0)
        return rc;
    if (rc == 0 || answer.kind != kind || answer.size != size || (size > 0 && memcmp(answer.data, data, size) != 0)) {
        fprintf(stderr, "echo_client: %zu bytes did not come back as they went\n", size);
        return -EBADMSG;
    }
    return 0;
}

static int all_sizes(td_ws *ws, char *data)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, LARGEST};
    int rc = 0;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && rc == 0; i++) {
        rc = there_and_back(ws, TD_WS_TEXT, data, sizes[i]);
        if (rc == 0)
            rc = there_and_back(ws, TD_WS_BINARY, data, sizes[i]);
    }
    for (int i = 0; i < 500 && rc == 0; i++)
        rc = there_and_back(ws, TD_WS_TEXT, data, (size_t)i);
    return rc;
}

static int talk(void *arg)
{
    const struct errand *errand = arg;
    td_ws_connect_opts opts = {.message_bytes_max = LARGEST, .protocols = errand->protocol};
    char *data = malloc(LARGEST);
    td_ws *ws;
    int rc;

    if (!data)
        return -ENOMEM;
    for (size_t i = 0; i < LARGEST; i++)
        data[i] = (char)('a' + i % 26);
    rc = td_ws_connect(&ws, errand->url, &opts);
    if (rc == 0) {
        rc = all_sizes(ws, data);
        if (rc == 0 && errand->protocol && (!td_ws_protocol(ws) || strcmp(td_ws_protocol(ws), errand->protocol) != 0))
            rc = -EPROTO;
        td_ws_free(ws);
    }
    free(data);
    return rc;
}

int main(int argc, char **argv)
{
    struct errand errand = {0};
    td_opts opts = {.stall_after = TD_FOREVER};
    int rc;

    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--backend") == 0)
            opts.backend = strcmp(argv[++i], "uring") == 0 ? TD_BACKEND_URING : TD_BACKEND_EPOLL;
        else if (i + 1 < argc && strcmp(argv[i], "--protocol") == 0)
            errand.protocol = argv[++i];
        else
            errand.url = argv[i];
    }
    if (!errand.url) {
        fprintf(stderr, "echo_client: call it with a URL\n");
        return 2;
    }
    rc = td_run_with(&opts, talk, &errand);
    if (rc < 0)
        fprintf(stderr, "echo_client: %s: %s\n", errand.url, td_strerror(rc));
    return rc < 0;
}
