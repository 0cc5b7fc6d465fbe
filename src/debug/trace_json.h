/* SPDX-License-Identifier: MIT */
/*
 * Events of a trace as JSON objects of the Trace Event format.
 */
#ifndef TANDEM_DEBUG_TRACE_JSON_H
#define TANDEM_DEBUG_TRACE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "debug/symbols.h"
#include "tandem/scope.h"
#include "tandem/time.h"

#define TRACE_WHAT_MAX 40

enum trace_kind { TRACE_SPAWN, TRACE_RUN, TRACE_WAIT, TRACE_READY };

struct trace_event {
    enum trace_kind kind;
    bool is_first;               /* the task's first slice */
    td_time at, until;
    uint64_t id;                 /* the task's; TRACE_READY: how many are ready */
    td_fn fn;
    const char *site, *name;     /* the name may be NULL */
    char what[TRACE_WHAT_MAX];   /* a wait is for */
};

struct json {
    int fd, rc;                  /* the first error of writing */
    bool has_events;
    struct symbols symbols;
    size_t used;
    char buffer[64 * 1024];
};

int json_open(struct json *json, const char *path);
void json_event(struct json *json, unsigned loop, const struct trace_event *event);

/* The loop's name, and how many of its events are missing. */
void json_loop(struct json *json, unsigned loop, const char *name, unsigned long long dropped);

/* Returns 0, or the first error of all that was written. */
int json_close(struct json *json);

#endif
