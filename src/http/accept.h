/* SPDX-License-Identifier: MIT */
/*
 * What a client accepts (RFC 9110, 12.5.3), and what is worth compressing. Text only.
 */
#ifndef TANDEM_HTTP_ACCEPT_H
#define TANDEM_HTTP_ACCEPT_H

#include <stdbool.h>

/* Whether the value of an Accept-Encoding field (NULL: there is none) prefers gzip to the plain bytes, or likes both the same. */
bool http_accepts_gzip(const char *accept_encoding);

/* The media type of a file by its name: "text/html; charset=utf-8". "application/octet-stream" for one that is not known. */
const char *http_type_of(const char *path);

/* Whether bodies of a media type become smaller when they are compressed: text, and what is made of it. NULL: no. */
bool http_type_compresses(const char *type);

#endif
