/* SPDX-License-Identifier: MIT */
/*
 * Receiving that goes on: bytes are handed over as they come, in buffers of the loop, so that a connection at which nothing
 * comes holds none.
 *
 * Each backend does it in its way: one multishot operation and a ring of provided buffers with io_uring; reads into a buffer
 * at hand when epoll tells of bytes; otherwise, and where one asks for it (td_opts.receive_one_shot), one operation after the
 * other, each with a buffer of its own.
 */
#ifndef TANDEM_LOOP_RECEIVE_H
#define TANDEM_LOOP_RECEIVE_H

#include <stddef.h>

#include "loop/io.h"

#define INPUT_STRIDE 4608      /* a message of 4 KiB and its frame fit into one buffer */
#define INPUTS_CHUNK 64        /* buffers made at a time */
#define INPUTS_MAX 4096        /* of one loop: 18 MiB; beyond them whoever receives waits for one to come back */

/* Bytes that came, in a chain. */
struct input {
    struct input *next;
    uint32_t begin, end;       /* what of them is not consumed */
    struct inbox *home;        /* whose buffer it is; NULL: malloc'd */
    uint32_t index, room;
    unsigned char bytes[];     /* 32 bytes from the start, so aligned in the loop's own; malloc promises 16 */
};

/* A loop's buffers. They are made as they are needed, and kept. */
struct inbox {
    unsigned char *memory;     /* address space for INPUTS_MAX; NULL until the first is needed */
    unsigned made;
    unsigned spare;            /* that nobody holds */
    struct input *free;        /* newest first: its memory is hot. Unused where the kernel picks buffers */
    void (*back)(struct inbox *inbox, struct input *input);  /* a backend's: takes a buffer back; NULL: it goes to `free` */
};

/* One more chunk. Returns the first of INPUTS_CHUNK new buffers, or NULL: there are enough, or no memory. */
struct input *inbox_grow(struct inbox *inbox);
static inline struct input *inbox_at(const struct inbox *inbox, unsigned index)
{
    return (struct input *)(void *)(inbox->memory + (size_t)index * INPUT_STRIDE);
}
struct input *inbox_take(struct inbox *inbox);  /* of those that are `free`; NULL when there are none */
void inbox_close(struct inbox *inbox);

/* Buffers run low: whoever cannot use what came at once should not keep it. */
static inline bool inbox_is_tight(const struct inbox *inbox)
{
    return inbox->made == INPUTS_MAX && inbox->spare < INPUTS_MAX / 4;
}

/* A malloc'd one with a copy of the bytes; NULL when memory is short. Free either kind with input_free. */
struct input *input_new(const void *bytes, size_t size);
void input_free(struct input *input);

struct one_shot;

struct io_receiver {
    struct io_file file;
    /*
     * With `input`, which is the callee's then: bytes. Without: receiving is over, for `result`: 0, the peer's end;
     * -ECANCELED, it was stopped; another error. Called from the backend's poll, or from within loop_receive.
     */
    void (*came)(struct io_receiver *receiver, struct input *input, int result);
    union {
        struct io_receiver *next;   /* the backend's, while `queued` */
        struct one_shot *one_shot;  /* what receives one by one, where `single` */
    };
    bool armed;                /* `came` will be called */
    bool stopping;
    bool queued;               /* the backend's: it is in a list of the backend by `next` */
    bool single;               /* one operation after the other */
};

/* For backends: what they began cannot be gone on with; one operation after the other is to do it. */
void receive_one_by_one(struct loop *loop, struct io_receiver *receiver);

/* For backends: it is over. */
static inline void receive_over(struct io_receiver *receiver, int result)
{
    receiver->armed = receiver->stopping = false;
    receiver->came(receiver, NULL, result);
}

/* Begins, or goes on after it was over. Not while it is armed. */
void loop_receive(struct loop *loop, struct io_receiver *receiver);

/* Ends it: `came` is called with -ECANCELED, at once or a little later; bytes that came before are handed over first. */
void loop_receive_stop(struct loop *loop, struct io_receiver *receiver);

/* A sendmsg that goes on without a task: what the kernel reads until it is done. Kept by the loop while nobody sends. */
#define SENDER_IOV 16

struct io_sender {
    struct io_sender *next;
    struct io_op op;
    struct msghdr message;
    struct iovec iov[SENDER_IOV];
};

struct io_sender *loop_sender_take(struct loop *loop);  /* NULL when memory is short */
void loop_sender_give(struct loop *loop, struct io_sender *sender);

#endif
