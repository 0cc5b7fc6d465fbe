/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "net/stream.h"

#define JOIN_BYTES_MAX (16 * 1024)  /* a record of TLS: pieces that fit one are not sent as several */

static size_t total_of(const struct iovec *iov, int count)
{
    size_t total = 0;

    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    return total;
}

/* Leaves out the first `skip` bytes. Returns how many places of `out` are filled. */
static int rest_of(const struct iovec *iov, int count, size_t skip, struct iovec *out)
{
    int n = 0;

    for (int i = 0; i < count && n < SENDER_IOV; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        out[n++] = (struct iovec){(char *)iov[i].iov_base + skip, iov[i].iov_len - skip};
        skip = 0;
    }
    return n;
}

static ssize_t write_to_socket(td_stream *stream, const struct iovec *iov, int count, size_t total)
{
    struct td_task *self = task_self("td_stream_writev");
    size_t done = 0;
    int rc = stream_wait_sent(stream, 0);

    if (rc < 0)
        return rc;
    if (stream->writing)
        fail("td_stream_writev: another task is writing to this stream; let one task write, or a channel order them");
    stream->writing = true;
    while (rc >= 0 && done < total) {
        struct iovec rest[SENDER_IOV];
        struct msghdr message = {.msg_iov = rest, .msg_iovlen = (size_t)rest_of(iov, count, done, rest)};
        struct io_op op = {.kind = IO_SEND, .file = stream_socket(stream), .message = &message};

        rc = loop_io(self, &op, "a peer to read");
        if (rc == -EINTR || rc == -EAGAIN)
            rc = 0;
        done += rc > 0 ? (size_t)rc : 0;
    }
    stream->writing = false;
    if (stream->count > 0)
        loop_at_turn_end(stream->loop, &stream->flush);
    return done > 0 || rc >= 0 ? (ssize_t)done : rc;
}

static ssize_t write_joined(td_stream *stream, const struct iovec *iov, int count, size_t total)
{
    char *data = malloc(total ? total : 1);
    size_t at = 0;
    ssize_t n;

    if (!data)
        return -ENOMEM;
    for (int i = 0; i < count; at += iov[i++].iov_len)
        if (iov[i].iov_len > 0)
            memcpy(data + at, iov[i].iov_base, iov[i].iov_len);
    n = td_stream_write(stream, data, total);
    free(data);
    return n;
}

static ssize_t write_one_by_one(td_stream *stream, const struct iovec *iov, int count)
{
    size_t done = 0;

    for (int i = 0; i < count; i++) {
        ssize_t n = td_stream_write(stream, iov[i].iov_base, iov[i].iov_len);

        done += n > 0 ? (size_t)n : 0;
        if (n < 0 || (size_t)n < iov[i].iov_len)
            return done > 0 ? (ssize_t)done : n;
    }
    return (ssize_t)done;
}

ssize_t td_stream_writev(td_stream *stream, const struct iovec *iov, int count)
{
    size_t total = total_of(iov, count);

    if (count < 0 || total > SSIZE_MAX)
        return -EINVAL;
    if (stream_socket(stream))
        return write_to_socket(stream, iov, count, total);
    return total <= JOIN_BYTES_MAX ? write_joined(stream, iov, count, total) : write_one_by_one(stream, iov, count);
}
