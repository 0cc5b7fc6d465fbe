/* SPDX-License-Identifier: MIT */
/*
 * Streams of any kind: input, and what tasks do with a stream. Output's queue is in net/output.c.
 *
 * Invariants: 1. `input_bytes` is the sum of what the chain holds. 2. While `wanted`, input has not ended, and less than the
 * credit is held, the kind is `reading`. 3. Who waits for input counts in the loop's io_pending: only they make a deadlock of
 * others none.
 */
#include "net/stream.h"

#include <errno.h>
#include <string.h>

#include "net/output.h"
#include "sync/cases.h"
#include "sync/waiters.h"

#define KEEP_BYTES_MAX 1024  /* input that nobody waits for keeps no buffer of the loop's when it is smaller */

/* The slot of who waits for the end alone. */
static const char for_the_end;

void stream_init(td_stream *stream, const struct stream_kind *kind, struct loop *loop)
{
    stream->kind = kind;
    stream->loop = loop;
    stream->input_end = 1;
    stream->input_max = STREAM_INPUT_MAX;
    list_init(&stream->readers);
    list_init(&stream->waiters);
    output_init(stream);
}

static bool is_for_the_end(const struct waiter *waiter)
{
    return waiter->slot == &for_the_end;
}

static struct waiter *first_reader(td_stream *stream, bool ended)
{
    for (struct td_list *at = stream->readers.next; at != &stream->readers; at = at->next) {
        struct waiter *waiter = container_of(at, struct waiter, link);

        if (ended || !is_for_the_end(waiter))
            return waiter;
    }
    return NULL;
}

/* What a reader is told: 0, or what receiving failed with. */
static int state(const td_stream *stream)
{
    return stream->input || stream->input_end > 0 ? 0 : stream->input_end;
}

static void tell(td_stream *stream, bool ended)
{
    struct waiter *waiter;

    while ((waiter = first_reader(stream, ended))) {
        list_remove(&waiter->link);
        if (waiter->woken)
            waiter->woken(waiter, is_for_the_end(waiter) ? 0 : state(stream));
        else
            task_unpark(waiter->task, 0);
    }
    if (stream->on_input)
        stream->on_input(stream);
}

/* Bytes that it may hold: more while somebody wants to know of the end behind them. */
static uint32_t credit(const td_stream *stream)
{
    for (const struct td_list *at = stream->readers.next; at != &stream->readers; at = at->next)
        if (is_for_the_end(container_of(at, struct waiter, link)))
            return STREAM_GONE_MAX;
    return stream->input_max;
}

static void read_on(td_stream *stream)
{
    if (stream->reading || !stream->wanted || stream->input_end <= 0 || stream->input_bytes >= credit(stream))
        return;
    stream->reading = true;
    stream->kind->read(stream, true);
}

/* A copy that keeps no buffer of the loop's from the others, with room for the next small pieces. */
static struct input *without_home(struct input *input)
{
    uint32_t size = input->end - input->begin;
    struct input *copy = input_new(NULL, size > KEEP_BYTES_MAX ? size : KEEP_BYTES_MAX);

    if (!copy)
        return input;
    memcpy(copy->bytes, input->bytes + input->begin, size);
    copy->end = size;
    input_free(input);
    return copy;
}

/* Adds a small piece to the last one, where it has room: who sends byte by byte is not to cost a buffer for each. */
static bool join_last(td_stream *stream, struct input *input)
{
    struct input *last = stream->input_last;
    uint32_t size = input->end - input->begin;

    if (!stream->input || size > KEEP_BYTES_MAX || size > last->room - last->end)
        return false;
    memcpy(last->bytes + last->end, input->bytes + input->begin, size);
    last->end += size;
    input_free(input);
    return true;
}

static void append(td_stream *stream, struct input *input)
{
    uint32_t size = input->end - input->begin;

    if (join_last(stream, input))
        return;
    if (input->home && ((stream->input && size <= KEEP_BYTES_MAX) || inbox_is_tight(input->home)))
        input = without_home(input);
    input->next = NULL;
    if (stream->input)
        stream->input_last->next = input;
    else
        stream->input = input;
    stream->input_last = input;
}

void stream_input_came(td_stream *stream, struct input *input)
{
    uint32_t size = input->end - input->begin;

    append(stream, input);
    stream->input_bytes += size;
    if (stream->reading && stream->input_bytes >= credit(stream)) {
        stream->reading = false;
        stream->kind->read(stream, false);
    }
    tell(stream, false);
}

void stream_input_ended(td_stream *stream, int rc)
{
    if (stream->input_end <= 0)
        return;
    stream->reading = false;
    stream->input_end = rc;
    tell(stream, true);
}

