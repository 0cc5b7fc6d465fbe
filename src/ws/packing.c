/* SPDX-License-Identifier: MIT */
/*
 * permessage-deflate, as a connection uses it: what it borrows, what it owns, and the text inside of compressed messages.
 */
#include <errno.h>
#include <string.h>

#include "ws/connection.h"
#include "ws/utf8.h"

#define PACK_MAX (128 * 1024)  /* bytes: to compress more in one go takes longer than the loop may be held */

bool ws_sends_keep(const td_ws *ws)
{
    const struct ws_agreement *agreed = &ws->endpoint->agreed;

    return agreed->deflate && (ws->client ? agreed->terms.client_keeps : agreed->terms.server_keeps);
}

bool ws_receives_keep(const td_ws *ws)
{
    const struct ws_agreement *agreed = &ws->endpoint->agreed;

    return agreed->deflate && (ws->client ? agreed->terms.server_keeps : agreed->terms.client_keeps);
}

static struct ws_deflater *deflater_of(td_ws *ws)
{
    struct ws_endpoint *endpoint = ws->endpoint;
    int bits = ws->client ? endpoint->agreed.terms.client_bits : endpoint->agreed.terms.server_bits;

    if (!ws_sends_keep(ws))
        return ws_deflate_shared_deflater(&endpoint->press->shared, bits);
    if (ws_begin_work(ws) < 0)
        return NULL;
    if (!ws->work->deflater)
        ws->work->deflater = ws_deflater_new(bits, true);
    return ws->work->deflater;
}

size_t ws_pack(td_ws *ws, const void *data, size_t size, const uint8_t **payload)
{
    struct ws_deflater *deflater;
    ssize_t packed;

    if (!ws->endpoint->agreed.deflate || size < ws->endpoint->opts.deflate_bytes_min || size > PACK_MAX)
        return 0;
    deflater = deflater_of(ws);
    packed = deflater ? ws_deflate(deflater, data, size, payload) : 0;
    return packed > 0 ? (size_t)packed : 0;
}

static struct ws_inflater *inflater_for(td_ws *ws)
{
    const struct ws_deflate_terms *terms = &ws->endpoint->agreed.terms;

    if (ws_receives_keep(ws))
        return ws_inflater_new(ws->client ? terms->server_bits : terms->client_bits, true);
    return ws_deflate_shared_borrow(&ws->endpoint->press->shared);
}

static void give_inflater_back(td_ws *ws)
{
    struct ws_inflater *inflater = ws->work->inflater;

    if (!inflater)
        return;
    if (ws_receives_keep(ws))
        ws_inflater_free(inflater);
    else
        ws_deflate_shared_return(&ws->endpoint->press->shared, inflater);
    ws->work->inflater = NULL;
}

int ws_unpack_begin(td_ws *ws, const struct ws_event *event)
{
    struct ws_work *work = ws->work;

    if (!work->inflater && !(work->inflater = inflater_for(ws)))
        return -ENOMEM;
    if (event->begin) {
        ws_inflater_begin(work->inflater, ws->endpoint->opts.message_bytes_max);
        work->unpacking.utf8 = UTF8_ACCEPT;
        work->unpacking.begun = false;
    }
    work->unpacking.at = 0;
    work->unpacking.left = event->size;
    work->unpacking.text = event->opcode == WS_TEXT;
    work->unpacking.last = event->end;
    work->unpacking.is_under_way = true;
    return 0;
}

int ws_unpack(td_ws *ws, void *out, size_t room, size_t *used)
{
    struct ws_unpacking *unpacking = &ws->work->unpacking;
    size_t size;
    const uint8_t *in = stream_peek(ws->stream, &size);
    struct ws_inflate_io io = {in + unpacking->at, unpacking->left, out, room, unpacking->last};
    int rc = ws_inflate(ws->work->inflater, &io);

    *used = room - io.out_left;
    unpacking->at += unpacking->left - io.in_left;
    unpacking->left = io.in_left;
    if (rc >= 0 && unpacking->text) {
        unpacking->utf8 = utf8_feed(unpacking->utf8, out, *used);
        if (unpacking->utf8 == UTF8_REJECT || (rc == WS_INFLATE_DONE && unpacking->utf8 != UTF8_ACCEPT))
            rc = -EBADMSG;
    }
    unpacking->is_under_way = rc == WS_INFLATE_ROOM;
    if (rc < 0 || (rc == WS_INFLATE_DONE && !ws_receives_keep(ws)))
        give_inflater_back(ws);
    return rc == -EMSGSIZE ? WS_CLOSE_TOO_BIG : rc == -EBADMSG ? WS_CLOSE_BAD_DATA : rc;
}

void ws_packing_end(td_ws *ws)
{
    give_inflater_back(ws);
    ws_deflater_free(ws->work->deflater);
    ws->work->deflater = NULL;
}
