/* SPDX-License-Identifier: MIT */
/*
 * A WebSocket's inside, in whatever shape.
 *
 * At rest it is a struct of 56 bytes beside its stream. What receiving needs (decoder, the message being assembled) is there
 * while something is being received: in a parked connection from the first byte of a message to its last, in a
 * conversation all the time.
 */
#ifndef TANDEM_WS_CONNECTION_H
#define TANDEM_WS_CONNECTION_H

#include "net/stream.h"
#include "tandem/ws.h"
#include "ws/codec.h"
#include "ws/endpoint.h"

#define WS_QUEUE_BYTES (256 * 1024)  /* that may wait before a td_ws_send does */
#define WS_GOODBYE_NS 1000000000     /* for the peer to answer a close, once the handler has returned */
#define WS_NO_CLOSE 1006             /* stands for "it broke without a close frame"; never sent */

/* A piece of a compressed message. It lies, unmasked, at the front of the stream's input, whose `held` bytes it came in. */
struct ws_unpacking {
    size_t at, left;          /* what of it was not unpacked */
    uint32_t utf8;            /* of the message so far */
    bool is_under_way, last, text, begun;
};

struct ws_work {
    struct ws_decoder decoder;
    char *message;            /* being assembled, or handed out last; NULL: none, or it lies in the stream's input */
    size_t used, room;        /* of it */
    size_t held;              /* input bytes that the message handed out lies in: consumed when it is given back */
    struct ws_unpacking unpacking;
    struct ws_deflater *deflater;  /* its own, where context is kept; NULL: none, or not yet */
    struct ws_inflater *inflater;  /* likewise; or borrowed, while a compressed message is being received */
    char reason[WS_CONTROL_MAX - 1];  /* of the end */
};

struct td_ws {
    td_stream *stream;
    struct ws_endpoint *endpoint;
    struct ws_work *work;     /* NULL: at rest */
    void *arg;                /* on_message's and the others' */
    struct td_list link;      /* in its endpoint's wheel */
    uint32_t tick;            /* of the wheel: the latest byte came; when closing: the close is overdue */
    uint16_t code;            /* what the conversation ended with; 0: it has not */
    uint16_t close_waits : 3; /* how often a close was overdue */
    uint16_t count : 2;       /* as what its server counts it: http_count_leave */
    uint16_t client : 1;
    uint16_t close_sent : 1, close_received : 1, close_hastened : 1;
    uint16_t pinged : 1;      /* since the latest byte */
    uint16_t parked : 1;      /* in the shape of messages */
    uint16_t attended : 1;    /* parked, and a task is at it */
    uint16_t waits_for_task : 1;  /* parked, and there was no memory for one */
};

/* receive.c: */

/* Room for receiving. Returns 0 or -ENOMEM. */
int ws_begin_work(td_ws *ws);
void ws_end_work(td_ws *ws);

/* Whether nothing is half received: the work may end. */
bool ws_at_rest(const td_ws *ws);

/*
 * The next whole message of what has come. Returns 1 and *message, until ws_give_back; -EAGAIN: more must come first; 0:
 * the peer has closed; -EPROTO: it broke the protocol, and was told; -ENOMEM. Not a checkpoint.
 */
int ws_take(td_ws *ws, td_message *message);
void ws_give_back(td_ws *ws);

/* The same for a part of a message, straight into `data`. */
int ws_take_part(td_ws *ws, void *data, size_t size, td_ws_part *part);

/* connection.c: */

/* What is to be done for an event that is no data. Returns 1 to go on; 0 at the end; -EPROTO. */
int ws_control(td_ws *ws, const struct ws_event *event);

/* There will be no more input, and no close came: takes note of it. */
void ws_ended(td_ws *ws);

/* There is no memory for what the peer says: fails the connection with 1011. */
void ws_fail_for_memory(td_ws *ws);

/* Says why a handler that returned rc is done with the connection. */
void ws_close_for(td_ws *ws, int rc);

/* The close is overdue: hastens it, waits on, or breaks the connection. From the endpoint's timer. */
void ws_close_overdue(td_ws *ws);

/* frame.c: */

/* A control frame, one that is sent as soon as what has begun to leave has left. Returns 0, or a negative errno. */
int ws_send_control(td_ws *ws, enum ws_opcode opcode, const void *payload, size_t size);

/* While pongs do not leave, a peer that goes on pinging is not heard: waits for one to go. Checkpoint, if it waits. */
int ws_hold_back(td_ws *ws);

/* packing.c: compression */

/* Whether what we send, or receive, refers to the messages before it. */
bool ws_sends_keep(const td_ws *ws);
bool ws_receives_keep(const td_ws *ws);

/*
 * Compresses a message that is worth it. Returns its payload's size, and where it is until the next call; 0: it goes as it is.
 * Where context is kept, what was compressed must be sent.
 */
size_t ws_pack(td_ws *ws, const void *data, size_t size, const uint8_t **payload);

/* What of a message was unpacked: WS_INFLATE_..., or the code that the connection fails with. */
#define WS_UNPACK_FAILED 1000

/* Takes note of a piece of a compressed message, described by the event. Returns 0 or -ENOMEM. */
int ws_unpack_begin(td_ws *ws, const struct ws_event *event);

/* Unpacks from it; *used is what was written. A piece that was used up is under way no more. */
int ws_unpack(td_ws *ws, void *out, size_t room, size_t *used);
void ws_packing_end(td_ws *ws);

/* client.c: */

/* Bytes that nobody can predict; in a simulation, those of its seed. Returns 0 or a negative errno. */
int ws_random(struct loop *loop, void *data, size_t size);

/* parked.c: */

/* Has a task attend to a parked connection, which has something to be looked at. Not a checkpoint. */
void ws_attend(td_ws *ws);

#endif
