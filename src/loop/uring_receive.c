/* SPDX-License-Identifier: MIT */
/*
 * Receiving with io_uring: one multishot operation a connection, and one ring of buffers for all, from which the kernel picks.
 *
 * Invariants: 1. An armed receiver has an operation in the kernel, or is `queued` in `unarmed`: it waits for room in the
 * submission queue, or for a buffer to come back. 2. One that is stopping and `queued` in `unstopped` waits for room for its
 * cancel.
 */
#include "loop/uring.h"

#include <errno.h>
#include <sys/mman.h>

#include "loop/loop.h"

#define BUFFERS_LOW 16     /* spare ones: then more are made */
#define GROUP 0

static void provide(struct uring_receive *self, struct input *input)
{
    io_uring_buf_ring_add(self->buffers, input->bytes, input->room, (unsigned short)input->index,
                          io_uring_buf_ring_mask(INPUTS_MAX), 0);
    io_uring_buf_ring_advance(self->buffers, 1);
}

static void came_back(struct inbox *inbox, struct input *input)
{
    provide(container_of(inbox, struct uring_receive, inbox), input);
}

static bool more_buffers(struct uring_receive *self)
{
    struct input *first = inbox_grow(&self->inbox);

    for (unsigned i = 0; first && i < INPUTS_CHUNK; i++)
        provide(self, inbox_at(&self->inbox, first->index + i));
    return first != NULL;
}

void uring_receive_open(struct uring_receive *self, struct io_uring *ring)
{
    size_t size = INPUTS_MAX * sizeof(struct io_uring_buf);
    struct io_uring_buf_reg group = {.ring_entries = INPUTS_MAX, .bgid = GROUP};
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    self->ring = ring;
    if (memory == MAP_FAILED)
        return;
    group.ring_addr = (uintptr_t)memory;
    if (madvise(memory, size, MADV_DONTFORK) < 0 || io_uring_register_buf_ring(ring, &group, 0) < 0) {
        munmap(memory, size);
        return;
    }
    self->buffers = memory;
    self->inbox.back = came_back;
    io_uring_buf_ring_init(self->buffers);
    self->works = true;
}

void uring_receive_close(struct uring_receive *self)
{
    if (self->buffers)
        munmap(self->buffers, INPUTS_MAX * sizeof(struct io_uring_buf));
    inbox_close(&self->inbox);
}

static void enqueue(struct io_receiver **list, struct io_receiver *receiver)
{
    receiver->queued = true;
    receiver->next = *list;
    *list = receiver;
}

static struct io_receiver *dequeue(struct io_receiver **list)
{
    struct io_receiver *receiver = *list;

    *list = receiver->next;
    receiver->queued = false;
    return receiver;
}

/* It is in one of the two lists; short ones, as a rule empty. */
static void unqueue(struct uring_receive *self, struct io_receiver *receiver)
{
    struct io_receiver **at = receiver->stopping ? &self->unstopped : &self->unarmed;

    while (*at != receiver)
        at = &(*at)->next;
    (void)dequeue(at);
}

static bool arm(struct uring_receive *self, struct io_receiver *receiver)
{
    struct io_uring_sqe *sqe = uring_room(self->ring);

    if (!sqe)
        return false;
    io_uring_prep_recv_multishot(sqe, receiver->file.fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    io_uring_sqe_set_data64(sqe, (uintptr_t)receiver | URING_RECEIVER);
    return true;
}

static bool disarm(struct uring_receive *self, struct io_receiver *receiver)
{
    struct io_uring_sqe *sqe = uring_room(self->ring);

    if (!sqe)
        return false;
    io_uring_prep_cancel64(sqe, (uintptr_t)receiver | URING_RECEIVER, 0);
    io_uring_sqe_set_data64(sqe, URING_CANCEL);
    return true;
}

bool uring_receive_start(struct uring_receive *self, struct io_receiver *receiver)
{
    if (!self->works || (self->inbox.made == 0 && !more_buffers(self)))
        return false;
    if (self->unarmed || !arm(self, receiver))
        enqueue(&self->unarmed, receiver);
    return true;
}

void uring_receive_stop(struct uring_receive *self, struct io_receiver *receiver)
{
    if (receiver->queued) {
        receiver->stopping = false;  /* it is in the other list */
        unqueue(self, receiver);
        receive_over(receiver, -ECANCELED);
    } else if (!disarm(self, receiver)) {
        enqueue(&self->unstopped, receiver);
    }
}

void uring_receive_submit(struct uring_receive *self)
{
    while (self->unstopped && disarm(self, self->unstopped))
        (void)dequeue(&self->unstopped);
    while (self->unarmed && (self->inbox.spare > 0 || more_buffers(self)) && arm(self, self->unarmed))
        (void)dequeue(&self->unarmed);
}

/* The kernel's operation has ended, and this is why. */
static void ended(struct uring_receive *self, struct io_receiver *receiver, int result)
{
    if (receiver->queued)
        unqueue(self, receiver);
    if (receiver->stopping || (result <= 0 && result != -ENOBUFS && result != -EINTR && result != -EAGAIN && result != -EINVAL))
        receive_over(receiver, receiver->stopping && result != 0 ? -ECANCELED : result);
    else if (result == -EINVAL && !self->proved) {
        self->works = false;  /* Linux before 6.0 has the buffers, and no multishot receive */
        receive_one_by_one(self->loop, receiver);
    } else if (result == -EINVAL) {
        receive_over(receiver, result);
    } else {
        enqueue(&self->unarmed, receiver);
    }
}

void uring_receive_completed(struct uring_receive *self, const struct io_uring_cqe *cqe)
{
    struct io_receiver *receiver = (struct io_receiver *)((uintptr_t)cqe->user_data & ~(uintptr_t)URING_TAGS);
    bool over = !(cqe->flags & IORING_CQE_F_MORE), stopping = receiver->stopping;
    struct input *input = NULL;

    if (cqe->flags & IORING_CQE_F_BUFFER) {
        input = inbox_at(&self->inbox, cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        if (--self->inbox.spare < BUFFERS_LOW)
            (void)more_buffers(self);
    }
    if (input && cqe->res > 0) {
        self->proved = true;
        input->next = NULL;
        input->begin = 0;
        input->end = (uint32_t)cqe->res;
        context_memory_filled(input->bytes, (size_t)cqe->res);
        if (over && !stopping)
            ended(self, receiver, -EAGAIN);  /* first, so that `came` may stop it where it waits now */
        receiver->came(receiver, input, cqe->res);
        if (over && stopping)
            ended(self, receiver, -EAGAIN);  /* last: nothing comes after its end */
        return;
    }
    if (input)
        input_free(input);
    if (over)
        ended(self, receiver, cqe->res);
}
