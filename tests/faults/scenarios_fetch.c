/* SPDX-License-Identifier: MIT */
/* A fetch from a place of our own, while something of ours fails; what fails inside libcurl is its own business. */
#include <stdio.h>
#include <string.h>

#include "faults/scenarios.h"

static int answer(void *arg)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nX-Field: here\r\nContent-Length: 5\r\n\r\nhello";
    td_listener *listener = arg;
    char request[4096];
    td_stream *stream;
    int rc;

    while ((rc = td_accept(listener, &stream)) == 0) {
        while (td_stream_read(stream, request, sizeof request) > 0)
            if (td_stream_write(stream, text, sizeof text - 1) < 0)
                break;
        td_stream_close(stream);
    }
    return rc;
}

static int take(const void *data, size_t size, void *arg)
{
    size_t *taken = arg;

    *taken += size;
    return 0;
}

static ssize_t give(void *data, size_t size, void *arg)
{
    memcpy(data, "abc", 3);
    return 3;
}

/* Collected, and handed over piece by piece. An answer is the whole answer. */
static int fetch_twice(const char *url)
{
    td_http_fetch_opts opts = {.proxy = "", .fields = "X-A: b\r\n", .type = "text/plain"};
    td_http_response *response;
    size_t taken = 0, size;
    int rc = td_http_fetch(&response, url, &opts);

    if (!truth((rc == 0) == (response != NULL)) || rc < 0)
        return rc;
    truth(strcmp(td_http_response_body(response, &size), "hello") == 0 && size == 5);
    truth(strcmp(td_http_response_field(response, "x-field"), "here") == 0);
    td_http_response_free(response);
    opts.send = give;
    opts.send_size = 3;
    opts.receive = take;
    opts.arg = &taken;
    rc = td_http_fetch(&response, url, &opts);
    if (rc < 0)
        return rc;
    truth(taken == 5);
    td_http_response_free(response);
    return 0;
}

static int fetch_all(void *arg)
{
    td_listener *listener;
    td_scope scope;
    char url[100];
    int rc = td_listen(&listener, "127.0.0.1:0", NULL);

    if (rc < 0)
        return rc;
    snprintf(url, sizeof url, "http://%s/", td_listener_address(listener));
    td_scope_open(&scope);
    td_scope_deadline(&scope, td_after(td_sec(3)));
    rc = td_spawn(&scope, answer, listener);
    if (rc == 0)
        rc = fetch_twice(url);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    td_listener_close(listener);
    return rc;
}

const struct scenario scenarios_fetch[] = {
    {"fetch", fetch_all, .slow = true},
    {NULL},
};
