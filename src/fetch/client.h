/* SPDX-License-Identifier: MIT */
/*
 * libcurl on a loop: one curl_multi with its pool of connections. libcurl says which sockets it waits for and until when; the
 * loop's operations and timers wait, and libcurl is told.
 *
 * Invariants: 1. libcurl's functions that may work on connections (socket_action, pause, remove_handle, cleanup) run on the
 * thread's own stack only, from a turn's end or a timer: a task's may be too small for TLS. 2. They never run inside a
 * backend's poll, whose events point to files that they might free. 3. A transfer is in the multi from client_add until its
 * `over` was called, once.
 */
#ifndef TANDEM_FETCH_CLIENT_H
#define TANDEM_FETCH_CLIENT_H

#include <curl/curl.h>

#include "loop/keep.h"
#include "tandem/fetch.h"

#define HTTP2_WELL_SINCE 0x080100  /* the version of libcurl */

struct client {
    struct loop_keep keep;
    struct loop *loop;
    CURLM *multi;
    struct td_timer timer;        /* libcurl's */
    struct td_timer again;        /* a socket was ready at once: look at it in the next turn */
    struct turn_end turn_end;     /* sockets are ready, or errands wait */
    struct td_list ready;         /* of struct watch */
    struct td_list errands;       /* of struct member, through `errand` */
    struct td_list members;       /* all transfers */
    struct td_list nudges;        /* of struct member, through `nudge` */
    struct watch *told;           /* of whose socket libcurl is being told; NULL once it was dropped */
    size_t watches;               /* not freed yet */
    td_http_fetch_stats stats;
};

enum errand { ERRAND_RESUME = 1, ERRAND_REMOVE = 2 };

/* A transfer, as the client sees it. Its easy handle's CURLOPT_PRIVATE is this. */
struct member {
    struct td_list link, errand;  /* in client->members, client->errands */
    /*
     * In client->nudges, when the answer has begun and the request's body has not ended. libcurl does not see that an answer is
     * complete, and nothing more need be sent, while sending is paused: so it is resumed whenever something came.
     */
    struct td_list nudge;
    struct client *client;
    CURL *easy;
    unsigned wanted;              /* of enum errand */
    int (*paused)(struct member *member, bool nudged);     /* what stays paused, of CURLPAUSE_..., when it is resumed or nudged */
    void (*over)(struct member *member, CURLcode code);    /* it has left the multi; CURL_LAST: by ERRAND_REMOVE */
    void (*starve)(struct member *member);                 /* memory is short, and so this transfer's socket is not watched */
};

/* The calling task's loop's client, opened when there is none. Returns 0, -ENOMEM, -EOPNOTSUPP. */
int client_of(struct loop *loop, struct client **client);

/* Begins the transfer. Returns 0, -ENOMEM. */
int client_add(struct client *client, struct member *member);

/* An answer has begun before its request's body has ended. */
void client_nudge(struct member *member);

/* Has something done to a running transfer at the end of this turn. */
void client_errand(struct member *member, enum errand what);

#endif
