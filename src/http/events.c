/* SPDX-License-Identifier: MIT */
/* The text/event-stream format is WHATWG HTML, 9.2.6. */
#include "tandem/events.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/exchange.h"

#define LINE_OVERHEAD 7   /* "data: " and a line end */

int td_http_events(td_http *http)
{
    static const td_http_answer answer = {.fields = "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n",
                                          .type = "text/event-stream", .size = -1};

    return strcmp(td_http_method(http), "GET") == 0 ? td_http_begin(http, &answer) : -EPERM;
}

static bool one_line(const char *text)
{
    return !text || text[strcspn(text, "\r\n")] == '\0';
}

static size_t line_ends(const char *text)
{
    size_t count = 0;

    for (; *text; text++)
        count += *text == '\n' || *text == '\r';
    return count;
}

static char *add(char *at, const char *name, const char *value, size_t size)
{
    at = stpcpy(at, name);
    memcpy(at, value, size);
    at[size] = '\n';
    return at + size + 1;
}

/* Each line of its own: CR, LF and CRLF all end one for the client. */
static char *add_data(char *at, const char *data)
{
    for (;;) {
        size_t size = strcspn(data, "\r\n");

        at = add(at, "data: ", data, size);
        data += size;
        if (*data == '\0')
            return at;
        data += data[0] == '\r' && data[1] == '\n' ? 2 : 1;
    }
}

int td_http_event(td_http *http, const char *event, const char *id, const char *data)
{
    size_t room = LINE_OVERHEAD * 4;
    char *text, *at;
    int rc;

    if (!one_line(event) || !one_line(id))
        return -EINVAL;
    room += (event ? strlen(event) : 0) + (id ? strlen(id) : 0);
    if (data)
        room += strlen(data) + LINE_OVERHEAD * (line_ends(data) + 1);
    at = text = malloc(room);
    if (!text)
        return -ENOMEM;
    if (!event && !id && !data)
        at = add(at, ":", "", 0);
    if (event)
        at = add(at, "event: ", event, strlen(event));
    if (id)
        at = add(at, "id: ", id, strlen(id));
    if (data)
        at = add_data(at, data);
    *at++ = '\n';
    rc = td_http_write(http, text, (size_t)(at - text));
    free(text);
    return rc;
}

int td_http_event_retry(td_http *http, td_time after)
{
    char text[48];
    int n = snprintf(text, sizeof text, "retry: %lld\n\n", (long long)(after < 0 ? 0 : after / 1000000));

    return td_http_write(http, text, (size_t)n);
}
