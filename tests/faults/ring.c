/* SPDX-License-Identifier: MIT */
/* What the library calls instead of liburing's functions, and operations that fail inside the ring. */
#include <errno.h>
#include <liburing.h>

#include "faults/inject.h"

#define DOOMED_MAX 256
#define CALLER __builtin_return_address(0)

/* The user_data of operations that are to fail. */
static struct {
    __u64 data[DOOMED_MAX];
    unsigned count;
} doomed;

void faults_ring_begin(void)
{
    doomed.count = 0;
}

int fault_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *params);
int fault_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
    int rc = fault_due(FAULT_io_uring_queue_init_params) ? -errno : io_uring_queue_init_params(entries, ring, params);

    if (rc == 0)
        fault_take_note(ring, RING_THING, 0, CALLER);
    return rc;
}

void fault_io_uring_queue_exit(struct io_uring *ring);
void fault_io_uring_queue_exit(struct io_uring *ring)
{
    fault_strike_out(ring, RING_THING);
    io_uring_queue_exit(ring);
}

struct io_uring_probe *fault_io_uring_get_probe_ring(struct io_uring *ring);
struct io_uring_probe *fault_io_uring_get_probe_ring(struct io_uring *ring)
{
    return fault_due(FAULT_io_uring_get_probe_ring) ? NULL : io_uring_get_probe_ring(ring);
}

int fault_io_uring_ring_dontfork(struct io_uring *ring);
int fault_io_uring_ring_dontfork(struct io_uring *ring)
{
    return fault_due(FAULT_io_uring_ring_dontfork) ? -errno : io_uring_ring_dontfork(ring);
}

static enum fault_call call_of_opcode(unsigned opcode)
{
    switch (opcode) {
#define CALL(type, name, ...)
#define OWN(name, ...)
#define SAFE(name)
#define RING(name, ...) case IORING_OP_##name: return FAULT_RING_##name;
#include "faults/calls.h"
#undef CALL
#undef OWN
#undef RING
#undef SAFE
    default: return FAULT_CALLS;
    }
}

/* What is about to be submitted: the operation that is to fail becomes none at all, which completes at once. */
static void doom(struct io_uring *ring)
{
    const struct io_uring_sq *sq = &ring->sq;

    for (unsigned at = sq->sqe_head; at != sq->sqe_tail; at++) {
        struct io_uring_sqe *sqe = &sq->sqes[at & sq->ring_mask];
        enum fault_call call = call_of_opcode(sqe->opcode);

        if (call == FAULT_CALLS || doomed.count == DOOMED_MAX || !fault_due(call))
            continue;
        doomed.data[doomed.count++] = sqe->user_data;
        sqe->opcode = IORING_OP_NOP;
        sqe->ioprio = 0;
        sqe->rw_flags = 0;
        sqe->fd = -1;
    }
}

static void strike(struct io_uring *ring)
{
    struct io_uring_cq *cq = &ring->cq;
    unsigned tail = io_uring_smp_load_acquire(cq->ktail);

    for (unsigned at = *cq->khead; at != tail && doomed.count > 0; at++) {
        struct io_uring_cqe *cqe = &cq->cqes[at & cq->ring_mask];

        for (unsigned i = 0; i < doomed.count; i++) {
            if (doomed.data[i] != cqe->user_data)
                continue;
            cqe->res = -faults_error();
            doomed.data[i] = doomed.data[--doomed.count];
            break;
        }
    }
}

int fault_io_uring_submit(struct io_uring *ring);
int fault_io_uring_submit(struct io_uring *ring)
{
    int rc;

    if (fault_due(FAULT_io_uring_submit))
        return -errno;
    doom(ring);
    rc = io_uring_submit(ring);
    strike(ring);
    return rc;
}

int fault_io_uring_submit_and_get_events(struct io_uring *ring);
int fault_io_uring_submit_and_get_events(struct io_uring *ring)
{
    int rc;

    if (fault_due(FAULT_io_uring_submit_and_get_events))
        return -errno;
    doom(ring);
    rc = io_uring_submit_and_get_events(ring);
    strike(ring);
    return rc;
}

int fault_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned count,
                                           struct __kernel_timespec *wait, sigset_t *mask);
int fault_io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned count,
                                           struct __kernel_timespec *wait, sigset_t *mask)
{
    int rc;

    if (fault_due(FAULT_io_uring_submit_and_wait_timeout))
        return -errno;
    doom(ring);
    rc = io_uring_submit_and_wait_timeout(ring, cqe, count, wait, mask);
    strike(ring);
    return rc;
}
