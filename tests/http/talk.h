/* SPDX-License-Identifier: MIT */
/* A server and a client of it in one loop: what the client says, byte for byte, and what it hears. */
#ifndef TANDEM_TESTS_HTTP_TALK_H
#define TANDEM_TESTS_HTTP_TALK_H

#include "run/harness.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

struct talk {
    td_http_opts opts;
    td_http_handler handler;
    void *arg;                /* the story's own */
    td_listener *listener;
    td_http_server *server;
    td_stream *client;
    char heard[1 << 16];
    size_t size;
    bool ended;
};

static int talk_serve(void *arg)
{
    return td_http_server_run(((struct talk *)arg)->server);
}

static td_http_stats talk_stats(struct talk *talk)
{
    td_http_stats stats;

    td_http_server_statistics(talk->server, &stats);
    return stats;
}

UNUSED static bool talk_connect(struct talk *talk)
{
    talk->size = 0;
    talk->heard[0] = '\0';
    talk->ended = false;
    return expect_int(td_connect(&talk->client, td_listener_address(talk->listener)), 0);
}

UNUSED static void talk_leave(struct talk *talk)
{
    if (talk->client)
        td_stream_close(talk->client);
    talk->client = NULL;
}

/* Runs the story with a server; afterwards no connection is left. */
UNUSED static int talk_with(struct talk *talk, void (*story)(struct talk *talk))
{
    td_scope scope;

    talk->client = NULL;
    if (!expect_int(td_listen(&talk->listener, "127.0.0.1:0", NULL), 0))
        return -EIO;
    expect_int(td_http_server_open(&talk->server, talk->listener, &talk->opts, talk->handler, talk), 0);
    td_scope_open(&scope);
    td_spawn(&scope, talk_serve, talk);
    if (talk_connect(talk))
        story(talk);
    talk_leave(talk);
    eventually(talk_stats(talk).connections == 0);
    expect_int(talk_stats(talk).leased, 0);
    expect_int(talk_stats(talk).parked, 0);
    td_scope_cancel(&scope);
    td_scope_join(&scope);
    td_http_server_close(talk->server);
    td_listener_close(talk->listener);
    return 0;
}

UNUSED static void say(struct talk *talk, const char *text)
{
    expect_int(td_stream_write(talk->client, text, strlen(text)), (ssize_t)strlen(text));
}

/* Reads more of what the server says. False at its end. */
static bool hear_more(struct talk *talk)
{
    ssize_t n = -ENOBUFS;

    if (!talk->ended && talk->size + 1 < sizeof talk->heard)
        n = td_stream_read(talk->client, talk->heard + talk->size, sizeof talk->heard - 1 - talk->size);
    talk->ended = n <= 0;
    talk->size += n > 0 ? (size_t)n : 0;
    talk->heard[talk->size] = '\0';
    return n > 0;
}

/* Reads until the text was heard, and forgets what was heard up to its end. False when it never is. */
UNUSED static bool hear(struct talk *talk, const char *text)
{
    char *at;

    while (!(at = memmem(talk->heard, talk->size, text, strlen(text))))
        if (!hear_more(talk))
            break;
    if (!expect(at != NULL)) {
        print_error("expected \"%s\", heard \"%.300s\"\n", text, talk->heard);
        return false;
    }
    at += strlen(text);
    talk->size -= (size_t)(at - talk->heard);
    memmove(talk->heard, at, talk->size + 1);
    return true;
}

/* Reads up to the end of the connection; what was not heard before is in talk->heard. */
UNUSED static void hear_the_end(struct talk *talk)
{
    while (hear_more(talk))
        ;
}

UNUSED static unsigned times(const char *text, const char *wanted)
{
    unsigned n = 0;

    while ((text = strstr(text, wanted)) != NULL) {
        text += strlen(wanted);
        n++;
    }
    return n;
}

/* Connects anew, says this and nothing more, and hears all there is to hear. */
UNUSED static void ask_alone(struct talk *talk, const char *text)
{
    talk_leave(talk);
    if (!talk_connect(talk))
        return;
    say(talk, text);
    expect_int(td_stream_end(talk->client), 0);
    hear_the_end(talk);
}

#define STORY_WITH(options, name, story, ...) \
    static int name##_main(void *arg) \
    { \
        return talk_with(arg, story); \
    } \
    static void name(void **state) \
    { \
        struct talk *talk = calloc(1, sizeof *talk); \
        assert_non_null(talk); \
        *talk = (struct talk){__VA_ARGS__}; \
        int rc = run_with(state, options, name##_main, talk); \
        free(talk); \
        assert_int_equal(rc, 0); \
    }

#define STORY(name, ...) STORY_WITH(((td_opts){.loops = 1}), name, __VA_ARGS__)

/* The same in virtual time: what is waited for comes at once. */
#define STORY_IN_NO_TIME(name, ...) STORY_WITH(((td_opts){.virtual_time = true}), name, __VA_ARGS__)

#endif
