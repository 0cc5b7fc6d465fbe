/* SPDX-License-Identifier: MIT */
/*
 * Sending: frames, and the budgets of those who are slow to read them.
 *
 * A data frame's block has the time of its birth behind its bytes, for the budget of age. A block in the queue that has none
 * is told by its first byte: each of our data frames is final, and neither a control frame's opcode nor the head of an HTTP
 * answer look like that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ws/connection.h"

#define CLASSES 16  /* of compression: by window bits */

struct td_ws_frame {
    size_t refs;
    struct block *block;      /* as a server sends it, uncompressed */
    enum ws_opcode opcode;
    size_t size;              /* of the payload, which is the block's end */
    struct block *packed[CLASSES];  /* compressed, or the plain block where that is no larger; NULL: not asked for yet */
};

static struct block *frame_block(const uint8_t *mask, unsigned first, const void *data, size_t size, td_time born)
{
    struct block *block = size < SIZE_MAX / 4 ? block_new(WS_HEADER_MAX + size + sizeof born) : NULL;

    if (!block)
        return NULL;
    block->size = ws_encode_frame(block->bytes, first, mask, data, size);
    memcpy(block->bytes + block->size, &born, sizeof born);
    return block;
}

static struct block *masked_block(td_ws *ws, unsigned first, const void *data, size_t size)
{
    uint8_t mask[WS_MASK_SIZE];  /* RFC 6455, 5.3: nobody may predict it */

    if (ws->client && ws_random(ws->stream->loop, mask, sizeof mask) < 0)
        return NULL;
    return frame_block(ws->client ? mask : NULL, first, data, size, ws->stream->loop->sched.looked_at);
}

static struct block *message_block(td_ws *ws, enum ws_opcode opcode, const void *data, size_t size)
{
    const uint8_t *payload;
    size_t packed = ws_pack(ws, data, size, &payload);

    if (packed)
        return masked_block(ws, WS_FIN | WS_COMPRESSED | (unsigned)opcode, payload, packed);
    return masked_block(ws, WS_FIN | (unsigned)opcode, data, size);
}

int ws_send_control(td_ws *ws, enum ws_opcode opcode, const void *payload, size_t size)
{
    struct block *block = masked_block(ws, WS_FIN | (unsigned)opcode, payload, size);
    int rc;

    if (!block)
        return -ENOMEM;
    /* A close comes behind what was said before it. So does a pong, unless the peer is slow: then it may not wait. */
    if (opcode != WS_CLOSE && ws->stream->sending)
        rc = stream_post_first(ws->stream, block);
    else
        rc = stream_post(ws->stream, block, SIZE_MAX);
    block_release(block);
    return rc;
}

int ws_hold_back(td_ws *ws)
{
    td_stream *stream = ws->stream;

    if (stream_data_at(stream) - stream_fixed(stream) < STREAM_FIRST_MAX)
        return 0;
    return stream_wait_sent(stream, stream_charge(stream) - 1);
}

td_ws_frame *td_ws_frame_new(td_ws_kind kind, const void *data, size_t size)
{
    td_ws_frame *frame = malloc(sizeof *frame);
    enum ws_opcode opcode = kind == TD_WS_TEXT ? WS_TEXT : WS_BINARY;

    if (!frame)
        return NULL;
    *frame = (td_ws_frame){.refs = 1, .opcode = opcode, .size = size};
    frame->block = frame_block(NULL, WS_FIN | (unsigned)opcode, data, size, task_self(__func__)->sched->looked_at);
    if (!frame->block) {
        free(frame);
        return NULL;
    }
    return frame;
}

void td_ws_frame_release(td_ws_frame *frame)
{
    if (--frame->refs > 0)
        return;
    for (unsigned i = 0; i < CLASSES; i++)
        block_release(frame->packed[i]);
    block_release(frame->block);
    free(frame);
}

static const unsigned char *payload_of(const td_ws_frame *frame)
{
    return frame->block->bytes + frame->block->size - frame->size;
}

/* The frame's block of this connection's class of compression, made when the first asks. NULL: there is no memory for it. */
static struct block *packed_block(td_ws *ws, td_ws_frame *frame)
{
    struct block **packed = &frame->packed[ws->endpoint->agreed.terms.server_bits];
    const uint8_t *payload;
    size_t size;

    if (*packed)
        return *packed;
    size = ws_pack(ws, payload_of(frame), frame->size, &payload);
    if (size) {
        *packed = masked_block(ws, WS_FIN | WS_COMPRESSED | (unsigned)frame->opcode, payload, size);
    } else {
        *packed = frame->block;
        frame->block->refs++;
    }
    return *packed;
}

