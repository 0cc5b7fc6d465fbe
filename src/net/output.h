/* SPDX-License-Identifier: MIT */
/* The queue of blocks of a stream, as net/stream.c makes and ends it. */
#ifndef TANDEM_NET_OUTPUT_H
#define TANDEM_NET_OUTPUT_H

#include "net/stream.h"

void output_init(td_stream *stream);
void output_fini(td_stream *stream);

#endif
