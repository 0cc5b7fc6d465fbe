/* SPDX-License-Identifier: MIT */
/*
 * Validators of a representation, and what a request's conditions make of them (RFC 9110, 8.8 and 13). Text only: no file.
 */
#ifndef TANDEM_HTTP_VALIDATORS_H
#define TANDEM_HTTP_VALIDATORS_H

#include <stdbool.h>
#include <stdint.h>

#define HTTP_ETAG_BYTES 64

struct http_validators {
    char etag[HTTP_ETAG_BYTES];  /* with its quotes; strong */
    int64_t modified;            /* seconds since 1970 */
};

/* A strong entity tag out of what changes when a file does: the file itself, its size, its time to the nanosecond. */
void http_etag_of_file(char out[HTTP_ETAG_BYTES], uint64_t inode, uint64_t size, int64_t modified_ns);

/* The three forms of a date (RFC 9110, 5.6.7). Returns seconds since 1970, or -1 for a text that is none. */
int64_t http_parse_date(const char *text);

/* The request's fields; NULL when absent. */
struct http_conditions {
    const char *if_match, *if_none_match, *if_modified_since, *if_unmodified_since, *if_range;
};

/*
 * In the order of RFC 9110, 13.2.2, for GET and HEAD. Returns 0: answer as if there were no condition; 304; 412.
 */
int http_evaluate(const struct http_conditions *conditions, const struct http_validators *validators);

/* Whether a Range is to be looked at: there is no If-Range, or it names this very representation (13.1.5). */
bool http_if_range_holds(const char *if_range, const struct http_validators *validators);

#endif
