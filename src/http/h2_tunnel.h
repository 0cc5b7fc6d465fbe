/* SPDX-License-Identifier: MIT */
/*
 * A stream of HTTP/2 that became a byte stream both ways (RFC 8441): a td_stream of the kind "h2". END_STREAM is its end,
 * RST_STREAM breaks it, and its peer is credited what was consumed.
 */
#ifndef TANDEM_HTTP_H2_TUNNEL_H
#define TANDEM_HTTP_H2_TUNNEL_H

#include "http/h2_exchange.h"

struct h2_tunnel {
    td_stream base;
    struct h2_exchange *exchange;
    struct h2_buffer held;        /* input that came while other input was unread */
    size_t owed;                  /* bytes handed over and not credited */
    bool on;                      /* input is wanted */
    bool peer_ended;              /* behind what is held */
    bool ending;                  /* we say END_STREAM when the queue is empty */
};

/* Returns NULL when memory is short. */
struct h2_tunnel *h2_tunnel_new(struct h2_exchange *exchange);

/* Takes over what the exchange has received by now. */
void h2_tunnel_begin(struct h2_tunnel *tunnel);

/* What the session tells. */
void h2_tunnel_data(struct h2_tunnel *tunnel, const uint8_t *bytes, size_t size);
void h2_tunnel_end(struct h2_tunnel *tunnel);
void h2_tunnel_gone(struct h2_tunnel *tunnel, uint32_t code);
size_t h2_tunnel_pull(struct h2_tunnel *tunnel, uint8_t *to, size_t room, bool *last);

#endif
