/* SPDX-License-Identifier: MIT */
/*
 * A BIO without memory of its own: OpenSSL reads from the input of the lower stream where it lies, and what it writes goes into
 * the lower stream's queue. Neither waits.
 */
#include <string.h>

#include "net/tls.h"

static int take(BIO *bio, char *data, int size)
{
    struct tls_stream *stream = BIO_get_data(bio);
    int taken = 0;

    BIO_clear_retry_flags(bio);
    while (taken < size) {
        size_t there;
        unsigned char *bytes = stream_peek(stream->lower, &there);

        if (!bytes)
            break;
        there = there < (size_t)(size - taken) ? there : (size_t)(size - taken);
        memcpy(data + taken, bytes, there);
        stream_consume(stream->lower, there);
        taken += (int)there;
    }
    if (taken > 0)
        return taken;
    if (stream->lower->input_end == 1) {
        BIO_set_retry_read(bio);
        return -1;
    }
    return 0;
}

/* The lower queue has no bound here: who encrypts looks first how full it is, and a handshake's messages are few. */
static int put(BIO *bio, const char *data, int size)
{
    struct tls_stream *stream = BIO_get_data(bio);
    struct block *block = block_new((size_t)size);
    int rc;

    BIO_clear_retry_flags(bio);
    if (!block)
        return -1;
    memcpy(block->bytes, data, (size_t)size);
    rc = stream_post(stream->lower, block, SIZE_MAX);
    block_release(block);
    if (rc < 0 && !stream->broken)
        stream->broken = rc;
    return rc < 0 ? -1 : size;
}

static long control(BIO *bio, int what, long number, void *pointer)
{
    struct tls_stream *stream = BIO_get_data(bio);

    switch (what) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP:
        return 1;
    case BIO_CTRL_EOF:
        return !stream->lower->input && stream->lower->input_end <= 0;
    default:
        return 0;
    }
}

BIO_METHOD *tls_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "a stream");

    if (!method)
        return NULL;
    if (BIO_meth_set_read(method, take) && BIO_meth_set_write(method, put) && BIO_meth_set_ctrl(method, control))
        return method;
    BIO_meth_free(method);
    return NULL;
}

BIO *tls_bio_new(BIO_METHOD *method, struct tls_stream *stream)
{
    BIO *bio = BIO_new(method);

    if (!bio)
        return NULL;
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    return bio;
}
