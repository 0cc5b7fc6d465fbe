/* SPDX-License-Identifier: MIT */
#include "http/validators.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

void http_etag_of_file(char out[HTTP_ETAG_BYTES], uint64_t inode, uint64_t size, int64_t modified_ns)
{
    snprintf(out, HTTP_ETAG_BYTES, "\"%llx-%llx-%llx\"", (unsigned long long)inode, (unsigned long long)size,
             (unsigned long long)modified_ns);
}

/* Takes exactly `digits` digits. */
static bool number(const char **at, int digits, int *value)
{
    *value = 0;
    for (int i = 0; i < digits; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        *value = *value * 10 + (**at - '0');
    }
    return true;
}

static bool literal(const char **at, char c)
{
    return **at == c && ((*at)++, true);
}

static bool month(const char **at, int *value)
{
    for (*value = 0; *value < 12; ++*value)
        if (strncmp(*at, months + 3 * *value, 3) == 0) {
            *at += 3;
            return true;
        }
    return false;
}

static bool time_of_day(const char **at, struct tm *tm)
{
    return number(at, 2, &tm->tm_hour) && literal(at, ':') && number(at, 2, &tm->tm_min) && literal(at, ':') &&
           number(at, 2, &tm->tm_sec) && tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

/* "06 Nov 1994 08:49:37 GMT", or with dashes and two digits of the year: then it is the last such year (RFC 9110, 5.6.7). */
static bool behind_the_comma(const char *at, struct tm *tm)
{
    char between;
    int year;

    if (!literal(&at, ' ') || !number(&at, 2, &tm->tm_mday))
        return false;
    between = *at;
    if ((between != ' ' && between != '-') || !literal(&at, between) || !month(&at, &tm->tm_mon) || !literal(&at, between))
        return false;
    if (between == ' ') {
        if (!number(&at, 4, &year))
            return false;
    } else {
        time_t now = time(NULL);
        struct tm today;

        if (!number(&at, 2, &year) || !gmtime_r(&now, &today))
            return false;
        year += (today.tm_year + 1900) / 100 * 100;
        if (year > today.tm_year + 1900 + 50)
            year -= 100;
    }
    tm->tm_year = year - 1900;
    return literal(&at, ' ') && time_of_day(&at, tm) && strcmp(at, " GMT") == 0;
}

/* "Sun Nov  6 08:49:37 1994" */
static bool as_asctime(const char *at, struct tm *tm)
{
    int year;

    if (strlen(at) != 24 || at[3] != ' ')
        return false;
    at += 4;
    if (!month(&at, &tm->tm_mon) || !literal(&at, ' '))
        return false;
    if (!(*at == ' ' ? (at++, number(&at, 1, &tm->tm_mday)) : number(&at, 2, &tm->tm_mday)))
        return false;
    if (!literal(&at, ' ') || !time_of_day(&at, tm) || !literal(&at, ' ') || !number(&at, 4, &year))
        return false;
    tm->tm_year = year - 1900;
    return true;
}

int64_t http_parse_date(const char *text)
{
    const char *comma = strchr(text, ',');
    struct tm tm = {0};
    int64_t seconds;

    if (!(comma ? behind_the_comma(comma + 1, &tm) : as_asctime(text, &tm)) || tm.tm_mday < 1 || tm.tm_mday > 31)
        return -1;
    seconds = timegm(&tm);
    return seconds < 0 ? -1 : seconds;
}

/* The next entity tag of a list; its weakness. Returns its length with the quotes, 0 when there is none any more. */
static size_t next_etag(const char **at, const char **etag, bool *weak)
{
    const char *end;

    *at += strspn(*at, " \t,");
    *weak = strncmp(*at, "W/", 2) == 0;
    *etag = *at + (*weak ? 2 : 0);
    if (**etag != '"' || !(end = strchr(*etag + 1, '"')))
        return 0;
    *at = end + 1;
    return (size_t)(end + 1 - *etag);
}

/* Weakly compared where either side may be weak; ours never is (8.8.3.2). */
static bool list_has(const char *list, const char *ours, bool strongly)
{
    const char *at = list + strspn(list, " \t"), *etag;
    size_t size;
    bool weak;

    if (at[0] == '*' && at[1 + strspn(at + 1, " \t")] == '\0')
        return true;
    while ((size = next_etag(&at, &etag, &weak)) > 0)
        if (size == strlen(ours) && memcmp(etag, ours, size) == 0 && !(weak && strongly))
            return true;
    return false;
}

int http_evaluate(const struct http_conditions *conditions, const struct http_validators *validators)
{
    int64_t since;

    if (conditions->if_match) {
        if (!list_has(conditions->if_match, validators->etag, true))
            return 412;
    } else if (conditions->if_unmodified_since) {
        since = http_parse_date(conditions->if_unmodified_since);
        if (since >= 0 && validators->modified > since)
            return 412;
    }
    if (conditions->if_none_match)
        return list_has(conditions->if_none_match, validators->etag, false) ? 304 : 0;
    if (conditions->if_modified_since) {
        since = http_parse_date(conditions->if_modified_since);
        if (since >= 0 && validators->modified <= since)
            return 304;
    }
    return 0;
}

bool http_if_range_holds(const char *if_range, const struct http_validators *validators)
{
    if (!if_range)
        return true;
    if (*if_range == '"')
        return strcmp(if_range, validators->etag) == 0;
    if (strncmp(if_range, "W/", 2) == 0)
        return false;
    return http_parse_date(if_range) == validators->modified;
}
