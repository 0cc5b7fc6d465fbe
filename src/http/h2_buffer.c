/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http/h2_exchange.h"

#define BUFFER_FIRST 512

int h2_buffer_put(struct h2_buffer *buffer, const void *bytes, size_t size)
{
    size_t used = h2_buffer_size(buffer), room = buffer->room ? buffer->room : BUFFER_FIRST;

    while (room < used + size)
        room *= 2;
    if (room > buffer->room) {
        uint8_t *larger = malloc(room);

        if (!larger)
            return -ENOMEM;
        if (used > 0)
            memcpy(larger, buffer->bytes + buffer->begin, used);
        free(buffer->bytes);
        *buffer = (struct h2_buffer){.bytes = larger, .end = used, .room = room};
    } else if (buffer->room - buffer->end < size) {
        memmove(buffer->bytes, buffer->bytes + buffer->begin, used);
        buffer->begin = 0;
        buffer->end = used;
    }
    if (size > 0)
        memcpy(buffer->bytes + buffer->end, bytes, size);
    buffer->end += size;
    return 0;
}

size_t h2_buffer_take(struct h2_buffer *buffer, void *to, size_t size)
{
    size_t used = h2_buffer_size(buffer);

    if (size > used)
        size = used;
    if (size > 0)
        memcpy(to, buffer->bytes + buffer->begin, size);
    buffer->begin += size;
    if (buffer->begin == buffer->end)
        buffer->begin = buffer->end = 0;
    return size;
}

void h2_buffer_free(struct h2_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct h2_buffer){0};
}
