/* SPDX-License-Identifier: MIT */
#include "http/range.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* Digits, as large as they may be: what does not fit is INT64_MAX, behind the end of every file. False when there are none. */
static bool number(const char **at, int64_t *value)
{
    const char *begin = *at;

    for (*value = 0; **at >= '0' && **at <= '9'; (*at)++)
        if (*value > (INT64_MAX - 9) / 10)
            *value = INT64_MAX - 9;
        else
            *value = *value * 10 + (**at - '0');
    return *at > begin;
}

/* One range. Returns 1; 0 when it lies behind the end; -1 when it is malformed. */
static int one_range(const char **at, int64_t size, struct http_range *range)
{
    int64_t first, last;

    if (**at == '-') {  /* the last so many */
        ++*at;
        if (!number(at, &last))
            return -1;
        range->size = last < size ? last : size;
        range->begin = size - range->size;
        return range->size > 0;
    }
    if (!number(at, &first) || **at != '-')
        return -1;
    ++*at;
    if (!number(at, &last))
        last = INT64_MAX;
    if (last < first)
        return -1;
    if (first >= size)
        return 0;
    range->begin = first;
    range->size = (last < size - 1 ? last : size - 1) - first + 1;
    return 1;
}

int http_ranges(const char *value, int64_t size, struct http_range ranges[HTTP_RANGES_MAX])
{
    const char *at = value;
    int count = 0, asked = 0, found;
    int64_t bytes = 0;

    if (strncasecmp(at, "bytes=", 6) != 0)
        return 0;
    for (at += 6;; at++) {
        struct http_range range;

        at += strspn(at, " \t");
        if (*at == ',')
            continue;  /* an empty element of a list (5.6.1) */
        if (*at == '\0')
            break;
        found = one_range(&at, size, &range);
        at += strspn(at, " \t");
        if (found < 0 || (*at != ',' && *at != '\0') || ++asked > HTTP_RANGES_MAX)
            return 0;
        if (found > 0) {
            ranges[count++] = range;
            bytes += range.size;
        }
        if (*at == '\0')
            break;
    }
    if (asked == 0 || bytes > size)
        return 0;  /* overlapping: the whole is less */
    return count > 0 ? count : -1;
}
