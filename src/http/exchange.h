/* SPDX-License-Identifier: MIT */
/*
 * One request and its answer, whatever carries them: a connection of HTTP/1 (http/connection.c) or a stream of HTTP/2.
 * td_http is the handler's view of it. What differs by carrier goes through the exchange's kind.
 *
 * A carrier keeps a td_http where it likes (its task's stack, say): exchange_init, fill `head` with head_start and head_add,
 * read the body with exchange_keep_body (or leave it to kind->read), then exchange_handle, then exchange_fini.
 */
#ifndef TANDEM_HTTP_EXCHANGE_H
#define TANDEM_HTTP_EXCHANGE_H

#include "http/codec.h"
#include "http/server.h"
#include "net/stream.h"
#include "tandem/http.h"

struct answer {
    int status;
    const char *fields;       /* lines "Name: value\r\n"; may be "". Checked: no line injects another */
    const char *type;         /* of the body; may be NULL. Checked likewise */
    int64_t body_bytes;       /* Content-Length, as far as this status has one; -1: not known */
    bool bodyless;            /* whatever is written, no byte of it is sent: HEAD, 204, 304 */
    bool close;               /* the connection of HTTP/1 had better end with it */
};

struct exchange_kind {
    /*
     * The answer's head, with the first `size` bytes of its body, or all of it when `last`. Waits while the peer is slow.
     * Checkpoint. Returns 0, or a negative errno: -EINVAL for fields that are malformed, and then nothing has left.
     */
    int (*head)(td_http *http, const struct answer *answer, const void *body, size_t size, bool last);
    /*
     * A piece of the body: of what was announced, never more. `last` may come with none; `trailers` (lines, may be NULL) only
     * with last. Waits while the peer is slow. Checkpoint. Returns 0 or a negative errno.
     */
    int (*data)(td_http *http, const void *data, size_t size, bool last, const char *trailers);
    /* Bytes of the request's body that were not read before the handler. Checkpoint. A count, 0 at the end, a negative errno. */
    ssize_t (*read)(td_http *http, void *data, size_t size);
    /*
     * Becomes a byte stream both ways that speaks `protocol` ("websocket"): 101 in HTTP/1.1, with Connection and Upgrade; 200 to
     * an extended CONNECT in HTTP/2 (RFC 8441). `fields` go with it. Called by exchange_upgrade alone, which says more.
     */
    int (*upgrade)(td_http *http, const char *protocol, const char *fields, td_stream **stream, struct http_place *place);
    td_case (*gone)(td_http *http);   /* the client has left: td_on_gone */
    void (*abort)(td_http *http);     /* the answer cannot be completed: breaks off what carries it */
};

enum answer_phase { NOT_ANSWERED, ANSWERING, ANSWERED, UPGRADED };

struct td_http {
    const struct exchange_kind *kind;
    td_http_server *server;
    td_stream *stream;        /* that carries it: the connection's, for its peer's address and its TLS session */
    struct http_head head;
    struct http_head trailers;/* of the body; fields alone */
    const char *path;         /* decoded; in the head's store */
    const char *query;
    char *body;               /* what was read before the handler */
    size_t body_size, body_room, body_taken;
    bool body_streams;        /* and the rest is read by the handler */
    bool bodyless;            /* the answer's bytes are counted, not sent */
    enum answer_phase phase;
    int64_t answer_left;      /* bytes announced and not written; -1: nothing was announced */
    struct http_gzip *gzip;   /* http/compress.h; NULL: the answer's bytes go as they are */
    bool gzips;               /* and they are compressed */
    struct http_fault fault;  /* what a read of the body met with: the answer, if the handler gives none */
    /* After an upgrade: ends the conversation in the protocol's own way, when the handler has returned `rc`. May be NULL. */
    void (*finish)(td_http *http, int rc);
    void *upgraded;           /* the upgrader's */
};

/* `room` of room_size bytes serves the head's store; it outlives the exchange. */
void exchange_init(td_http *http, td_http_server *server, const struct exchange_kind *kind, td_stream *stream, void *room,
                   size_t room_size);
void exchange_fini(td_http *http);

/* Adds to the body that the handler finds whole. Returns 0 or -ENOMEM. */
int exchange_keep_body(td_http *http, const void *data, size_t size);

/*
 * Calls the handler for a complete head, and answers for it where it has not: 500, or what the target deserves. Checkpoint.
 * Returns 0, or the negative errno after which the carrier should break off: the answer is incomplete.
 */
int exchange_handle(td_http *http);

/*
 * On 0 the stream is the caller's, to be closed by him, and so is its place in the server (http/server.h), which he leaves when
 * he has closed it: both may outlive the handler, and the request is not answered any more. The head has left by then, whatever
 * a slow peer may lose later. The stream may hold input already. Checkpoint. Returns 0; -EINVAL when the request was answered, or
 * its body not read; what sending failed with.
 */
int exchange_upgrade(td_http *http, const char *protocol, const char *fields, td_stream **stream, struct http_place *place);

/* Answers for the server itself. Counts as a bad request. Checkpoint. Returns as kind->head. */
int exchange_refuse(td_http *http, int status, const char *why);

#endif
