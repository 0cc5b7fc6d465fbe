/* SPDX-License-Identifier: MIT */
#include "tandem/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

/* tidy: allow, because standard error is one for the whole process, and so is the look of its lines */
static _Atomic(td_log_format) log_format = TD_LOG_TEXT;

void td_log_set_format(td_log_format format)
{
    atomic_store(&log_format, format);
}

/* Appends text as the inside of a JSON string. Bytes above ASCII pass: the log is UTF-8 like the text it quotes. */
static size_t json_escape(char *out, size_t room, const char *text)
{
    size_t n = 0;

    for (; *text && n + 7 < room; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            out[n++] = '\\';
        if (c < 0x20)
            n += (size_t)snprintf(out + n, room - n, "\\u%04x", c);
        else
            out[n++] = (char)c;
    }
    out[n] = '\0';
    return n;
}

static size_t format_json(char *line, size_t room, td_log_level level, const char *text)
{
    static const char *const names[] = {"error", "warning", "info"};
    struct timespec now;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &now);
    n = (size_t)snprintf(line, room, "{\"at\":%lld.%03ld,\"level\":\"%s\",\"message\":\"", (long long)now.tv_sec,
                         now.tv_nsec / 1000000, names[level]);
    n += json_escape(line + n, room - n - 4, text);
    memcpy(line + n, "\"}\n", 3);
    return n + 3;
}

/*
 * What a client sent may stand in a line, and must not look like another one: control characters become question
 * marks, but for a line break with the indent of a second sentence.
 */
static size_t format_text(char *line, size_t room, const char *text)
{
    size_t n = (size_t)snprintf(line, room - 1, "tandem: %s", text);

    if (n > room - 2)
        n = room - 2;
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)line[i] < 0x20 || line[i] == 0x7f) && strncmp(line + i, "\n        ", 9) != 0)
            line[i] = '?';
    line[n] = '\n';
    return n + 1;
}

void td_log(td_log_level level, const char *format, ...)
{
    int saved = errno;
    char text[LINE_MAX_BYTES - 128], line[LINE_MAX_BYTES];
    va_list args;
    size_t n;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    n = atomic_load(&log_format) == TD_LOG_JSON ? format_json(line, sizeof line, level, text)
                                                : format_text(line, sizeof line, text);
    /* A pipe that nobody reads must not stop a loop: the line is lost then. */
    if (poll(&(struct pollfd){.fd = STDERR_FILENO, .events = POLLOUT}, 1, 0) == 1 && write(STDERR_FILENO, line, n) < 0) {
        /* Nobody is left to tell. */
    }
    errno = saved;
}
