/* SPDX-License-Identifier: MIT */
/*
 * Answers in HTTP/1: heads, bodies by their length or in chunks, upgrades.
 *
 * A small answer is one block: head and body leave in one piece, together with what else the turn has for this connection.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "http/visit.h"

#define CHUNK_LINE_BYTES 20   /* the size in hexadecimal, and its line end */

static int send_block(struct visit *visit, struct block *block, size_t bytes)
{
    int rc = http_send(visit->http.server, visit->http.stream, block, bytes);

    block_release(block);
    return rc;
}

/* Whether the connection can go on after this answer: not when more of the body is to come than we would read for nothing. */
static bool may_keep(const struct visit *visit)
{
    const struct http_decoder *decoder = &visit->decoder;

    if (!visit->keep_alive || visit->http.server->draining || decoder->phase == REFUSED)
        return false;
    if (decoder->phase == COMPLETE)
        return true;
    /* A client that was not told to go on may send the body all the same, or not (RFC 9110, 10.1.1). */
    return !decoder->chunked && decoder->body_bytes_left <= VISIT_DRAIN_MAX &&
           (visit->continued || !http_expects_continue(&visit->http.head));
}

static void frame(struct visit *visit, const struct answer *answer, struct http_answer_head *head)
{
    bool http10 = visit->http.head.version < 11;

    if (answer->body_bytes >= 0) {
        head->framing = HTTP_LENGTH;
        head->length = (uint64_t)answer->body_bytes;
    } else if (answer->bodyless || http10) {
        head->framing = HTTP_TO_THE_END;
    } else {
        head->framing = HTTP_CHUNKED;
    }
    visit->chunked = head->framing == HTTP_CHUNKED;
    visit->keep_alive = !answer->close && may_keep(visit) && (head->framing != HTTP_TO_THE_END || answer->bodyless);
    head->close = !visit->keep_alive;
    head->keep_alive = visit->keep_alive && http10;
}

int answer_head(td_http *http, const struct answer *answer, const void *body, size_t size, bool last)
{
    struct visit *visit = visit_of(http);
    struct http_answer_head head = {.status = answer->status, .fields = answer->fields, .type = answer->type,
                                    .date = http_date(http->server)};
    struct block *block;
    int head_size;

    assert(last || size == 0);
    if (answer->bodyless)
        size = 0;
    frame(visit, answer, &head);
    block = block_new(http_head_room(&head) + size);
    if (!block)
        return -ENOMEM;
    head_size = http_encode_head((char *)block->bytes, block->size, &head);
    if (head_size < 0) {
        block_release(block);
        return head_size;
    }
    if (size > 0)
        memcpy(block->bytes + head_size, body, size);
    block->size = (size_t)head_size + size;
    return send_block(visit, block, HTTP_QUEUE_BYTES);
}

int answer_data(td_http *http, const void *data, size_t size, bool last, const char *trailers)
{
    struct visit *visit = visit_of(http);
    size_t trailers_size = trailers ? strlen(trailers) : 0, at = 0;
    struct block *block;

    if (http->bodyless || (!visit->chunked && size == 0))
        return 0;
    block = block_new(size + trailers_size + 2 * CHUNK_LINE_BYTES);
    if (!block)
        return -ENOMEM;
    if (visit->chunked && size > 0)
        at = (size_t)snprintf((char *)block->bytes, CHUNK_LINE_BYTES, "%zx\r\n", size);
    if (size > 0)
        memcpy(block->bytes + at, data, size);
    at += size;
    if (visit->chunked) {
        const char *end = size == 0 ? "" : "\r\n", *chunk = last ? "0\r\n" : "";

        at += (size_t)snprintf((char *)block->bytes + at, block->size - at, "%s%s%s%s", end, chunk,
                               last && trailers ? trailers : "", last ? "\r\n" : "");
    }
    block->size = at;
    return send_block(visit, block, HTTP_QUEUE_BYTES);
}

int answer_continue(struct visit *visit)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct block *block = block_new(sizeof text - 1);

    if (!block)
        return -ENOMEM;
    memcpy(block->bytes, text, sizeof text - 1);
    return send_block(visit, block, HTTP_QUEUE_BYTES);
}

int answer_upgrade(td_http *http, const char *protocol, const char *fields, td_stream **stream, struct http_place *place)
{
    static const char format[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: Upgrade\r\n%s\r\n";
    struct visit *visit = visit_of(http);
    struct block *block;
    int rc;

    if (!http_wants_upgrade(&http->head) || visit->decoder.phase != COMPLETE || !http_lines_valid(fields))
        return -EINVAL;
    block = block_new(sizeof format + strlen(protocol) + strlen(fields));
    if (!block)
        return -ENOMEM;
    block->size = (size_t)snprintf((char *)block->bytes, block->size, format, protocol, fields);
    rc = send_block(visit, block, 0);
    if (rc < 0) {
        stream_break(visit->connection->stream);  /* some of it may have left: nothing else may follow */
        return rc;
    }
    *stream = visit->connection->stream;
    stream_on_input(*stream, NULL, NULL);
    (*stream)->on_sent = NULL;
    visit->connection->stream = NULL;
    http_place_move(place, &visit->connection->place);
    return 0;
}
