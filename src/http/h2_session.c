/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. Each open stream is nghttp2's user data of its id, and in `streams`; both end in stream_over. 2. A stream is
 * counted in `serving` from `request` to h2_session_release, whatever becomes of it meanwhile. 3. After `failed` no input is
 * looked at.
 */
#include "http/h2_session.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http/codec.h"

#define UNFOLDED_MAX 16            /* times head_bytes_max: that much of a list that is too large is counted, then it is a bomb */
#define CONNECTION_WINDOW (1 << 20)
#define OUTPUT_FIRST 2048

static struct h2_stream *stream_of(nghttp2_session *inner, int32_t id)
{
    return nghttp2_session_get_stream_user_data(inner, id);
}

/* Takes note of a brake; the session ends when the call that found it returns. */
static void pull_brake(struct h2_session *session, enum h2_brake brake)
{
    if (session->brake == H2_CALM)
        session->brake = brake;
}

static int begin_headers(nghttp2_session *inner, const nghttp2_frame *frame, void *arg)
{
    struct h2_session *session = arg;
    struct h2_stream *stream;

    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        stream = stream_of(inner, frame->hd.stream_id);
        if (stream)
            stream->list_bytes = stream->fields = 0;
        return 0;
    }
    stream = calloc(1, sizeof *stream);
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    stream->session = session;
    stream->id = frame->hd.stream_id;
    stream->refs = 1;
    list_init(&stream->link);
    list_push_back(&session->streams, &stream->link);
    session->count++;
    nghttp2_session_set_stream_user_data(inner, stream->id, stream);
    return 0;
}

/*
 * The pseudo-fields are complete, since they come first (RFC 9113, 8.3): they become the request line and the host. A CONNECT
 * without :protocol has no path, and is refused by who reads its empty target.
 */
static int start_head(struct h2_stream *stream)
{
    const char *method = http_field(&stream->pseudo, ":method"), *path = http_field(&stream->pseudo, ":path");
    const char *authority = http_field(&stream->pseudo, ":authority");
    int rc;

    if (stream->head.target_at > 0 || !method)
        return 0;
    path = path ? path : "";
    rc = head_start(&stream->head, method, strlen(method), path, strlen(path), 20);
    return rc < 0 || !authority ? rc : head_add(&stream->head, "host", 4, authority, strlen(authority));
}

/* RFC 9113, 8.3.1: a Host besides the authority must name the same; it is not joined with it. */
static int keep_field(struct h2_stream *stream, nghttp2_vec name, nghttp2_vec value)
{
    const char *key = (const char *)name.base, *text = (const char *)value.base, *authority;
    int rc;

    if (stream->told)
        return head_add(&stream->trailers, key, name.len, text, value.len);
    if (http_same(key, name.len, ":path") && memchr(text, '#', value.len))
        return -EINVAL;     /* RFC 9113, 8.3.1: path and query, and no fragment */
    if (name.len > 0 && *key == ':')
        return head_add(&stream->pseudo, key, name.len, text, value.len);
    rc = start_head(stream);
    if (rc < 0)
        return rc;
    authority = http_field(&stream->pseudo, ":authority");
    if (!authority || !http_same(key, name.len, "host"))
        return head_add(&stream->head, key, name.len, text, value.len);
    return http_same(text, value.len, authority) ? 0 : -EINVAL;
}

