/* SPDX-License-Identifier: MIT */
/*
 * Ranges of bytes (RFC 9110, 14). Text only: no file.
 */
#ifndef TANDEM_HTTP_RANGE_H
#define TANDEM_HTTP_RANGE_H

#include <stdint.h>

/* More than a client has use for; who asks for more is answered with the whole (14.2, and 17.15 of floods of ranges). */
#define HTTP_RANGES_MAX 16

struct http_range {
    int64_t begin, size;   /* at least one byte */
};

/*
 * What of `size` bytes the value of a Range field asks for, in its order.
 *
 * Returns how many ranges; 0 when the field is to be ignored: another unit, malformed, too many ranges, or more bytes together
 * than the whole has; -1 when none of them can be satisfied (416).
 */
int http_ranges(const char *value, int64_t size, struct http_range ranges[HTTP_RANGES_MAX]);

#endif
