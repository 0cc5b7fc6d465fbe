/* SPDX-License-Identifier: MIT */
#include "debug/trace_json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ROOM_FOR_ONE 2048   /* no object is longer */
#define TEXT_MAX 320        /* of an escaped name or site */
#define NAME_MAX_BYTES 80

static void flush(struct json *json)
{
    size_t done = 0;

    while (done < json->used && json->rc == 0) {
        ssize_t n = write(json->fd, json->buffer + done, json->used - done);

        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno != EINTR)
            json->rc = -errno;
    }
    json->used = 0;
}

__attribute__((format(printf, 2, 3))) static void put(struct json *json, const char *format, ...)
{
    va_list args;
    int n;

    if (sizeof json->buffer - json->used < ROOM_FOR_ONE)
        flush(json);
    va_start(args, format);
    n = vsnprintf(json->buffer + json->used, sizeof json->buffer - json->used, format, args);
    va_end(args);
    json->used += (size_t)n;
}

/* The inside of a JSON string. */
static const char *escape(char *out, size_t room, const char *text)
{
    size_t n = 0;

    for (; text && *text && n + 7 < room; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x20)
            n += (size_t)snprintf(out + n, room - n, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            out[n++] = '\\', out[n++] = (char)c;
        else
            out[n++] = c < 0x7f ? (char)c : '?';  /* a cut text may end inside of a character */
    }
    out[n] = '\0';
    return out;
}

int json_open(struct json *json, const char *path)
{
    memset(json, 0, sizeof *json);
    json->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (json->fd < 0)
        return -errno;
    symbols_open(&json->symbols);
    put(json, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    return 0;
}

static void begin(struct json *json, const char *phase, unsigned loop)
{
    put(json, "%s\n{\"ph\":\"%s\",\"pid\":%d,\"tid\":%u", json->has_events ? "," : "", phase, (int)getpid(), loop);
    json->has_events = true;
}

/* Times are microseconds, with three decimals. */
static void put_time(struct json *json, const char *key, td_time ns)
{
    put(json, ",\"%s\":%lld.%03lld", key, (long long)(ns / 1000), (long long)(ns % 1000));
}

static void put_run(struct json *json, unsigned loop, const struct trace_event *event, const char *name, const char *site)
{
    begin(json, "X", loop);
    put_time(json, "ts", event->at);
    put_time(json, "dur", event->until - event->at);
    put(json, ",\"cat\":\"run\",\"name\":\"%s\",\"args\":{\"task\":%llu,\"spawned at\":\"%s\"}}", name,
        (unsigned long long)event->id, site);
    if (!event->is_first)
        return;
    begin(json, "f", loop);
    put_time(json, "ts", event->at);
    put(json, ",\"cat\":\"spawn\",\"name\":\"spawn\",\"bp\":\"e\",\"id\":\"%u.%llu\"}", loop, (unsigned long long)event->id);
}

/* A task's track has its number for identity and its waits for slices: both ends at once, so that none is lost alone. */
static void put_wait(struct json *json, unsigned loop, const struct trace_event *event, const char *name, const char *site)
{
    char what[6 * TRACE_WHAT_MAX + 8];

    escape(what, sizeof what, event->what);
    for (int end = 0; end < 2; end++) {
        begin(json, end ? "e" : "b", loop);
        put_time(json, "ts", end ? event->until : event->at);
        put(json, ",\"cat\":\"wait\",\"id\":\"%u.%llu\",\"name\":\"%s\",\"args\":{\"task\":\"%s\",\"spawned at\":\"%s\"}}", loop,
            (unsigned long long)event->id, what, name, site);
    }
}

void json_event(struct json *json, unsigned loop, const struct trace_event *event)
{
    char function[NAME_MAX_BYTES], name[TEXT_MAX], site[TEXT_MAX];

    if (event->kind == TRACE_READY) {
        begin(json, "C", loop);
        put_time(json, "ts", event->at);
        put(json, ",\"name\":\"ready tasks of loop %u\",\"args\":{\"ready\":%llu}}", loop - 1, (unsigned long long)event->id);
        return;
    }
    symbols_function(&json->symbols, (uintptr_t)event->fn, function, sizeof function);
    escape(name, sizeof name, event->name ? event->name : function);
    escape(site, sizeof site, event->site);
    if (event->kind == TRACE_RUN) {
        put_run(json, loop, event, name, site);
    } else if (event->kind == TRACE_WAIT) {
        put_wait(json, loop, event, name, site);
    } else {
        begin(json, "s", loop);
        put_time(json, "ts", event->at);
        put(json, ",\"cat\":\"spawn\",\"name\":\"spawn\",\"id\":\"%u.%llu\"}", loop, (unsigned long long)event->id);
    }
}

void json_loop(struct json *json, unsigned loop, const char *name, unsigned long long dropped)
{
    begin(json, "M", loop);
    put(json, ",\"name\":\"thread_name\",\"args\":{\"name\":\"%s\"}}", name);
    begin(json, "M", loop);
    put(json, ",\"name\":\"dropped\",\"args\":{\"events\":%llu}}", dropped);
}

int json_close(struct json *json)
{
    put(json, "\n]}\n");
    flush(json);
    symbols_close(&json->symbols);
    if (close(json->fd) < 0 && json->rc == 0)
        json->rc = -errno;
    return json->rc;
}
