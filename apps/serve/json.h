/* SPDX-License-Identifier: MIT */
/*
 * JSON from clients.
 */
#ifndef TANDEM_SERVE_JSON_H
#define TANDEM_SERVE_JSON_H

#include <jansson.h>

#define JSON_DEPTH_MAX 32

/*
 * Parses a client's JSON. Nesting is bounded before the parser sees it: jansson recurses for each level, and a
 * task's stack is small. Returns the value, or NULL and a sentence in error->text, with its place.
 */
json_t *json_read(const char *text, size_t size, json_error_t *error);

#endif
