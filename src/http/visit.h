/* SPDX-License-Identifier: MIT */
/*
 * A visit: the task that is leased for a connection of HTTP/1 while there is something to read, and the request it is at.
 * For connection.c, visit.c, answer.c and body.c alone.
 */
#ifndef TANDEM_HTTP_VISIT_H
#define TANDEM_HTTP_VISIT_H

#include "http/connection.h"
#include "http/exchange.h"

#define VISIT_ROOM 2048       /* for a head: most fit, and the stack is hot */
#define VISIT_DRAIN_MAX (64 * 1024)  /* of a body that its handler left unread: it is read for the sake of the next request */

enum connection_state {
    PARKED,      /* it waits for a request */
    LEASED,      /* a visit is under way */
    SENDING,     /* its last words have not left yet */
    LINGERING,   /* its peer has yet to read them */
    CLOSING,     /* a task closes it */
};

struct connection {
    struct http_place place;
    struct http_watch watch;
    td_stream *stream;        /* NULL once it was upgraded */
    size_t charge;            /* of the stream, at the last look for progress */
    unsigned requests;        /* begun */
    unsigned char state;
    bool refused;
};

/* The leased task. */
int visit_main(void *arg);

/* For the visit: it ends. The connection may be freed by then. Each of them from the visit's task, as its last call. */
void connection_park(struct connection *connection);
void connection_goodbye(struct connection *connection);
void connection_free(struct connection *connection);  /* without its stream */

struct visit {
    td_http http;
    struct connection *connection;
    struct http_decoder decoder;
    td_time waiting_since;    /* for the head's rest; 0: nobody has waited */
    td_time body_waited_ns;
    uint64_t body_bytes;      /* that came, chunk lines included */
    bool keep_alive;
    bool chunked;             /* the answer */
    bool continued;           /* 100 Continue was said, or need not be */
    char room[VISIT_ROOM];
};

static inline struct visit *visit_of(td_http *http)
{
    return container_of(http, struct visit, http);
}

extern const struct exchange_kind visit_exchange;

/* answer.c */
int answer_head(td_http *http, const struct answer *answer, const void *body, size_t size, bool last);
int answer_data(td_http *http, const void *data, size_t size, bool last, const char *trailers);
int answer_upgrade(td_http *http, const char *protocol, const char *fields, td_stream **stream, struct http_place *place);
int answer_continue(struct visit *visit);  /* 100 Continue */

/*
 * body.c: decodes, waiting for input as long as the peer is quick enough, until the event `until` (HTTP_HEAD or HTTP_DONE).
 * What comes of the body is kept, or not. Returns 1; 0 when there is no request to come; a negative errno. What is to be
 * answered instead is in http.fault then, and -EPROTO is returned.
 */
int visit_read_until(struct visit *visit, enum http_event until, bool keep);
ssize_t body_read(td_http *http, void *data, size_t size);

#endif