/* The frame as it goes to this connection. Gives the caller a reference; NULL when memory is short. */
static struct block *block_for(td_ws *ws, td_ws_frame *frame)
{
    bool deflate = ws->endpoint->agreed.deflate && !ws_sends_keep(ws) && frame->size >= ws->endpoint->opts.deflate_bytes_min;
    struct block *block;

    /* Where context is kept, a message that is compressed must also leave: one that may be refused is not. */
    if (ws->client)
        return deflate ? message_block(ws, frame->opcode, payload_of(frame), frame->size)
                       : masked_block(ws, WS_FIN | (unsigned)frame->opcode, payload_of(frame), frame->size);
    block = deflate ? packed_block(ws, frame) : frame->block;
    if (block)
        block->refs++;
    return block;
}

static int send_block(td_ws *ws, struct block *block)
{
    int rc;

    if (ws->endpoint->server)
        return http_send(ws->endpoint->server, ws->stream, block, WS_QUEUE_BYTES);
    rc = stream_post(ws->stream, block, SIZE_MAX);
    return rc < 0 || stream_charge(ws->stream) <= WS_QUEUE_BYTES ? rc : stream_wait_sent(ws->stream, WS_QUEUE_BYTES);
}

int td_ws_send(td_ws *ws, td_ws_kind kind, const void *data, size_t size)
{
    int rc = task_checkpoint(task_self(__func__));
    struct block *block;

    if (rc < 0)
        return rc;
    if (ws->close_sent)
        return -EPIPE;
    block = message_block(ws, kind == TD_WS_TEXT ? WS_TEXT : WS_BINARY, data, size);
    rc = block ? send_block(ws, block) : -ENOMEM;
    block_release(block);
    if (rc == -ENOMEM && ws_sends_keep(ws))
        stream_break(ws->stream);  /* the peer would miss what the next message refers to */
    return rc;
}

/* Budgets */

static bool is_data(const struct block *block)
{
    return (block->bytes[0] & WS_FIN) && !(block->bytes[0] & WS_CLOSE);
}

static struct block *queued(const td_stream *stream, uint32_t i)
{
    return stream->queue[(stream->head + i) % stream->room];
}

/* How long the oldest message waits already; 0 when none does. */
static td_time oldest_age(const td_ws *ws)
{
    const td_stream *stream = ws->stream;

    for (uint32_t i = 0; i < stream->count; i++) {
        const struct block *block = queued(stream, i);
        td_time born;

        if (!is_data(block))
            continue;
        memcpy(&born, block->bytes + block->size, sizeof born);
        return stream->loop->sched.looked_at - born;
    }
    return 0;
}

static bool too_old(const td_ws *ws)
{
    return ws->endpoint->opts.queue_age_max && oldest_age(ws) > ws->endpoint->opts.queue_age_max;
}

/* Queues it if the budget has room. Returns 0, -EBUSY, or what else stream_post does. */
static int post_within(td_ws *ws, struct block *block)
{
    const td_ws_opts *opts = &ws->endpoint->opts;
    int rc = -EBUSY;

    if (too_old(ws) || (opts->queue_messages_max && ws->stream->count >= opts->queue_messages_max))
        rc = stream_post(ws->stream, block, 0);  /* what the socket takes at once does not count */
    if (rc == -EBUSY && !too_old(ws) && (!opts->queue_messages_max || ws->stream->count < opts->queue_messages_max))
        rc = stream_post(ws->stream, block, opts->queue_bytes_max);
    return rc;
}

/* Makes the oldest message that has not begun to leave give way. False when there is none. */
static bool drop_oldest(td_ws *ws)
{
    td_stream *stream = ws->stream;
    uint32_t first = stream_data_at(stream);

    if (first == stream->count || !is_data(queued(stream, first)))
        return false;
    if (ws_sends_keep(ws) && (queued(stream, first)->bytes[0] & WS_COMPRESSED))
        return false;  /* later messages refer to it */
    return stream_drop_oldest(stream) > 0;
}

int td_ws_post(td_ws *ws, td_ws_frame *frame)
{
    struct block *block = ws->close_sent ? NULL : block_for(ws, frame);
    int rc, dropped = 0;

    if (!block)
        return ws->close_sent ? -EPIPE : -ENOMEM;
    while ((rc = post_within(ws, block)) == -EBUSY && ws->endpoint->opts.when_full == TD_WS_DROP_OLDEST && drop_oldest(ws))
        dropped++;
    block_release(block);
    if (rc == -EBUSY && ws->endpoint->opts.when_full == TD_WS_CLOSE)
        td_ws_close(ws, WS_CLOSE_TRY_LATER, "too slow to read what was sent", true);
    return rc < 0 ? rc : dropped;
}
