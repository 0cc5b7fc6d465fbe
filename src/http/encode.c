/* SPDX-License-Identifier: MIT */
/* Answers to bytes. */
#include <errno.h>
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

/* The lines the head writes itself; a second one could end the answer elsewhere (RFC 9112, 11.1). */
static bool is_ours(const char *name, size_t size)
{
    if (size == 4)
        return http_same(name, size, "date");
    return size >= 14 && (http_same(name, size, "content-length") || http_same(name, size, "transfer-encoding"));
}

/* Whether the bytes before a CRLF, or before the end of the text, may be a field's value (RFC 9110, 5.5). Its end. */
static const char *value_end(const char *at)
{
    while ((unsigned char)*at >= ' ' ? *at != 0x7f : *at == '\t')
        at++;
    return at;
}

/* The first line is "Name: value\r\n" (RFC 9110, 5.1 and 5.5). Returns its size, or 0. */
static size_t line_size(const char *line)
{
    size_t name_size = strspn(line, "!#$%&'*+-.^_`|~0123456789"
                                    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    const char *at = line + name_size;

    if (name_size == 0 || *at != ':' || is_ours(line, name_size))
        return 0;
    at = value_end(at);
    return at[0] == '\r' && at[1] == '\n' ? (size_t)(at + 2 - line) : 0;
}

bool http_lines_valid(const char *lines)
{
    while (*lines != '\0') {
        size_t size = line_size(lines);

        if (size == 0)
            return false;
        lines += size;
    }
    return true;
}

static void put_digits(char *out, unsigned digits, unsigned value)
{
    while (digits-- > 0) {
        out[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* Its names are English, whatever locale the program chose: hence not strftime. */
void http_format_date(char out[HTTP_DATE_BYTES], int64_t unix_seconds)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = unix_seconds < 0 ? 0 : unix_seconds > LAST_SECOND_OF_9999 ? LAST_SECOND_OF_9999 : unix_seconds;
    struct tm tm;

    gmtime_r(&seconds, &tm);
    memcpy(out, "Sun, 06 Nov 1994 08:49:37 GMT", HTTP_DATE_BYTES);
    memcpy(out, days + 3 * tm.tm_wday, 3);
    put_digits(out + 5, 2, (unsigned)tm.tm_mday);
    memcpy(out + 8, months + 3 * tm.tm_mon, 3);
    put_digits(out + 12, 4, (unsigned)tm.tm_year + 1900);
    put_digits(out + 17, 2, (unsigned)tm.tm_hour);
    put_digits(out + 20, 2, (unsigned)tm.tm_min);
    put_digits(out + 23, 2, (unsigned)tm.tm_sec);
}

/* Where the head is written: what does not fit is counted all the same. */
struct writer {
    char *out;
    size_t size, room;
};

static void put(struct writer *writer, const char *text, size_t size)
{
    if (writer->size + size <= writer->room)
        memcpy(writer->out + writer->size, text, size);
    writer->size += size;
}

static void put_text(struct writer *writer, const char *text)
{
    put(writer, text, strlen(text));
}

static void put_number(struct writer *writer, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    put(writer, digits + at, sizeof digits - at);
}

static void put_status_line(struct writer *writer, int status)
{
    if (status == 200) {
        put(writer, "HTTP/1.1 200 OK\r\n", 17);
        return;
    }
    put(writer, "HTTP/1.1 ", 9);
    put_number(writer, (uint64_t)status);
    put(writer, " ", 1);
    put_text(writer, http_reason(status));
    put(writer, "\r\n", 2);
}

/* RFC 9110, 8.6, and RFC 9112, 6.1: neither in 1xx nor in 204. */
static void put_framing(struct writer *writer, const struct http_answer_head *head)
{
    if (head->status < 200 || head->status == 204)
        return;
    if (head->framing == HTTP_CHUNKED) {
        put_text(writer, "Transfer-Encoding: chunked\r\n");
    } else if (head->framing == HTTP_LENGTH) {
        put(writer, "Content-Length: ", 16);
        put_number(writer, head->length);
        put(writer, "\r\n", 2);
    }
}

size_t http_head_room(const struct http_answer_head *head)
{
    return 256 + (head->fields ? strlen(head->fields) : 0) + (head->type ? strlen(head->type) : 0);
}

int http_encode_head(char *out, size_t out_size, const struct http_answer_head *head)
{
    struct writer writer = {.out = out, .room = out_size};

    if (head->status < 100 || head->status > 999 || (head->fields && !http_lines_valid(head->fields)) ||
        (head->type && *value_end(head->type) != '\0'))
        return -EINVAL;
    put_status_line(&writer, head->status);
    if (head->fields)
        put_text(&writer, head->fields);
    if (head->type) {
        put(&writer, "Content-Type: ", 14);
        put_text(&writer, head->type);
        put(&writer, "\r\n", 2);
    }
    put(&writer, "Date: ", 6);
    put(&writer, head->date, HTTP_DATE_BYTES - 1);
    put(&writer, "\r\n", 2);
    put_framing(&writer, head);
    if (head->status >= 200 && (head->close || head->keep_alive))
        put_text(&writer, head->close ? "Connection: close\r\n" : "Connection: keep-alive\r\n");
    put(&writer, "\r\n", 2);
    return writer.size > writer.room ? -ENOBUFS : (int)writer.size;
}
