/* SPDX-License-Identifier: MIT */
/*
 * WebSocket connections (RFC 6455, permessage-deflate of RFC 7692), in two shapes, for servers, and as a client.
 *
 * As a conversation: a handler takes a request over with td_ws_accept, receives and sends until it is done, and returns. The
 * connection has a task, and so a stack, all the time.
 *
 * As messages: td_ws_serve parks the connection, and a function is called for each message that comes, in a task that ends
 * when there are no more. A connection at which nothing comes has no task, no stack and no buffers: two small structs.
 *
 * In both, pings are answered, closes completed, and peers that vanished noticed by a ping. In both, whoever sends to many
 * builds a frame once and posts it to all. docs/protocols.md tells which close code means what.
 *
 * Everything here is for tasks of the connection's loop. One task at a time receives; any may send.
 */
#ifndef TANDEM_WS_H
#define TANDEM_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tandem/http.h"
#include "tandem/tls.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct td_ws td_ws;

typedef enum td_ws_kind { TD_WS_TEXT = 1, TD_WS_BINARY = 2 } td_ws_kind;

/* What td_ws_post does with a message for which the connection's budget has no room. */
typedef enum td_ws_when_full {
    TD_WS_REJECT = 0,      /* the caller gets -EBUSY */
    TD_WS_DROP_OLDEST,     /* messages that have not begun to leave give way, the oldest first */
    TD_WS_CLOSE,           /* the peer is shown out with 1013, ahead of its backlog; the caller gets -EBUSY */
} td_ws_when_full;

/* Whether messages are compressed (permessage-deflate), where the other side agrees. */
typedef enum td_ws_deflate {
    TD_WS_DEFLATE_OFF = 0,
    TD_WS_DEFLATE_SHARED,  /* each message stands alone: connections share what compresses, an idle one holds nothing for it */
    TD_WS_DEFLATE_OWN,     /* context is kept from message to message: better where messages are small and alike, for up to
                              310 KB of memory a connection. Frames that are posted go as they are */
} td_ws_deflate;

/* Every field may be zero, for its default. Strings are read during the call alone. */
typedef struct td_ws_opts {
    uint64_t message_bytes_max;  /* 64 KiB; a larger message ends the connection with 1009 */
    /* The budget of what waits for a slow peer. Past any of the three, td_ws_post does as when_full says. */
    size_t queue_bytes_max;      /* 256 KiB */
    size_t queue_messages_max;   /* 0: any number */
    td_time queue_age_max;       /* of the oldest message that waits, from when its frame was built; 0: any age */
    td_ws_when_full when_full;
    td_time idle_ping;           /* 30 s without a byte, and a ping is sent; once more that long, and the connection is
                                    broken off. Negative: never */
    const char *origins;         /* whose pages may connect: "https://a.example, https://b.example:8443"; "*": anyone's; NULL:
                                    only those of the host that the request is for. Others are answered 403. A client that
                                    names no origin is no browser, and may */
    const char *protocols;       /* subprotocols that the server speaks, the best first: "chat.v2, chat.v1" */
    int (*authenticate)(td_http *http, void *arg);  /* asked before the upgrade, with authenticate_arg. Returns 0; or -EACCES,
                                    when it has answered, or the server is to answer 403. Checkpoint: it may wait */
    void *authenticate_arg;
    td_ws_deflate deflate;       /* off */
    int deflate_window_bits;     /* 9 to 15: how far back matches may reach, and what memory that takes; 15, or 11 with OWN */
    size_t deflate_bytes_min;    /* 1 KiB: smaller messages go as they are, and so do those of more than 128 KiB */
    bool shared_messages;        /* received messages lie in shared memory, ready for td_offload; td_shared_retain keeps one */
} td_ws_opts;

/*
 * Completes the handshake. opts may be NULL. Checkpoint: yes.
 * Returns 0 and *ws, which lives until the handler returns; -EPROTO when the request was no proper handshake (it
 * has been answered: 400, 403, 405 or 426); -EACCES when authenticate refused (likewise); -ENOMEM; what sending failed
 * with.
 */
int td_ws_accept(td_http *http, td_ws **ws, const td_ws_opts *opts);

/* The subprotocol that was agreed on; NULL when there is none. Valid as long as the connection. Not a checkpoint. */
const char *td_ws_protocol(const td_ws *ws);

typedef struct td_message {
    td_ws_kind kind;
    size_t size;
    char *data;  /* followed by a zero byte that is not counted */
} td_message;

/* The message's bytes, as an argument for td_offload and the like. Any thread. */
static inline char *td_message_data(const td_message *message)
{
    return message->data;
}

/*
 * A connection in the shape of messages. The functions are called one after another, never two at a time for one
 * connection, in tasks of the server, and may wait: until on_message returns, nothing more is received, and when the
 * stream's credit is used up the peer has to wait, too.
 *
 * The conversation is over when the peer has closed or broken it, or has answered our close. `ws` may be used until on_close
 * returns, and by other tasks too.
 */
typedef struct td_ws_handler {
    /* May be NULL. Before the first message, in the task of the request. Negative: closes, as from on_message. */
    int (*on_open)(td_ws *ws, void *arg);
    /*
     * The message's data is the callee's to read and change, until it returns. Negative: closes with 1011, or 1001 after
     * -ECANCELED.
     */
    int (*on_message)(td_ws *ws, td_message *message, void *arg);
    /*
     * May be NULL. Once for each connection that was served, last of all, whatever happened: the place to free arg. `code`
     * and `reason` are the peer's; 1005 when it gave none; ours, when we failed the connection for what it sent; 1006 when
     * it broke without a word.
     */
    void (*on_close)(td_ws *ws, uint16_t code, const char *reason, void *arg);
} td_ws_handler;

