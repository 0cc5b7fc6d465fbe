/* SPDX-License-Identifier: MIT */
/* What the parts of the io_uring backend share: uring.c, and uring_receive.c. */
#ifndef TANDEM_LOOP_URING_H
#define TANDEM_LOOP_URING_H

#include <liburing.h>

#include "loop/receive.h"

/* In the low bits of a completion's user data: an operation's address has none. */
#define URING_CANCEL 1u    /* of a cancel request itself */
#define URING_RECEIVER 2u  /* of a struct io_receiver */
#define URING_TAGS 7u

struct uring_receive {
    struct io_uring *ring;
    struct loop *loop;
    struct io_uring_buf_ring *buffers;
    struct inbox inbox;
    struct io_receiver *unarmed, *unstopped;
    bool works;            /* this kernel has what it takes, as far as we know */
    bool proved;           /* and it has been seen to work */
};

/* An entry of the submission queue; NULL when it is full and cannot be submitted now. */
static inline struct io_uring_sqe *uring_room(struct io_uring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

    if (sqe)
        return sqe;
    io_uring_submit(ring);  /* a failure leaves the queue full */
    return io_uring_get_sqe(ring);
}

/* Where the kernel lacks something it does not `work`, and is no error. */
void uring_receive_open(struct uring_receive *self, struct io_uring *ring);
void uring_receive_close(struct uring_receive *self);  /* after the ring */

/* As backend_table's receive and receive_stop. */
bool uring_receive_start(struct uring_receive *self, struct io_receiver *receiver);
void uring_receive_stop(struct uring_receive *self, struct io_receiver *receiver);

void uring_receive_submit(struct uring_receive *self);  /* what waits for room in the queue, or for buffers */
void uring_receive_completed(struct uring_receive *self, const struct io_uring_cqe *cqe);

#endif
