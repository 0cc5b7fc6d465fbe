/* SPDX-License-Identifier: MIT */
/*
 * The brakes of an HTTP/2 connection: what a peer may do only so often, since doing it costs it less than it costs us.
 *
 * A guard reads the frames' headers ahead of the library that interprets them, so it sees every frame: those that are ignored,
 * too, and the parts of a header block, which come as one to everybody else. So it is here that frames are found which the
 * library ignores and RFC 9113 calls an error of the connection. Each brake is a bucket of tokens that fills with
 * time, and counts. It knows no socket, no library and no clock. docs/decisions/0034-http2.md says why the numbers are what
 * they are.
 */
#ifndef TANDEM_HTTP_H2_GUARD_H
#define TANDEM_HTTP_H2_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/time.h"

enum h2_brake {
    H2_RESET,         /* streams that the client resets (Rapid Reset, CVE-2023-44487) */
    H2_MADE_RESET,    /* streams that it makes us reset (MadeYouReset, CVE-2025-8671) */
    H2_CONTINUATION,  /* pieces and bytes of one header block (CVE-2024-27316) */
    H2_SETTINGS,      /* each wants an answer (CVE-2019-9515) */
    H2_PING,          /* likewise (CVE-2019-9512) */
    H2_EMPTY,         /* frames that carry nothing and end nothing (CVE-2019-9518) */
    H2_PRIORITY,      /* wishes about the order, and frames of kinds nobody knows (CVE-2019-9513) */
    H2_WINDOW,        /* windows opened in crumbs (CVE-2019-9511) */
    H2_HEADERS,       /* a header list that unfolds to many times what may come in one (HPACK bomb, CVE-2016-6581) */
    H2_BRAKES,
    H2_CALM = -1,     /* none of them */
};

struct h2_bucket {
    int64_t tokens;   /* in thousandths */
    td_time filled_at;
};

#define H2_RESETS_KEPT 16   /* the latest; what comes behind older ones is ignored */

struct h2_guard {
    struct h2_bucket buckets[H2_BRAKES];
    uint64_t counts[H2_BRAKES];     /* how often each thing was done */
    size_t block_bytes_max;
    unsigned char header[9];
    unsigned have;                  /* of header */
    uint32_t skip;                  /* bytes to come that are no frame's header: the preface, then payloads */
    uint32_t block_bytes, pieces;   /* of the header block that is coming */
    uint32_t error;                 /* RFC 9113's code, once a frame came where none may; else 0 */
    uint32_t last_id;               /* the highest stream that was opened */
    uint32_t gap_begin, gap_end;    /* streams from the first to before the second were passed over, and are closed */
    uint32_t reset[H2_RESETS_KEPT]; /* by the client */
    unsigned resets;
    bool pad_next;                  /* the next byte says how much of the payload is padding */
    bool fresh;                     /* no time is known yet */
};

/* For a connection that begins with the client's preface. `head_bytes_max` is what a header list may have. */
void h2_guard_init(struct h2_guard *guard, size_t head_bytes_max);

/*
 * Looks at bytes that came at `now`. Returns H2_CALM, or the first brake that they pull: then the rest was not looked at.
 * Nor was it when `error` is set, which ends the connection, too.
 */
enum h2_brake h2_guard_look(struct h2_guard *guard, const uint8_t *bytes, size_t size, td_time now);

/* One more of the things that only others can see: H2_MADE_RESET, H2_HEADERS. Returns as above. */
enum h2_brake h2_guard_count(struct h2_guard *guard, enum h2_brake brake, td_time now);

/* Data that was sent earns its receiver frames that open the window again. */
void h2_guard_sent(struct h2_guard *guard, size_t data_bytes);

/* For logs and answers: "rapid resets". */
const char *h2_brake_name(enum h2_brake brake);

#endif
