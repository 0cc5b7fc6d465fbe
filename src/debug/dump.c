/* SPDX-License-Identifier: MIT */
#include "tandem/debug.h"

#include <errno.h>
#include <semaphore.h>

#include "loop/watchdog.h"

/* A task's: it parks, so that its own loop can answer like the others. */
struct task_dump {
    struct dump_request request;
    struct loop_note note;
    struct wait wait;
    struct td_task *task;
    int rc;
};

static void tell_task(struct loop_note *note)
{
    struct task_dump *dump = container_of(note, struct task_dump, note);

    loop_of(dump->task)->outside_pending--;
    task_unpark(dump->task, dump->rc);
}

static void task_dump_done(struct dump_request *request, int rc)
{
    struct task_dump *dump = container_of(request, struct task_dump, request);

    dump->rc = rc;
    loop_notify(loop_of(dump->task), &dump->note);
}

static int dump_for_task(struct td_task *self, int fd)
{
    struct task_dump dump = {.request = {.fd = fd, .done = task_dump_done}, .note = {.receive = tell_task},
                             .wait = {NULL, "a dump of all tasks", 0}, .task = self};

    if (self->sched->forked)
        return -EOWNERDEAD;
    loop_of(self)->outside_pending++;
    if (!watchdog_dump(&dump.request)) {
        loop_of(self)->outside_pending--;
        return -ENOENT;
    }
    return task_park(self, &dump.wait);
}

struct thread_dump {
    struct dump_request request;
    sem_t done;
    int rc;
};

static void thread_dump_done(struct dump_request *request, int rc)
{
    struct thread_dump *dump = container_of(request, struct thread_dump, request);

    dump->rc = rc;
    sem_post(&dump->done);
}

int td_dump(int fd)
{
    struct thread_dump dump = {.request = {.fd = fd, .done = thread_dump_done}};

    if (task_running)
        return dump_for_task(task_running, fd);
    sem_init(&dump.done, 0, 0);
    if (!watchdog_dump(&dump.request)) {
        sem_destroy(&dump.done);
        return -ENOENT;
    }
    while (sem_wait(&dump.done) < 0)
        ;  /* interrupted by a signal */
    sem_destroy(&dump.done);
    return dump.rc;
}
