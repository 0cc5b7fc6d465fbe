/* SPDX-License-Identifier: MIT */
/*
 * The client: it connects, shakes hands, and is a conversation from then on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "loop/sim.h"
#include "ws/answer.h"
#include "ws/ask.h"
#include "ws/upgrade.h"

#define KEY_BYTES 16

int ws_random(struct loop *loop, void *data, size_t size)
{
    unsigned char *bytes = data;

    if (loop_is_simulated(loop)) {
        for (size_t i = 0; i < size; i++)
            bytes[i] = (unsigned char)dice_next(&loop->dice);
        return 0;
    }
    for (size_t have = 0; have < size;) {
        ssize_t n = getrandom(bytes + have, size - have, 0);

        if (n < 0 && errno != EINTR)
            return -errno;
        have += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Encrypts the stream. The context of one connection alone is not needed any more when that stands. */
static int encrypt(td_stream **stream, const struct ws_url *url, td_tls *tls)
{
    td_tls *own = NULL;
    int rc = tls ? 0 : td_tls_client(&own, &(td_tls_client_opts){0});

    if (rc == 0)
        rc = td_stream_tls_connect(stream, tls ? tls : own, url->host);
    if (own)
        td_tls_close(own);
    return rc;
}

static int ask(td_stream *stream, const struct ws_url *url, const struct ws_ask *asked)
{
    size_t room = ws_ask_size(url, asked), size;
    char *text = malloc(room);
    ssize_t sent;

    if (!text)
        return -ENOMEM;
    size = ws_ask_write(text, room, url, asked);
    sent = td_stream_write(stream, text, size);
    free(text);
    return sent == (ssize_t)size ? 0 : sent < 0 ? (int)sent : -ECANCELED;
}

/* Takes the answer's head off the input, and not a byte behind it. Returns its size, or a negative errno. */
static ssize_t hear(td_stream *stream, char *head)
{
    size_t have = 0;

    for (;;) {
        int rc = stream_wait_input(stream);
        size_t size, used = 0;
        unsigned char *in = stream_peek(stream, &size);

        if (rc <= 0)
            return rc < 0 ? rc : -EPROTO;  /* it hung up */
        while (used < size && have < WS_ANSWER_MAX && (have < 4 || memcmp(head + have - 4, "\r\n\r\n", 4) != 0))
            head[have++] = (char)in[used++];
        stream_consume(stream, used);
        if (have >= 4 && memcmp(head + have - 4, "\r\n\r\n", 4) == 0)
            return (ssize_t)have;
        if (have == WS_ANSWER_MAX)
            return -EPROTO;
    }
}

static int shake_hands(td_stream *stream, const struct ws_url *url, const td_ws_connect_opts *opts, struct ws_answer *answer)
{
    struct ws_deflate_wish wish = endpoint_wish(opts->deflate, opts->deflate_window_bits);
    struct ws_asked expected = {.protocols = opts->protocols, .deflate = opts->deflate ? &wish : NULL};
    char key[WS_KEY_SIZE], extension[WS_EXTENSION_MAX], *head;
    struct ws_ask asked = {key, opts->fields, opts->protocols, opts->deflate ? extension : NULL};
    unsigned char bytes[KEY_BYTES];
    ssize_t size;
    int rc = ws_random(stream->loop, bytes, sizeof bytes);

    if (rc < 0)
        return rc;
    ws_key_text(bytes, key);
    ws_extension_offer(&wish, extension);
    rc = ws_accept_key(key, strlen(key), expected.accept);
    if (rc == 0)
        rc = ask(stream, url, &asked);
    if (rc < 0)
        return rc;
    head = malloc(WS_ANSWER_MAX);
    if (!head)
        return -ENOMEM;
    size = hear(stream, head);
    rc = size < 0 ? (int)size : ws_answer_read(head, (size_t)size, &expected, answer);
    free(head);
    return rc;
}

static td_ws *make(td_stream *stream, const td_ws_connect_opts *given, const struct ws_agreement *agreed)
{
    td_ws_opts opts = {.message_bytes_max = given->message_bytes_max, .queue_bytes_max = given->queue_bytes_max,
                       .queue_messages_max = given->queue_messages_max, .queue_age_max = given->queue_age_max,
                       .when_full = given->when_full, .idle_ping = given->idle_ping,
                       .deflate_bytes_min = given->deflate_bytes_min, .shared_messages = given->shared_messages};
    struct ws_endpoint *endpoint = endpoint_get(NULL, stream->loop, NULL, &opts, agreed);
    td_ws *ws = endpoint ? ws_new(stream, endpoint, true) : NULL;

    if (ws && ws_begin_work(ws) < 0) {
        free(ws);
        ws = NULL;
    }
    if (!ws && endpoint)
        endpoint_put(endpoint);
    if (ws)
        endpoint_watch(ws);
    return ws;
}

int td_ws_connect(td_ws **ws, const char *text, const td_ws_connect_opts *given)
{
    td_ws_connect_opts opts = given ? *given : (td_ws_connect_opts){0};
    struct ws_answer answer;
    struct ws_url url;
    td_stream *stream;
    int rc = ws_url_parse(text, &url);

    task_self(__func__);
    if (rc < 0)
        return rc;
    if (!ws_fields_valid(opts.fields) || (opts.protocols && (!*opts.protocols || !ws_protocols_valid(opts.protocols))))
        return -EINVAL;
    rc = td_connect_to(&stream, url.place, NULL);
    if (rc < 0)
        return rc;
    rc = url.tls ? encrypt(&stream, &url, opts.tls) : 0;
    if (rc == 0)
        rc = shake_hands(stream, &url, &opts, &answer);
    if (rc == 0) {
        struct ws_agreement agreed = {*answer.protocol ? answer.protocol : NULL, answer.deflate, answer.terms};

        *ws = make(stream, &opts, &agreed);
        rc = *ws ? 0 : -ENOMEM;
    }
    if (rc < 0)
        td_stream_close(stream);
    return rc;
}
