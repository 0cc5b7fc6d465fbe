/* SPDX-License-Identifier: MIT */
/* Responses to bytes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "http/codec.h"

#define LAST_SECOND_OF_9999 INT64_C(253402300799)

const char *http_reason(int status)
{
    switch (status) {       /* RFC 9110, 15; 428 to 431 from RFC 6585, 426 and 101 for upgrades */
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 205: return "Reset Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
    }
}

/* The lines the head writes itself; a second one could end the response elsewhere (RFC 9112, 11.1). */
static bool is_ours(const char *name, size_t size)
{
    return http_same(name, size, "content-length") || http_same(name, size, "transfer-encoding") ||
           http_same(name, size, "date");
}

/* The first line is "Name: value\r\n" (RFC 9110, 5.1 and 5.5). Returns its size, or 0. */
static size_t line_size(const char *line)
{
    size_t name_size = strspn(line, "!#$%&'*+-.^_`|~0123456789"
                                    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    const char *at = line + name_size;

    if (name_size == 0 || *at != ':' || is_ours(line, name_size))
        return 0;
    while ((unsigned char)*at >= ' ' ? *at != 0x7f : *at == '\t')
        at++;
    return at[0] == '\r' && at[1] == '\n' ? (size_t)(at + 2 - line) : 0;
}

static bool well_formed(const char *lines)
{
    while (*lines != '\0') {
        size_t size = line_size(lines);

        if (size == 0)
            return false;
        lines += size;
    }
    return true;
}

/* RFC 9110, 5.6.7. Its names are English, whatever locale the program chose: hence not strftime. */
static void format_date(char *out, size_t out_size, int64_t unix_seconds)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = unix_seconds < 0 ? 0 : unix_seconds > LAST_SECOND_OF_9999 ? LAST_SECOND_OF_9999 : unix_seconds;
    struct tm tm;

    gmtime_r(&seconds, &tm);
    snprintf(out, out_size, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
             tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* An interim response says nothing about the connection: the final one will (and 101 brings its own line). */
static const char *connection_line(const struct http_decoder *request, int status, bool keep_alive)
{
    if (status < 200)
        return "";
    if (!keep_alive)
        return "Connection: close\r\n";
    return http_version_minor(request) == 0 && http_keep_alive(request) ? "Connection: keep-alive\r\n" : "";
}

int http_encode_head(char *out, size_t out_size, const struct http_decoder *request, int status, const char *extra,
                     size_t content_length, bool keep_alive, int64_t unix_seconds)
{
    char date[64];
    char length[48] = "";
    int size;

    if (status < 100 || status > 999 || !well_formed(extra))
        return -EINVAL;
    format_date(date, sizeof(date), unix_seconds);
    if (status >= 200 && status != 204)     /* RFC 9110, 8.6 */
        snprintf(length, sizeof(length), "Content-Length: %zu\r\n", content_length);
    size = snprintf(out, out_size, "HTTP/1.1 %d %s\r\n%sDate: %s\r\n%s%s\r\n", status, http_reason(status), extra, date,
                    length, connection_line(request, status, keep_alive));
    return size < 0 || (size_t)size >= out_size ? -ENOBUFS : size;
}