void stream_consume(td_stream *stream, size_t size)
{
    struct input *input = stream->input;

    input->begin += (uint32_t)size;
    stream->input_bytes -= (uint32_t)size;
    if (input->begin < input->end)
        return;
    stream->input = input->next;
    input_free(input);
    if (!stream->reading && stream->input_bytes <= stream->input_max / 2)
        read_on(stream);
}

int stream_unread(td_stream *stream, const void *bytes, size_t size)
{
    struct input *input = input_new(bytes, size);

    if (!input)
        return -ENOMEM;
    input->next = stream->input;
    stream->input = input;
    if (!input->next)
        stream->input_last = input;
    stream->input_bytes += (uint32_t)size;
    return 0;
}

int stream_wait_input(td_stream *stream)
{
    struct td_task *self = task_self(__func__);
    int rc = task_checkpoint(self);

    if (rc < 0)
        return rc;
    stream->wanted = true;
    read_on(stream);
    while (rc >= 0 && !stream->input && stream->input_end > 0) {
        stream->loop->io_pending++;
        rc = waiters_park(&stream->readers, self, "bytes from a peer", NULL);
        stream->loop->io_pending--;
    }
    return rc < 0 ? rc : stream->input ? 1 : stream->input_end;
}

void stream_on_input(td_stream *stream, void (*came)(td_stream *stream), void *owner)
{
    stream->loop->io_pending += (came != NULL) - (stream->on_input != NULL);
    stream->on_input = came;
    stream->owner = owner;
    if (!came)
        return;
    stream->wanted = true;
    if (stream->input || stream->input_end <= 0)
        came(stream);
    else
        read_on(stream);
}

static bool input_ready(const td_case *one)
{
    const td_stream *stream = one->on;

    return stream->input || stream->input_end <= 0;
}

static int input_state(td_case *one)
{
    return state(one->on);
}

static struct td_list *among_readers(td_case *one)
{
    return &((td_stream *)one->on)->readers;
}

static void want_input(td_case *one)
{
    td_stream *stream = one->on;

    stream->wanted = true;
    read_on(stream);
}

td_case td_on_stream(td_stream *stream)
{
    static const struct td_case_kind kind = {.ready = input_ready, .happen = input_state, .queue = among_readers,
                                             .begin = want_input};

    return (td_case){.kind = &kind, .on = stream};
}

static bool end_ready(const td_case *one)
{
    return ((const td_stream *)one->on)->input_end <= 0;
}

static int nothing(td_case *one)
{
    return 0;
}

td_case stream_on_gone(td_stream *stream)
{
    static const struct td_case_kind kind = {.ready = end_ready, .happen = nothing, .queue = among_readers, .begin = want_input};

    return (td_case){.kind = &kind, .on = stream, .item = (void *)(uintptr_t)&for_the_end};
}

ssize_t td_stream_read(td_stream *stream, void *data, size_t size)
{
    unsigned char *to = data;
    size_t have, count = 0;
    int rc = stream_wait_input(stream);

    if (rc <= 0)
        return rc;
    while (count < size && stream->input) {
        unsigned char *bytes = stream_peek(stream, &have);
        size_t part = have < size - count ? have : size - count;

        memcpy(to + count, bytes, part);
        stream_consume(stream, part);
        count += part;
    }
    return (ssize_t)count;
}

int td_stream_end(td_stream *stream)
{
    if (stream->loop->sched.forked)
        return -EOWNERDEAD;
    return stream->kind->end(stream);
}

void stream_break(td_stream *stream)
{
    if (!stream->loop->sched.forked)
        stream->kind->abort(stream);
}

void td_stream_close(td_stream *stream)
{
    task_self(__func__);
    stream_on_input(stream, NULL, NULL);
    stream->on_sent = NULL;
    stream->error = stream->error ? stream->error : -EPIPE;
    stream->kind->close(stream);
}

void stream_close_gently(td_stream *stream, td_time grace_ns)
{
    td_scope scope;
    size_t size;

    stream_on_input(stream, NULL, NULL);
    stream->on_sent = NULL;  /* its owner may be gone */
    td_scope_open_shielded(&scope, grace_ns);
    if (stream_wait_sent(stream, 0) == 0 && td_stream_end(stream) == 0)
        while (stream_wait_input(stream) > 0)
            while (stream_peek(stream, &size))
                stream_consume(stream, size);
    td_scope_join(&scope);
    td_stream_close(stream);
}

void stream_fini(td_stream *stream)
{
    struct input *input;

    while ((input = stream->input)) {
        stream->input = input->next;
        input_free(input);
    }
    output_fini(stream);
}
