/* SPDX-License-Identifier: MIT */
#include "debug/report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "loop/watchdog.h"
#include "tandem/log.h"

#define STALL_FRAMES 16      /* fit a log line with the sentence before */
#define STALL_TEXT_BYTES 1800

static const char *what_it_does(const struct thread_look *look, td_time wall_ns, td_time cpu_ns)
{
    if (cpu_ns * 4 > wall_ns)  /* on a busy machine it gets a part of its time only */
        return "computing; hand such work to a pool with td_offload";
    if (look->state == 'R')
        return "not scheduled by the kernel: the machine is busy with something else";
    return "blocked in a system call; use the library's own calls for I/O, or a thread pool";
}

/* Appends the backtrace, a line a frame with the indent that the log lets pass. */
static void add_frames(const struct inspected *inspected, char *text, size_t size)
{
    size_t used = strlen(text);
    struct symbols symbols;

    symbols_open(&symbols);
    for (size_t i = 0; i < inspected->frames_count && i < STALL_FRAMES && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "\n        at %s",
                                 symbols_name(&symbols, inspected->frames[i]));
    symbols_close(&symbols);
}

void report_stall(struct inspected *inspected, td_time wall_ns, td_time cpu_ns)
{
    const char *site = sched_running_site(&inspected->loop->sched), *name = sched_running_name(&inspected->loop->sched);
    const char *does, *call;
    char text[STALL_TEXT_BYTES];
    struct thread_look look;

    thread_look(inspected->tid, &look);
    does = what_it_does(&look, wall_ns, cpu_ns);
    call = look.is_in_call && *does == 'b' ? call_name(look.call) : NULL;
    snprintf(text, sizeof text, "%s has been held for %.0f ms by %s%s%s%s: %s%s%s%s", inspected->loop->name,
             (double)wall_ns / 1e6, site ? "the task " : "the library's own work between two tasks", name ? name : "",
             name ? ", spawned at " : site ? "spawned at " : "", site ? site : "", does,
             call ? " (it is in " : "", call ? call : "", call ? ")" : "");
    inspect_frames(inspected, &look);
    add_frames(inspected, text, sizeof text);
    td_log(TD_LOG_WARNING, "%s", text);
}

/* The line above a loop's tree. */
static int write_head(const struct inspected *inspected, enum inspected_how how, int fd)
{
    static const char *const hows[] = {
        [INSPECTED_BY_NOTE] = "",
        [INSPECTED_BY_SIGNAL] = "; it did not answer, and was interrupted",
        [INSPECTED_FROM_OUTSIDE] = "; it did not answer, and was read from outside",
    };
    struct thread_look look = {.call = -1};
    char line[256];
    const char *call;
    struct text text;
    struct symbols none = {.cache = NULL};
    int n;

    if (how == INSPECTED_FROM_OUTSIDE)
        thread_look(inspected->tid, &look);
    call = look.is_in_call ? call_name(look.call) : NULL;
    n = snprintf(line, sizeof line, "%s (thread %d, %s)%s%s%s\n", inspected->loop->name, inspected->tid,
                 inspected->loop->table->name, hows[how], call ? ": it is in the system call " : "", call ? call : "");
    text = (struct text){.data = line, .size = (size_t)n < sizeof line ? (size_t)n : sizeof line - 1, .room = sizeof line};
    return text_write(&text, &none, fd);
}

int report_all(struct td_list *dogs, int fd)
{
    struct tree_room *room = tree_room_open();
    struct symbols symbols;
    int rc = 0;

    if (!room)
        return -ENOMEM;
    symbols_open(&symbols);
    for (struct td_list *at = dogs->next; at != dogs && rc == 0; at = at->next) {
        struct inspected *inspected = &container_of(at, struct watchdog, link)->inspected;
        enum inspected_how how = inspect_tree(inspected, room);

        rc = write_head(inspected, how, fd);
        if (rc == 0)
            rc = text_write(&inspected->tree.text, &symbols, fd);
    }
    symbols_close(&symbols);
    tree_room_close(room);
    return rc;
}

static int log_line(void *user, const char *line)
{
    (void)user;
    td_log(TD_LOG_INFO, "%s", line);
    return 0;
}

void report_to_log(struct loop *loop)
{
    struct tree tree = {.sched = &loop->sched, .room = tree_room_open()};
    struct symbols symbols;

    if (!tree.room)
        return;
    tree_write(&tree);
    symbols_open(&symbols);
    (void)text_lines(&tree.text, &symbols, log_line, NULL);
    symbols_close(&symbols);
    tree_room_close(tree.room);
}
