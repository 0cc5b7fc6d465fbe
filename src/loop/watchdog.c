/* SPDX-License-Identifier: MIT */
#include "loop/watchdog.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tandem/log.h"

/* What the watchdog saw at its last look. Two looks at the same resumption, far enough apart, are a stall. */
struct sight {
    uint64_t switches;
    td_time since, cpu_ns;
    bool reported;
};

static td_time cpu_time(const struct watchdog *dog)
{
    clockid_t clock;
    struct timespec ts;

    if (pthread_getcpuclockid(dog->watched, &clock) != 0 || clock_gettime(clock, &ts) < 0)
        return 0;
    return (td_time)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* The scheduler state letter of the watched thread: the first one after the name's closing parenthesis. */
static char thread_state(const struct watchdog *dog)
{
    char path[64], line[256], *after;
    FILE *file;
    char state = '?';

    snprintf(path, sizeof path, "/proc/self/task/%d/stat", dog->watched_tid);
    file = fopen(path, "re");
    if (!file)
        return state;
    if (fgets(line, sizeof line, file) && (after = strrchr(line, ')')) && after[1] == ' ')
        state = after[2];
    fclose(file);
    return state;
}

static const char *what_it_does(const struct watchdog *dog, td_time wall_ns, td_time cpu_ns)
{
    if (cpu_ns * 4 > wall_ns)  /* on a busy machine it gets a part of its time only */
        return "computing; hand such work to a pool with td_offload";
    if (thread_state(dog) == 'R')
        return "not scheduled by the kernel: the machine is busy with something else";
    return "blocked in a system call; use the library's own calls for I/O, or a thread pool";
}

static void look(const struct watchdog *dog, struct sight *sight)
{
    struct loop *loop = dog->loop;
    uint64_t switches = atomic_load_explicit(&loop->sched.switches, memory_order_relaxed);
    td_time busy_since = atomic_load_explicit(&loop->busy_since, memory_order_relaxed), now = td_now();
    const char *site = sched_running_site(&loop->sched);

    if (busy_since == 0 || switches != sight->switches || !site) {
        *sight = (struct sight){.switches = switches, .since = now, .cpu_ns = cpu_time(dog)};
        return;
    }
    if (sight->reported || now - sight->since < loop->stall_after_ns)
        return;
    sight->reported = true;  /* once an incident */
    td_log(TD_LOG_WARNING, "%s has been held for %.0f ms by the task spawned at %s: %s", loop->name,
           (double)(now - sight->since) / 1e6, site, what_it_does(dog, now - sight->since, cpu_time(dog) - sight->cpu_ns));
}

static void *watch(void *arg)
{
    struct watchdog *dog = arg;
    struct sight sight = {.since = td_now()};

    pthread_mutex_lock(&dog->mutex);
    while (!dog->stop) {
        td_time at = td_after(dog->loop->stall_after_ns / 2);
        struct timespec until = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};

        if (pthread_cond_timedwait(&dog->stopped, &dog->mutex, &until) == ETIMEDOUT)
            look(dog, &sight);
    }
    pthread_mutex_unlock(&dog->mutex);
    return NULL;
}

int watchdog_start(struct watchdog *dog, struct loop *loop)
{
    pthread_condattr_t attr;
    sigset_t all, before;
    int rc;

    *dog = (struct watchdog){.loop = loop, .watched = pthread_self(), .watched_tid = gettid()};
    if (loop->stall_after_ns == TD_FOREVER)
        return 0;
    pthread_mutex_init(&dog->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&dog->stopped, &attr);
    pthread_condattr_destroy(&attr);
    sigfillset(&all);  /* signals are for the program's threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = -pthread_create(&dog->thread, NULL, watch, dog);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    dog->running = rc == 0;
    return rc;
}

void watchdog_stop(struct watchdog *dog)
{
    if (!dog->running)
        return;
    pthread_mutex_lock(&dog->mutex);
    dog->stop = true;
    pthread_cond_signal(&dog->stopped);
    pthread_mutex_unlock(&dog->mutex);
    pthread_join(dog->thread, NULL);
    pthread_cond_destroy(&dog->stopped);
    pthread_mutex_destroy(&dog->mutex);
}
