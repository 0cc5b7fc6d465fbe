/* SPDX-License-Identifier: MIT */
/*
 * An answer as it comes in: its header lines and its body, each within a limit.
 */
#ifndef TANDEM_FETCH_RESPONSE_H
#define TANDEM_FETCH_RESPONSE_H

#include "tandem/fetch.h"

/* Bytes that grow. */
struct grown {
    char *bytes;
    size_t size, room;
};

struct td_http_response {
    int status, version;
    char *url;
    struct grown fields, trailers;  /* "name\0value\0" one after another */
    struct grown body;              /* with a zero byte behind it that does not count, unless it is empty */
    size_t head_bytes;              /* of all lines so far, those of earlier answers too */
    bool head_done;
};

/* Adds a piece; there is room for a zero byte behind it. Returns 0 or -ENOMEM; then it is as it was. */
int grown_add(struct grown *grown, const void *bytes, size_t size);

/*
 * Takes a header line as libcurl hands it over: a status line, which begins the head anew, a field, the empty line, a trailer.
 * Returns 0; -EMSGSIZE beyond `bytes_max`; -EPROTO for a line that is none; -ENOMEM.
 */
int response_line(td_http_response *response, const char *line, size_t size, size_t bytes_max);

/* Adds to the collected body. Returns 0; -EMSGSIZE; -ENOMEM. */
int response_collect(td_http_response *response, const void *bytes, size_t size, size_t bytes_max);

#endif