/*
 * Instead of td_ws_accept: completes the handshake, calls on_open, and parks the connection. What *handler points to is
 * used as long as the connection lives; opts may be NULL. Connections whose handler and options are equal share what they
 * have in common.
 *
 * When the server's run is cancelled, the connection is closed with 1001, ahead of what waits; when the server drains, with
 * 1001 behind it, as soon as no message is being handled. Checkpoint: yes.
 * Returns 0, and the request's handler is to return that; on_close follows. On an error nothing was called, and arg is the
 * caller's: as td_ws_accept.
 */
int td_ws_serve(td_http *http, const td_ws_handler *handler, const td_ws_opts *opts, void *arg);

/*
 * Receives a whole message, in a conversation; its data is valid until the next receive, and may be changed. Checkpoint: yes.
 * Returns 1; 0 when the conversation is over (the peer closed, or somebody here did); -EPROTO when the peer broke the
 * protocol (it has been told); -ENOMEM; -ECANCELED; -ECONNRESET and the like.
 */
int td_ws_receive(td_ws *ws, td_message *message);

typedef struct td_ws_part {
    td_ws_kind kind;
    bool begin, end;  /* of the message */
    size_t size;      /* bytes written to the buffer; 0 for an empty message, and where the end came alone */
} td_ws_part;

/*
 * Receives the next part of a message straight into `data`: for messages of any size, and for bytes that must land
 * in a certain place, as in shared memory. `size` is at least 1. Not to be mixed with td_ws_receive inside a message.
 * Checkpoint: yes. Returns as td_ws_receive.
 */
int td_ws_read(td_ws *ws, void *data, size_t size, td_ws_part *part);

/*
 * Sends a message; waits while the peer is slow to read what was sent before. Checkpoint: yes.
 * Returns 0; -EPIPE after a close; -ETIMEDOUT when the peer did not read for the server's send_timeout; -ENOMEM;
 * -ECANCELED; and the like.
 */
int td_ws_send(td_ws *ws, td_ws_kind kind, const void *data, size_t size);

/* A message ready for the wire, built once and posted to any number of connections of the loop. */
typedef struct td_ws_frame td_ws_frame;

/* Builds a frame, and gives the caller one reference to it; NULL when memory is short. Not a checkpoint. */
td_ws_frame *td_ws_frame_new(td_ws_kind kind, const void *data, size_t size);

/* Gives the caller's reference back; connections that have the frame queued keep theirs. Not a checkpoint. */
void td_ws_frame_release(td_ws_frame *frame);

/*
 * Queues a frame without waiting. Not a checkpoint.
 * Returns 0; with TD_WS_DROP_OLDEST, how many messages gave way to it; -EBUSY when the budget has no room for it (the frame
 * is not queued); -EPIPE after a close; -ENOMEM.
 */
int td_ws_post(td_ws *ws, td_ws_frame *frame);

/*
 * Begins to close: queues a close frame; what the peer still sends is dropped, and the handler's receive returns 0
 * when the peer has answered, or two seconds after the frame has left (twelve at the most, when the peer does not
 * read). `at_once` puts the frame ahead of everything that waits, which is forgotten. Harmless when closing
 * already. Not a checkpoint.
 */
void td_ws_close(td_ws *ws, uint16_t code, const char *reason, bool at_once);

/* Every field may be zero, for its default. Strings are read during the call alone. */
typedef struct td_ws_connect_opts {
    uint64_t message_bytes_max;  /* as td_ws_opts has them: */
    size_t queue_bytes_max, queue_messages_max;
    td_time queue_age_max;
    td_ws_when_full when_full;
    td_time idle_ping;
    const char *fields;          /* further lines of the request, each "Name: value\r\n"; NULL: none */
    const char *protocols;       /* subprotocols offered, the best first; the server may choose one */
    td_ws_deflate deflate;       /* as td_ws_opts has them */
    int deflate_window_bits;
    size_t deflate_bytes_min;
    bool shared_messages;
    td_tls *tls;                 /* a client's, for wss://; NULL: one for this connection alone, with the system's roots */
} td_ws_connect_opts;

/*
 * Connects to a server, "ws://host:port/path?query" or "wss://...", and shakes hands. A deadline is the caller's scope's. opts
 * may be NULL. Checkpoint: yes.
 * Returns 0 and *ws, a conversation, to be ended with td_ws_free; -EINVAL for what is no such address, and for malformed
 * options; -EPROTO when the answer is no proper end of the handshake; -EACCES when the server refused it (any status but
 * 101); what td_connect, td_lookup and td_stream_tls_connect fail with; -ENOMEM; -ECANCELED.
 */
int td_ws_connect(td_ws **ws, const char *url, const td_ws_connect_opts *opts);

/*
 * Ends a client's conversation and frees it: sends a close frame, 1000, unless one was sent, and waits for the server's for
 * a second at the most. Not reached by cancellation. Checkpoint: yes.
 */
void td_ws_free(td_ws *ws);

#ifdef __cplusplus
}
#endif
#endif
