/* SPDX-License-Identifier: MIT */
/* A decoder with the stores it fills, for one request after the other. */
#ifndef TANDEM_TESTS_HTTP_READER_H
#define TANDEM_TESTS_HTTP_READER_H

#include <stdlib.h>

#include "http/codec.h"

struct reader {
    struct http_decoder decoder;
    struct http_head head, trailers;
    const struct http_limits *limits;
};

static inline void reader_start(struct reader *reader)
{
    head_init(&reader->head, NULL, 0);
    head_init(&reader->trailers, NULL, 0);
    http_decoder_init(&reader->decoder, reader->limits, &reader->head, &reader->trailers);
}

static inline struct reader *reader_open(const struct http_limits *limits)
{
    struct reader *reader = calloc(1, sizeof *reader);

    if (!reader)
        abort();
    reader->limits = limits;
    reader_start(reader);
    return reader;
}

static inline void reader_next(struct reader *reader)
{
    head_clear(&reader->head);
    head_clear(&reader->trailers);
    reader_start(reader);
}

static inline void reader_close(struct reader *reader)
{
    head_clear(&reader->head);
    head_clear(&reader->trailers);
    free(reader);
}

#endif
