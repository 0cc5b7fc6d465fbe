/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. Every buffer made is in one place: `free`, a backend's ring, or an owner's chain. 2. `spare` counts those
 * without an owner.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "loop/loop.h"
#include "loop/receive.h"

_Static_assert(offsetof(struct input, bytes) == 32, "the bytes of the loop's buffers are aligned");
_Static_assert(sizeof(struct input) + 4096 + 14 + 1 <= INPUT_STRIDE, "a frame of 4 KiB with its header is to fit");

static bool reserve(struct inbox *inbox)
{
    void *memory = mmap(NULL, (size_t)INPUTS_MAX * INPUT_STRIDE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return false;
    inbox->memory = memory;
    return true;
}

struct input *inbox_grow(struct inbox *inbox)
{
    unsigned first = inbox->made;

    if (first == INPUTS_MAX || (!inbox->memory && !reserve(inbox)))
        return NULL;
    for (unsigned i = first; i < first + INPUTS_CHUNK; i++)
        *inbox_at(inbox, i) = (struct input){.home = inbox, .index = i, .room = INPUT_STRIDE - sizeof(struct input)};
    inbox->made += INPUTS_CHUNK;
    inbox->spare += INPUTS_CHUNK;
    return inbox_at(inbox, first);
}

static void put_back(struct inbox *inbox, struct input *input)
{
    input->next = inbox->free;
    inbox->free = input;
}

struct input *inbox_take(struct inbox *inbox)
{
    struct input *input = inbox->free;

    if (!input && inbox_grow(inbox)) {
        for (unsigned i = inbox->made; i-- > inbox->made - INPUTS_CHUNK;)
            put_back(inbox, inbox_at(inbox, i));
        input = inbox->free;
    }
    if (!input)
        return NULL;
    inbox->free = input->next;
    inbox->spare--;
    input->next = NULL;
    input->begin = input->end = 0;
    return input;
}

void inbox_close(struct inbox *inbox)
{
    if (inbox->memory)
        munmap(inbox->memory, (size_t)INPUTS_MAX * INPUT_STRIDE);
}

struct input *input_new(const void *bytes, size_t size)
{
    struct input *input = size <= UINT32_MAX / 2 ? malloc(sizeof *input + size) : NULL;

    if (!input)
        return NULL;
    *input = (struct input){.end = (uint32_t)size, .room = (uint32_t)size};
    if (bytes)
        memcpy(input->bytes, bytes, size);
    return input;
}

void input_free(struct input *input)
{
    struct inbox *home = input->home;

    if (!home) {
        free(input);
        return;
    }
    home->spare++;
    if (home->back)
        home->back(home, input);
    else
        put_back(home, input);
}

struct io_sender *loop_sender_take(struct loop *loop)
{
    struct io_sender *sender = loop->senders;

    if (!sender)
        return malloc(sizeof *sender);
    loop->senders = sender->next;
    return sender;
}

void loop_sender_give(struct loop *loop, struct io_sender *sender)
{
    sender->next = loop->senders;
    loop->senders = sender;
}
