/* SPDX-License-Identifier: MIT */
/* The streams of a session: answers to frames, and credit. */
#include <errno.h>
#include <stdlib.h>

#include "http/h2_fields.h"
#include "http/h2_session.h"

static ssize_t pull(nghttp2_session *inner, int32_t id, uint8_t *to, size_t room, uint32_t *flags, nghttp2_data_source *source,
                    void *arg)
{
    struct h2_session *session = arg;
    struct h2_stream *stream = source->ptr;
    bool last = false;
    size_t size = session->hooks->pull(session, stream, to, room, &last);

    stream->taken += size;
    if (size == 0 && !last) {
        stream->waiting = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (last) {
        stream->finished = true;
        *flags |= NGHTTP2_DATA_FLAG_EOF | (stream->trailing ? NGHTTP2_DATA_FLAG_NO_END_STREAM : 0u);
    }
    return (ssize_t)size;
}

static int errno_of(int rc)
{
    return rc == 0 ? 0 : rc == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPIPE;
}

int h2_stream_answer(struct h2_stream *stream, int status, const char *lines, bool last)
{
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = pull};
    struct h2_fields fields;
    int rc;

    if (stream->over)
        return -EPIPE;
    if (stream->answered)
        return -EINVAL;
    rc = h2_fields_read(&fields, status, lines);
    if (rc < 0)
        return rc;
    if (status < 200)
        rc = nghttp2_submit_headers(stream->session->inner, NGHTTP2_FLAG_NONE, stream->id, NULL, fields.list, fields.count, NULL);
    else
        rc = nghttp2_submit_response(stream->session->inner, stream->id, fields.list, fields.count, last ? NULL : &provider);
    h2_fields_free(&fields);
    if (rc == 0 && status >= 200) {
        stream->answered = true;
        stream->finished = last;
    }
    return errno_of(rc);
}

int h2_stream_trailers(struct h2_stream *stream, const char *lines)
{
    struct h2_fields fields;
    int rc;

    if (stream->over)
        return -EPIPE;
    rc = h2_fields_read(&fields, 0, lines);
    if (rc < 0)
        return rc;
    rc = nghttp2_submit_trailer(stream->session->inner, stream->id, fields.list, fields.count);
    h2_fields_free(&fields);
    stream->trailing = rc == 0;
    return errno_of(rc);
}

void h2_stream_resume(struct h2_stream *stream)
{
    if (stream->over || !stream->waiting)
        return;
    stream->waiting = false;
    (void)nghttp2_session_resume_data(stream->session->inner, stream->id);
}

void h2_stream_consume(struct h2_stream *stream, size_t size)
{
    if (!stream->over && size > 0)
        (void)nghttp2_session_consume_stream(stream->session->inner, stream->id, size);
}

void h2_stream_reset(struct h2_stream *stream, uint32_t code)
{
    if (stream->over || stream->own_reset)
        return;
    stream->own_reset = true;
    (void)nghttp2_submit_rst_stream(stream->session->inner, NGHTTP2_FLAG_NONE, stream->id, code);
}

void h2_stream_hold(struct h2_stream *stream)
{
    stream->refs++;
}

void h2_stream_release(struct h2_stream *stream)
{
    if (--stream->refs > 0)
        return;
    head_clear(&stream->pseudo);
    head_clear(&stream->head);
    head_clear(&stream->trailers);
    free(stream);
}
