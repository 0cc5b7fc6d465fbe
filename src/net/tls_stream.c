/* SPDX-License-Identifier: MIT */
/*
 * An encrypted stream: what it does with the bytes of the lower one.
 *
 * Invariants: 1. `sending` while `under_way` bytes of the queue are encrypted and lie in the lower stream's queue; no more are
 * encrypted meanwhile, so a slow peer holds one batch twice and not all. 2. After an error OpenSSL is not called again.
 * 3. Between calls nothing is kept for an idle connection but OpenSSL's session: ciphertext lies in the lower stream, plaintext
 * in this one.
 *
 * A call of OpenSSL takes from the lower stream, which may receive and call us at once: `pumping` says that we are there.
 */
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls.h"

#define BATCH_BYTES (4 * TLS_RECORD)
#define DIRECT_BYTES 8192         /* a piece so large is encrypted where it lies; smaller ones share a record */
#define PUMP_BYTES (64 * 1024)    /* in one go, before others get their turn */
#define DATA_A_MESSAGE 65536

static struct tls_stream *tls_of(td_stream *base)
{
    return container_of(base, struct tls_stream, base);
}

void tls_push(td_stream *lower)
{
    int refused = 0;  /* once may be an interruption */

    while (refused < 2 && lower->kind->send_now && stream_may_send(lower)) {
        ssize_t n = lower->kind->send_now(lower);

        if (n == -EAGAIN)
            refused++;
        else
            stream_sent(lower, n);
    }
}

/* After a call failed for good. */
static int give_up(struct tls_stream *stream)
{
    int rc = tls_failure(stream->tls, stream);

    if (!stream->broken)
        stream->broken = rc;
    return rc;
}

/* Data came: so much more may come between it (see between_data in net/tls_context.c). */
static void allow_messages(struct tls_stream *stream, size_t bytes)
{
    stream->data_bytes += (uint32_t)bytes;
    while (stream->data_bytes >= DATA_A_MESSAGE) {
        stream->data_bytes -= DATA_A_MESSAGE;
        if (stream->messages_left < TLS_MESSAGES)
            stream->messages_left++;
    }
}

/* Decrypts into the room of `input`. Returns bytes, or 0 when there was none, with *end: 1, more may come; else what it is. */
static size_t fill(struct tls_stream *stream, struct input *input, int *end)
{
    *end = 1;
    while (input->end < input->room) {
        int n, error;

        ERR_clear_error();
        n = SSL_read(stream->ssl, input->bytes + input->end, (int)(input->room - input->end));
        if (stream->broken) {
            *end = give_up(stream);
            break;
        }
        if (n > 0) {
            input->end += (uint32_t)n;
            continue;
        }
        error = SSL_get_error(stream->ssl, n);
        if (error == SSL_ERROR_ZERO_RETURN)
            *end = 0;
        else if (error != SSL_ERROR_WANT_READ)
            *end = give_up(stream);
        break;
    }
    allow_messages(stream, input->end);
    return input->end;
}

/* Decrypts once. Returns bytes that were handed on; 0 when there is nothing at present, or nothing any more. */
static size_t decrypt(struct tls_stream *stream)
{
    size_t there = stream->lower->input_bytes + (size_t)SSL_pending(stream->ssl), done;
    struct input *input;
    int end;

    if (stream->broken) {
        stream_input_ended(&stream->base, stream->broken);
        return 0;
    }
    there = there < 1 ? 1 : there < TLS_RECORD ? there : TLS_RECORD;  /* plaintext is smaller than its ciphertext */
    input = input_new(NULL, there);
    if (!input) {
        stream->broken = -ENOMEM;
        stream_input_ended(&stream->base, -ENOMEM);
        return 0;
    }
    input->end = 0;
    done = fill(stream, input, &end);
    if (done > 0)
        stream_input_came(&stream->base, input);
    else
        input_free(input);
    if (end <= 0)
        stream_input_ended(&stream->base, end);
    return done;
}

static void pump(struct tls_stream *stream)
{
    size_t done = 0, n = 1;

    if (stream->pumping)
        return;
    stream->pumping = true;
    while (n > 0 && done < PUMP_BYTES && stream->base.reading) {
        n = decrypt(stream);
        done += n;
    }
    stream->pumping = false;
    if (n > 0 && stream->base.reading)
        loop_at_turn_end(stream->base.loop, &stream->pump);
}

static void pump_again(struct turn_end *end)
{
    pump(container_of(end, struct tls_stream, pump));
}

static void lower_came(td_stream *lower)
{
    pump(lower->owner);
}

/* The lower stream's input, and its end. Who waits for the plaintext counts for the loop, this does not. */
static void hear(struct tls_stream *stream, bool on)
{
    if (on == (stream->lower->on_input != NULL))
        return;
    stream->pumping = true;  /* not from within */
    if (!on)
        stream->base.loop->io_pending++;
    stream_on_input(stream->lower, on ? lower_came : NULL, stream);
    if (on)
        stream->base.loop->io_pending--;
    stream->pumping = false;
}

static void tls_read(td_stream *base, bool on)
{
    struct tls_stream *stream = tls_of(base);
    bool within = stream->pumping;

    if (!on || within)
        return;  /* `reading` says it to the pump */
    hear(stream, true);
    pump(stream);
}

