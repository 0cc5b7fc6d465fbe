/* SPDX-License-Identifier: MIT */
/*
 * The command line of `tandem serve`.
 */
#ifndef TANDEM_SERVE_OPTIONS_H
#define TANDEM_SERVE_OPTIONS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "tandem.h"

#define SERVE_CERTIFICATES 16

struct serve_options {
    char listen[TD_ADDRESS_MAX];
    unsigned workers;            /* server processes */
    unsigned pool;               /* workers of the pool that computes, in each */
    unsigned audio_pool;         /* workers of its pool for audio */
    td_pool_kind pool_kind;
    size_t queue;                /* as td_pool_opts has it: TD_QUEUE_NONE for none */
    td_when_full when_full;
    size_t queue_bytes;          /* 0: half of the arena */
    td_time delay_target_ns;     /* 0: none */
    bool cancel_running;
    size_t worker_memory;        /* bytes; 0: any */
    bool strict_workers;
    td_backend backend;
    td_tls_certificate certificates[SERVE_CERTIFICATES];
    size_t certificate_count;    /* 0: plain HTTP */
    const char *client_ca;       /* NULL: clients need no certificate */
    unsigned char ticket_secret[32];
    const char *origins;         /* as td_ws_opts has it; NULL: the server's own pages */
    size_t connections_max;
    td_time drain_ns;
    bool test_ops;
};

/*
 * Reads the arguments behind "serve". Returns -1 to go on, or the status to exit with (0 after --help, 2 after a
 * sentence on what was wrong).
 */
int options_read(struct serve_options *options, int argc, char **argv);

/* Parses "127.0.0.1:8080" or "[::1]:8080". Returns the address's size, or 0 when it is none. */
socklen_t listen_parse(const char *text, struct sockaddr_storage *address);

#endif