static int field(nghttp2_session *inner, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value, uint8_t flags,
                 void *arg)
{
    struct h2_session *session = arg;
    struct h2_stream *stream = stream_of(inner, frame->hd.stream_id);
    nghttp2_vec key = nghttp2_rcbuf_get_buf(name), text = nghttp2_rcbuf_get_buf(value);
    int rc;

    if (!stream)
        return 0;
    stream->list_bytes += key.len + text.len + 32;
    if (stream->list_bytes > UNFOLDED_MAX * session->limits.head_bytes_max) {
        pull_brake(session, h2_guard_count(&session->guard, H2_HEADERS, session->now));
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (stream->list_bytes > session->limits.head_bytes_max || stream->fields++ >= session->limits.fields_max) {
        stream->fault = (struct http_fault){431, "the header fields are too large"};
        return stream->told ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
    }
    rc = keep_field(stream, key, text);
    if (rc == -EINVAL)
        (void)nghttp2_submit_rst_stream(inner, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_PROTOCOL_ERROR);
    return rc < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

/* RFC 9113, 8.2: a request with a malformed field is malformed; nghttp2 would leave the field out and go on. */
static int malformed_field(nghttp2_session *inner, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                           uint8_t flags, void *arg)
{
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* RFC 9218, 4: u=0 is first and u=7 last; 3 unless said. Streams of one urgency share in turns, whatever `i` says. */
static void settle_priority(struct h2_session *session, struct h2_stream *stream)
{
    const char *wish = http_field(&stream->head, "priority");
    const char *urgency = wish ? strstr(wish, "u=") : NULL;
    nghttp2_extpri priority = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};

    if (urgency && urgency[2] >= '0' && urgency[2] <= '7')
        priority.urgency = (uint32_t)(urgency[2] - '0');
    (void)nghttp2_session_change_extpri_stream_priority(session->inner, stream->id, &priority, 1);
}

/* What is wrong with a head that is well-formed. */
static struct http_fault head_fault(const struct h2_stream *stream)
{
    const char *scheme = http_field(&stream->pseudo, ":scheme"), *protocol = http_field(&stream->pseudo, ":protocol");

    if (stream->fault.status)
        return stream->fault;
    if (strcmp(http_method(&stream->head), "CONNECT") == 0 && !protocol)
        return (struct http_fault){501, "this server is no proxy"};
    if (protocol && strcmp(protocol, "websocket") != 0)       /* RFC 8441, 4; RFC 9220, 3 */
        return (struct http_fault){501, "websocket is the only protocol that is spoken over CONNECT"};
    if (scheme && strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
        return (struct http_fault){400, "the scheme must be http or https"};
    return http_head_fault(&stream->head);
}

static void tell_request(struct h2_session *session, struct h2_stream *stream)
{
    if (session->serving >= session->limits.streams_max) {
        session->refused++;
        (void)nghttp2_submit_rst_stream(session->inner, 0, stream->id, NGHTTP2_REFUSED_STREAM);
        return;
    }
    if (start_head(stream) < 0) {
        h2_stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    stream->head.has_body = !stream->ended;
    stream->fault = head_fault(stream);
    stream->told = true;
    settle_priority(session, stream);
    session->serving++;
    session->requests++;
    session->hooks->request(session, stream);
}

static int frame_came(nghttp2_session *inner, const nghttp2_frame *frame, void *arg)
{
    struct h2_session *session = arg;
    struct h2_stream *stream;

    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    stream = stream_of(inner, frame->hd.stream_id);
    if (!stream || stream->over)
        return 0;
    stream->ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        tell_request(session, stream);
    if (stream->ended && stream->told && !stream->over)
        session->hooks->end(session, stream);
    return 0;
}

static int data_came(nghttp2_session *inner, uint8_t flags, int32_t id, const uint8_t *bytes, size_t size, void *arg)
{
    struct h2_session *session = arg;
    struct h2_stream *stream = stream_of(inner, id);

    if (nghttp2_session_consume_connection(inner, size) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!stream || !stream->told)
        return 0;
    stream->received += size;
    session->hooks->data(session, stream, bytes, size);
    return 0;
}

static void stream_over(struct h2_session *session, struct h2_stream *stream, uint32_t code)
{
    stream->over = true;
    stream->error = code;
    list_remove(&stream->link);
    session->count--;
    if (stream->told)
        session->hooks->gone(session, stream, code);
    h2_stream_release(stream);
}

static int stream_closed(nghttp2_session *inner, int32_t id, uint32_t code, void *arg)
{
    struct h2_stream *stream = stream_of(inner, id);

    if (stream)
        stream_over(arg, stream, code);
    return 0;
}

static int frame_sent(nghttp2_session *inner, const nghttp2_frame *frame, void *arg)
{
    struct h2_session *session = arg;
    struct h2_stream *stream;

    if (frame->hd.type == NGHTTP2_DATA)
        h2_guard_sent(&session->guard, frame->hd.length);
    if (frame->hd.type != NGHTTP2_RST_STREAM)
        return 0;
    stream = stream_of(inner, frame->hd.stream_id);
    if (!stream || !stream->own_reset)
        pull_brake(session, h2_guard_count(&session->guard, H2_MADE_RESET, session->now));
    return 0;
}

static const nghttp2_session_callbacks *make_callbacks(nghttp2_session_callbacks **made)
{
    if (nghttp2_session_callbacks_new(made) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(*made, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(*made, field);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(*made, malformed_field);
    nghttp2_session_callbacks_set_on_frame_recv_callback(*made, frame_came);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(*made, data_came);
    nghttp2_session_callbacks_set_on_stream_close_callback(*made, stream_closed);
    nghttp2_session_callbacks_set_on_frame_send_callback(*made, frame_sent);
    return *made;
}

/* nghttp2's memory is ours, so that what is said of memory that is short holds for it, and is tested. */
static void *inner_malloc(size_t size, void *arg)
{
    return malloc(size);
}

static void inner_free(void *memory, void *arg)
{
    free(memory);
}

static void *inner_calloc(size_t count, size_t size, void *arg)
{
    return calloc(count, size);
}

static void *inner_realloc(void *memory, size_t size, void *arg)
{
    return realloc(memory, size);
}

static int make_inner(struct h2_session *session)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    nghttp2_mem memory = {NULL, inner_malloc, inner_free, inner_calloc, inner_realloc};
    int rc = NGHTTP2_ERR_NOMEM;

    if (make_callbacks(&callbacks) && nghttp2_option_new(&option) == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);  /* ours is stricter, and in our time */
        rc = nghttp2_session_server_new3(&session->inner, callbacks, session, option, &memory);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return rc == 0 ? 0 : -ENOMEM;
}

static int begin(struct h2_session *session)
{
    const struct h2_limits *limits = &session->limits;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits->window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->head_bytes_max},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},     /* RFC 8441 */
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},       /* RFC 9218: no tree that a client could grow */
    };

    if (nghttp2_submit_settings(session->inner, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) != 0 ||
        nghttp2_session_set_local_window_size(session->inner, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) != 0)
        return -ENOMEM;
    return 0;
}

int h2_session_open(struct h2_session **out, const struct h2_limits *limits, const struct h2_hooks *hooks, void *owner)
{
    struct h2_session *session = calloc(1, sizeof *session);

    if (!session)
        return -ENOMEM;
    session->limits = *limits;
    session->hooks = hooks;
    session->owner = owner;
    session->brake = H2_CALM;
    list_init(&session->streams);
    h2_guard_init(&session->guard, limits->head_bytes_max);
    if (make_inner(session) < 0 || begin(session) < 0) {
        h2_session_close(session);
        return -ENOMEM;
    }
    *out = session;
    return 0;
}

void h2_session_close(struct h2_session *session)
{
    session->failed = true;
    while (!list_empty(&session->streams))
        stream_over(session, container_of(session->streams.next, struct h2_stream, link), NGHTTP2_CANCEL);
    nghttp2_session_del(session->inner);
    free(session);
}

void h2_session_fail(struct h2_session *session, uint32_t code)
{
    if (session->failed)
        return;
    session->failed = true;
    (void)nghttp2_session_terminate_session(session->inner, code);
}

/* What a negative answer of nghttp2 means to the peer. */
static uint32_t code_of(ssize_t rc)
{
    switch (rc) {
    case NGHTTP2_ERR_NOMEM:
    case NGHTTP2_ERR_CALLBACK_FAILURE:
        return NGHTTP2_INTERNAL_ERROR;
    case NGHTTP2_ERR_FLOODED:
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
        return NGHTTP2_ENHANCE_YOUR_CALM;
    default:
        return NGHTTP2_PROTOCOL_ERROR;
    }
}

int h2_session_receive(struct h2_session *session, const uint8_t *bytes, size_t size, td_time now)
{
    ssize_t used = 0;

    if (session->failed)
        return -EPROTO;
    session->now = now;
    pull_brake(session, h2_guard_look(&session->guard, bytes, size, now));
    if (session->brake == H2_CALM && !session->guard.error)
        used = nghttp2_session_mem_recv(session->inner, bytes, size);
    if (session->brake != H2_CALM)
        h2_session_fail(session, NGHTTP2_ENHANCE_YOUR_CALM);
    else if (session->guard.error)
        h2_session_fail(session, session->guard.error);
    else if (used < 0)
        h2_session_fail(session, code_of(used));
    return session->failed ? -EPROTO : 0;
}

/* A larger block with the same beginning; the old one when memory is short. */
static struct block *larger_block(struct block *block, size_t used, size_t most)
{
    size_t size = block->size * 4 < most ? block->size * 4 : most;
    struct block *larger = block_new(size);

    if (!larger)
        return block;
    memcpy(larger->bytes, block->bytes, used);
    block_release(block);
    return larger;
}

int h2_session_send(struct h2_session *session, size_t bytes_max, td_time now, struct block **out)
{
    struct block *block = NULL;
    size_t used = 0;

    session->now = now;
    for (;;) {
        size_t step;

        if (session->rest_size == 0) {
            ssize_t made = nghttp2_session_mem_send(session->inner, &session->rest);

            if (session->brake != H2_CALM)
                h2_session_fail(session, NGHTTP2_ENHANCE_YOUR_CALM);
            if (made <= 0)
                break;
            session->rest_size = (size_t)made;
        }
        if (!block)
            block = block_new(session->rest_size < OUTPUT_FIRST ? OUTPUT_FIRST : bytes_max);
        if (!block)
            return -ENOMEM;
        if (used == block->size && used < bytes_max)
            block = larger_block(block, used, bytes_max);
        if (used == block->size)
            break;
        step = block->size - used < session->rest_size ? block->size - used : session->rest_size;
        memcpy(block->bytes + used, session->rest, step);
        used += step;
        session->rest += step;
        session->rest_size -= step;
    }
    if (!nghttp2_session_want_read(session->inner))
        session->failed = true;   /* GOAWAY has been said, by us or by nghttp2 itself, and no stream is left */
    if (!block)
        return 0;
    block->size = used;
    *out = block;
    return 1;
}

bool h2_session_over(const struct h2_session *session)
{
    if (session->rest_size > 0 || nghttp2_session_want_write(session->inner))
        return false;
    return session->failed || !nghttp2_session_want_read(session->inner);
}

size_t h2_session_backlog(const struct h2_session *session)
{
    return nghttp2_session_get_outbound_queue_size(session->inner);
}

void h2_session_drain(struct h2_session *session)
{
    if (!session->warned)
        (void)nghttp2_submit_shutdown_notice(session->inner);
    else if (!session->drained)
        (void)nghttp2_submit_goaway(session->inner, NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(session->inner), NGHTTP2_NO_ERROR, NULL, 0);
    session->drained = session->warned;
    session->warned = true;
}

void h2_session_ping(struct h2_session *session)
{
    (void)nghttp2_submit_ping(session->inner, NGHTTP2_FLAG_NONE, NULL);
}

void h2_session_release(struct h2_session *session)
{
    assert(session->serving > 0);
    session->serving--;
}