/* One record from the queue, `skip` bytes behind its head. Returns bytes of plaintext, or a negative errno. */
static ssize_t encrypt(struct tls_stream *stream, unsigned *block, size_t *offset)
{
    td_stream *base = &stream->base;
    unsigned char *scratch = stream->tls->scratch;
    const unsigned char *from = scratch;
    size_t size = 0;
    int n;

    while (*block < base->count && size < TLS_RECORD) {
        const struct block *one = base->queue[(base->head + *block) % base->room];
        size_t left = one->size - *offset, part = left < TLS_RECORD - size ? left : TLS_RECORD - size;
        bool direct = size == 0 && (part >= DIRECT_BYTES || *block + 1 == base->count);

        if (direct)
            from = one->bytes + *offset;
        else
            memcpy(scratch + size, one->bytes + *offset, part);
        size += part;
        *offset += part;
        if (*offset == one->size) {
            ++*block;
            *offset = 0;
        }
        if (direct)
            break;
    }
    ERR_clear_error();
    n = SSL_write(stream->ssl, from, (int)size);
    return n > 0 && !stream->broken ? (ssize_t)size : give_up(stream);
}

/* Encrypts a batch. Returns 0 or a negative errno, which is not yet said to those who wait. */
static int encrypt_batch(struct tls_stream *stream)
{
    td_stream *base = &stream->base;
    unsigned block = 0;
    size_t offset = base->head_sent;

    stream->under_way = 0;
    while (block < base->count && stream->under_way < BATCH_BYTES) {
        ssize_t n = stream->broken ? stream->broken : encrypt(stream, &block, &offset);

        if (n < 0)
            return (int)n;
        stream->under_way += (size_t)n;
    }
    base->in_flight = block + (offset > 0);
    base->sending = base->in_flight > 0;
    return 0;
}

/* The lower queue is empty: the batch is out. Returns its bytes. */
static size_t batch_is_out(struct tls_stream *stream)
{
    size_t sent = stream->under_way;

    stream->base.sending = false;
    stream->under_way = 0;
    return sent;
}

static void tls_flush(td_stream *base)
{
    struct tls_stream *stream = tls_of(base);

    if (stream_may_send(base)) {
        int rc = encrypt_batch(stream);

        if (rc < 0)
            stream_sent(base, rc);
    }
}

static void lower_sent(td_stream *lower)
{
    struct tls_stream *stream = lower->owner;
    td_stream *base = &stream->base;

    if (lower->error) {
        stream->broken = stream->broken ? stream->broken : lower->error;
        base->sending = false;
        if (!base->error)
            stream_sent(base, lower->error);
        return;
    }
    if (lower->count > 0 || stream->pushing)
        return;
    if (base->sending)
        stream_sent(base, (ssize_t)batch_is_out(stream));
    if (stream->ending && lower->count == 0) {  /* who was told of the batch may have said the end just now */
        stream->ending = false;
        (void)td_stream_end(lower);
    }
    tls_flush(base);
}

static ssize_t tls_send_now(td_stream *base)
{
    struct tls_stream *stream = tls_of(base);
    int rc = encrypt_batch(stream);

    if (rc < 0)
        return rc;
    stream->pushing = true;
    tls_push(stream->lower);
    stream->pushing = false;
    if (stream->lower->error)
        return stream->lower->error;
    return stream->lower->count == 0 ? (ssize_t)batch_is_out(stream) : -EAGAIN;
}

/* Says our end (RFC 8446, 6.1). Returns 0 or a negative errno. */
static int say_end(struct tls_stream *stream)
{
    if (stream->broken)
        return stream->broken;
    ERR_clear_error();
    if (SSL_shutdown(stream->ssl) < 0 && SSL_get_error(stream->ssl, -1) == SSL_ERROR_SSL)
        return give_up(stream);
    ERR_clear_error();
    return 0;
}

/* The lower stream's end follows when the close_notify has left: for peers that wait for that one. */
static int tls_end(td_stream *base)
{
    struct tls_stream *stream = tls_of(base);
    int rc = say_end(stream);

    if (rc == 0 && stream->lower->count > 0)
        stream->ending = true;
    else if (rc == 0)
        rc = td_stream_end(stream->lower);
    return rc;
}

static void tls_abort(td_stream *base)
{
    stream_break(tls_of(base)->lower);
}

/* A peer that lost nothing is told of the end, so that it can tell this from being cut off. */
static void tls_close(td_stream *base)
{
    struct tls_stream *stream = tls_of(base);
    td_stream *lower = stream->lower;

    hear(stream, false);
    lower->on_sent = NULL;
    tls_push(lower);
    if (base->bytes == stream->under_way && lower->count == 0 && say_end(stream) == 0)
        tls_push(lower);
    base->reading = false;
    list_remove(&stream->pump.link);  /* closing the lower one may wait, and the turn's ends run meanwhile */
    SSL_set_shutdown(stream->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);  /* or the session would count as damaged */
    SSL_free(stream->ssl);
    ERR_clear_error();
    td_stream_close(lower);
    stream_fini(base);
    tls_release(stream->tls);
    free(stream);
}

const struct stream_kind tls_kind = {
    .name = "tls",
    .read = tls_read,
    .flush = tls_flush,
    .send_now = tls_send_now,
    .end = tls_end,
    .abort = tls_abort,
    .close = tls_close,
};

void tls_stream_begin(struct tls_stream *stream)
{
    stream->established = true;
    stream->messages_left = TLS_MESSAGES;
    stream->pump.run = pump_again;
    stream->lower->on_sent = lower_sent;
    stream->lower->owner = stream;
}
