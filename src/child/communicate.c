/* SPDX-License-Identifier: MIT */
/* Feeding a child and listening to it at the same time: a task for each direction. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "child/child.h"

#define ROOM_FIRST 4096

struct feed {
    td_child *child;
    const void *input;
    size_t size;
};

struct collect {
    td_fd *from;
    char **data;
    size_t *size;
    size_t bytes_max;
};

static int feed(void *arg)
{
    struct feed *self = arg;
    td_fd *to = td_child_stdin(self->child);
    ssize_t n = to ? td_fd_write(to, self->input, self->size) : 0;

    td_child_end_input(self->child);
    return n < 0 && n != -EPIPE ? (int)n : 0;  /* a program need not read to the end */
}

/* One byte more than is allowed is room for the zero, and tells when there is too much. */
static int grow(struct collect *self, size_t *room)
{
    size_t larger = *room == 0 ? ROOM_FIRST : *room < self->bytes_max / 2 ? *room * 2 : self->bytes_max + 1;
    char *data;

    if (*self->size > self->bytes_max)
        return -EMSGSIZE;
    larger = larger < self->bytes_max + 1 ? larger : self->bytes_max + 1;
    data = realloc(*self->data, larger);
    if (!data)
        return -ENOMEM;
    *self->data = data;
    *room = larger;
    return 0;
}

static int collect(void *arg)
{
    struct collect *self = arg;
    size_t room = 0;
    ssize_t n = 1;

    while (n > 0) {
        if (*self->size == room) {
            int rc = grow(self, &room);

            if (rc < 0)
                return rc;
        }
        n = td_fd_read(self->from, *self->data + *self->size, room - *self->size);
        *self->size += n > 0 ? (size_t)n : 0;
    }
    if (n == 0)
        (*self->data)[*self->size] = '\0';  /* the last read had room and found nothing */
    return (int)n;
}

static int talk(td_child *child, struct feed *input, struct collect collects[2])
{
    td_scope scope;
    int rc;

    td_scope_open(&scope);
    rc = td_spawn_at(&scope, feed, input, "td_child_communicate");
    for (int i = 0; i < 2 && rc == 0; i++)
        if (collects[i].from)
            rc = td_spawn_at(&scope, collect, &collects[i], "td_child_communicate");
    if (rc < 0) {
        td_scope_cancel(&scope);
        td_scope_join(&scope);
        return rc;
    }
    return td_scope_join(&scope);
}

int td_child_communicate(td_child *child, const void *input, size_t input_size, td_child_output *output, size_t bytes_max)
{
    struct feed feed_input = {child, input, input_size};
    struct collect collects[2] = {
        {child->pipes[1], &output->out, &output->out_size, bytes_max},
        {child->pipes[2], &output->err, &output->err_size, bytes_max},
    };
    int rc;

    child_user(child, __func__);
    *output = (td_child_output){.out = NULL};
    if (bytes_max == 0 || bytes_max == SIZE_MAX || (input_size > 0 && !child->pipes[0]))
        return -EINVAL;
    rc = talk(child, &feed_input, collects);
    if (rc == 0)
        rc = td_child_wait(child, &output->exit);
    if (rc < 0)
        td_child_output_free(output);
    return rc;
}

int td_child_run(const td_child_opts *opts, const void *input, size_t input_size, td_child_output *output, size_t bytes_max)
{
    td_child_opts mine = *opts;
    td_child *child;
    int rc;

    *output = (td_child_output){.out = NULL};
    if (bytes_max == 0)
        return -EINVAL;
    if (mine.in.kind == TD_CHILD_INHERIT)
        mine.in.kind = input_size > 0 ? TD_CHILD_PIPE : TD_CHILD_NULL;
    if (mine.out.kind == TD_CHILD_INHERIT)
        mine.out.kind = TD_CHILD_PIPE;
    if (mine.err.kind == TD_CHILD_INHERIT)
        mine.err.kind = TD_CHILD_PIPE;
    rc = td_child_spawn(&child, &mine);
    if (rc < 0)
        return rc;
    rc = td_child_communicate(child, input, input_size, output, bytes_max);
    td_child_close(child);
    return rc;
}

void td_child_output_free(td_child_output *output)
{
    free(output->out);
    free(output->err);
    *output = (td_child_output){.out = NULL};
}
