/* SPDX-License-Identifier: MIT */
/*
 * Answers that are compressed on their way: gzip by zlib, piece by piece, the loop never held for longer than a piece takes.
 */
#ifndef TANDEM_HTTP_COMPRESS_H
#define TANDEM_HTTP_COMPRESS_H

#include "http/exchange.h"

#define COMPRESS_BYTES_MIN 256   /* less is not worth a gzip's own 18 bytes and a system's packet anyway */

/*
 * Looks whether an answer is to be compressed: its status is 200 and its type compresses, nothing says that it is encoded already
 * or must stay as it is, and the client likes gzip. Then http->gzip is set, and answer->fields and body_bytes say so; also where
 * the client does not like it, Vary does. Returns 0 or -ENOMEM.
 */
int compress_prepare(td_http *http, struct answer *answer);

/* Compresses, and sends what comes out. `flush`: the client is to have all of it now. Checkpoint. Returns as kind->data. */
int compress_write(td_http *http, const void *data, size_t size, bool flush);

/* Sends what is left. The answer's end comes after it. Checkpoint. */
int compress_finish(td_http *http);

/* Frees what compress_prepare made, if anything. */
void compress_end(td_http *http);

#endif
