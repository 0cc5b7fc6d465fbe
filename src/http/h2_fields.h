/* SPDX-License-Identifier: MIT */
/* Lines of an answer's head, as handlers write them, to the fields that HTTP/2 sends. */
#ifndef TANDEM_HTTP_H2_FIELDS_H
#define TANDEM_HTTP_H2_FIELDS_H

#include <stddef.h>

#include <nghttp2/nghttp2.h>

/* Fields in one piece of memory, their names in lower case (RFC 9113, 8.2.1). */
struct h2_fields {
    nghttp2_nv *list;
    size_t count;
};

/*
 * Reads lines "Name: value\r\n". `status` 0: none, for trailers. What belongs to a connection of HTTP/1.1 is left out (RFC 9113,
 * 8.2.2). Returns 0; -EINVAL for a malformed line; -ENOMEM.
 */
int h2_fields_read(struct h2_fields *fields, int status, const char *lines);
void h2_fields_free(struct h2_fields *fields);

#endif
