/* SPDX-License-Identifier: MIT */
/*
 * The zygote: a small single-threaded process that forks workers on request, itself forked before the program has
 * threads or rings. Workers are children of the program, not of the zygote (CLONE_PARENT), so that the program can
 * wait for them.
 *
 * When the zygote dies (somebody killed it), another one is forked from the running program, and requests without an
 * answer fail with -EOWNERDEAD, to be made again.
 */
#ifndef TANDEM_POOL_ZYGOTE_H
#define TANDEM_POOL_ZYGOTE_H

#include <stdint.h>
#include <sys/types.h>

#include "loop/loop.h"
#include "shared/arena.h"

struct zygote_request {
    struct td_list link;
    int page_fd, event_fd;     /* the page the worker is to serve, and whom it tells; of a command: its socket */
    uint32_t command_bytes;    /* of the argument vector behind the page; 0: no command */
    /*
     * pidfd >= 0 and the worker's pid; or a negative errno. -EOWNERDEAD: the zygote died meanwhile, and may have forked a
     * worker all the same.
     */
    void (*done)(struct zygote_request *request, int pidfd, pid_t pid);
};

struct zygote {
    pid_t pid;
    struct loop *loop;
    const struct arena *arena; /* whose files stay open in it; may be NULL */
    struct io_file file;       /* our end of the socket pair */
    struct io_op op;
    struct td_list requests;   /* in the order they were sent, which is that of the answers */
    unsigned unanswered;       /* of them, those it has been sent */
    struct td_timer overdue;
    bool listening, closing;
};

/* Forks the zygote, for workers that see this arena. Returns 0 or a negative errno. */
int zygote_open(struct zygote *zygote, const struct arena *arena);

/* From now on answers are taken by this loop. */
void zygote_attach(struct zygote *zygote, struct loop *loop);

/* Asks for a worker. Returns 0 (`done` follows, or came already) or a negative errno. */
int zygote_spawn(struct zygote *zygote, struct zygote_request *request);

/* Between loop_run and loop_close; no request is open. Ends the zygote. */
void zygote_detach(struct zygote *zygote);
void zygote_close(struct zygote *zygote);

/* zygote_main.c: the process itself. Never returns. */
_Noreturn void zygote_main(int socket, pid_t program, const struct arena *arena);

#endif
