/* SPDX-License-Identifier: MIT */
/* The least TCP echo on io_uring: multishot accept and receive, a ring of buffers, DEFER_TASKRUN. Prints its port. */
#include <liburing.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "../listen.h"

#define BUFFERS 4096
#define SIZE 4096
#define ACCEPT 1u
#define RECEIVE 2u
#define SEND 3u

static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static char *memory;

static struct io_uring_sqe *entry(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

    if (!sqe) {
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
    }
    return sqe;
}

static void provide(unsigned id)
{
    io_uring_buf_ring_add(buffers, memory + (size_t)id * SIZE, SIZE, (unsigned short)id, io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(buffers, 1);
}

static void receive(int fd)
{
    struct io_uring_sqe *sqe = entry();

    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    io_uring_sqe_set_data64(sqe, (uint64_t)RECEIVE << 56 | (unsigned)fd);
}

static void completed(const struct io_uring_cqe *cqe, int listener)
{
    unsigned kind = (unsigned)(cqe->user_data >> 56), id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    int fd = (int)(cqe->user_data & 0xffffff);

    if (kind == ACCEPT && cqe->res >= 0) {
        no_delay(cqe->res);
        receive(cqe->res);
    } else if (kind == RECEIVE && cqe->res > 0) {
        struct io_uring_sqe *sqe = entry();

        io_uring_prep_send(sqe, fd, memory + (size_t)id * SIZE, (size_t)cqe->res, MSG_NOSIGNAL);
        io_uring_sqe_set_data64(sqe, (uint64_t)SEND << 56 | (uint64_t)id << 24 | (unsigned)fd);
        if (!(cqe->flags & IORING_CQE_F_MORE))
            receive(fd);
    } else if (kind == RECEIVE && cqe->res == -ENOBUFS) {
        receive(fd);
    } else if (kind == RECEIVE) {
        close(fd);
    } else if (kind == SEND) {
        provide((unsigned)(cqe->user_data >> 24) & 0xffff);
    }
    if (kind == ACCEPT && !(cqe->flags & IORING_CQE_F_MORE))
        exit(listener);
}

int main(void)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
                                     .cq_entries = 16384};
    struct io_uring_buf_reg group = {.ring_entries = BUFFERS};
    struct io_uring_cqe *cqes[256], *cqe;
    struct io_uring_sqe *sqe;
    int listener = listen_somewhere(0);

    if (io_uring_queue_init_params(4096, &ring, &params) < 0)
        return 77;
    buffers = mmap(NULL, BUFFERS * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory = malloc((size_t)BUFFERS * SIZE);
    group.ring_addr = (uintptr_t)buffers;
    if (!memory || io_uring_register_buf_ring(&ring, &group, 0) < 0)
        return 77;
    io_uring_buf_ring_init(buffers);
    for (unsigned i = 0; i < BUFFERS; i++)
        provide(i);
    sqe = entry();
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, 0);
    io_uring_sqe_set_data64(sqe, (uint64_t)ACCEPT << 56);
    for (;;) {
        unsigned n;

        if (io_uring_submit_and_wait_timeout(&ring, &cqe, 1, NULL, NULL) < 0)
            continue;
        while ((n = io_uring_peek_batch_cqe(&ring, cqes, 256)) > 0) {
            for (unsigned i = 0; i < n; i++)
                completed(cqes[i], listener);
            io_uring_cq_advance(&ring, n);
        }
    }
}
