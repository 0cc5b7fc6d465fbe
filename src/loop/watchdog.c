/* SPDX-License-Identifier: MIT */
/*
 * Invariants: 1. The thread runs while `dogs` is not empty. 2. A dog is in `dogs` only while its loop is open, and whoever
 * holds `mutex` keeps it there. 3. Nothing here allocates: a loop may be stuck with the allocator's lock.
 */
#include "loop/watchdog.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "debug/report.h"
#include "tandem/log.h"

#define LOOK_EVERY_MIN_NS 500000
#define MINUTE_NS 60000000000
#define REPORTS_A_MINUTE 10

struct watch {
    pthread_mutex_t starting;         /* held while the thread starts or ends */
    pthread_mutex_t mutex;
    struct td_list dogs;
    pthread_t thread;
    int signal;                       /* real-time, for the loops' threads */
    bool stop, owns_quit;
    _Atomic int pid;                  /* of the process that all this is for; a forked child begins anew */
    sem_t wake;                       /* a signal handler may post it */
    _Atomic bool quit_asked;
    _Atomic(struct dump_request *) requests;
};

/* tidy: allow, because a signal's disposition belongs to the whole process, and so does whoever answers it */
static struct watch watch = {.starting = PTHREAD_MUTEX_INITIALIZER, .mutex = PTHREAD_MUTEX_INITIALIZER};

static td_time cpu_time(const struct watchdog *dog)
{
    clockid_t clock;
    struct timespec ts;

    if (pthread_getcpuclockid(dog->inspected.thread, &clock) != 0 || clock_gettime(clock, &ts) < 0)
        return 0;
    return (td_time)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Whether one more report is allowed in this minute. Those that are not are told when it is over. */
static bool may_report(struct watchdog *dog, td_time now)
{
    if (now - dog->minute.began >= MINUTE_NS) {
        if (dog->minute.suppressed > 0)
            td_log(TD_LOG_WARNING, "%s was held %u times more in the last minute than was reported",
                   dog->inspected.loop->name, dog->minute.suppressed);
        dog->minute.began = now;
        dog->minute.reports = dog->minute.suppressed = 0;
    }
    if (dog->minute.reports == REPORTS_A_MINUTE) {
        dog->minute.suppressed++;
        return false;
    }
    dog->minute.reports++;
    return true;
}

static void look(struct watchdog *dog)
{
    struct loop *loop = dog->inspected.loop;
    uint64_t switches = atomic_load_explicit(&loop->sched.switches, memory_order_relaxed);
    td_time busy_since = atomic_load_explicit(&loop->busy_since, memory_order_relaxed), now = clock_real();

    if (busy_since == 0 || switches != dog->sight.switches) {
        dog->sight.switches = switches;
        dog->sight.since = now;
        dog->sight.cpu_ns = cpu_time(dog);
        dog->sight.is_reported = false;
        return;
    }
    if (dog->sight.is_reported || now - dog->sight.since < loop->stall_after_ns)
        return;
    dog->sight.is_reported = true;  /* once an incident */
    atomic_store_explicit(&loop->stall_seen, true, memory_order_relaxed);
    if (may_report(dog, now))
        report_stall(&dog->inspected, now - dog->sight.since, cpu_time(dog) - dog->sight.cpu_ns);
}

static void serve_requests(void)
{
    struct dump_request *request;

    if (atomic_exchange(&watch.quit_asked, false)) {
        td_log(TD_LOG_INFO, "SIGQUIT: here are the tasks, and the program goes on");
        (void)report_all(&watch.dogs, STDERR_FILENO);
    }
    request = atomic_exchange(&watch.requests, NULL);
    while (request) {
        struct dump_request *next = request->next;

        request->done(request, report_all(&watch.dogs, request->fd));
        request = next;
    }
}

/* How long until the loops want to be looked at again; TD_FOREVER when none does. */
static td_time look_every(void)
{
    td_time every = TD_FOREVER;

    for (struct td_list *at = watch.dogs.next; at != &watch.dogs; at = at->next) {
        td_time limit = container_of(at, struct watchdog, link)->inspected.loop->stall_after_ns;

        if (limit != TD_FOREVER && limit / 2 < every)
            every = limit / 2 > LOOK_EVERY_MIN_NS ? limit / 2 : LOOK_EVERY_MIN_NS;
    }
    return every;
}

/* Waits to be woken, until the given time at the most. */
static void wait_until(td_time at)
{
    struct timespec until = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};

    if (at == TD_FOREVER)
        sem_wait(&watch.wake);
    else
        sem_clockwait(&watch.wake, CLOCK_MONOTONIC, &until);  /* an interruption is but an early look */
}

static void *patrol(void *arg)
{
    td_time looked_at = clock_real(), every = 0;
    bool stop = false;

    (void)arg;
    while (!stop) {
        wait_until(every == TD_FOREVER ? TD_FOREVER : looked_at + every);
        pthread_mutex_lock(&watch.mutex);
        stop = watch.stop;
        serve_requests();
        if (every != TD_FOREVER && clock_real() - looked_at >= every) {
            for (struct td_list *at = watch.dogs.next; at != &watch.dogs; at = at->next)
                look(container_of(at, struct watchdog, link));
            looked_at = clock_real();
        } else if (every == TD_FOREVER) {
            looked_at = clock_real();
        }
        every = look_every();
        pthread_mutex_unlock(&watch.mutex);
    }
    return NULL;
}

static void quit_asked(int signal)
{
    int saved = errno;

    if (atomic_load(&watch.pid) == getpid()) {
        atomic_store(&watch.quit_asked, true);
        sem_post(&watch.wake);
    } else {  /* a forked child, in which nobody would answer */
        struct sigaction standard = {.sa_handler = SIG_DFL};

        sigaction(signal, &standard, NULL);
        raise(signal);
    }
    errno = saved;
}

static void own_quit(void)
{
    struct sigaction action = {.sa_handler = quit_asked, .sa_flags = SA_RESTART | SA_ONSTACK}, before;

    if (watch.owns_quit || sigaction(SIGQUIT, NULL, &before) < 0 || (before.sa_flags & SA_SIGINFO) ||
        (before.sa_handler != SIG_DFL && before.sa_handler != quit_asked))
        return;
    watch.owns_quit = sigaction(SIGQUIT, &action, NULL) == 0;
}

static void disown_quit(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL}, now;

    if (watch.owns_quit && sigaction(SIGQUIT, NULL, &now) == 0 && now.sa_handler == quit_asked)
        sigaction(SIGQUIT, &standard, NULL);
    watch.owns_quit = false;
}

static int start_thread(void)
{
    sigset_t all, before;
    int rc;

    watch.stop = false;
    watch.signal = inspect_signal_open();
    if (!watch.signal)
        td_log(TD_LOG_WARNING, "every real-time signal is taken: there will be no backtraces of computing tasks");
    sigfillset(&all);  /* signals are for the program's threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = -pthread_create(&watch.thread, NULL, patrol, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc < 0)
        inspect_signal_close(watch.signal);
    else
        pthread_setname_np(watch.thread, "tandem-watchdog");
    return rc;
}

/* In a process's first run, and in a forked child's: the parent's thread and loops are not here. */
static void begin_anew(void)
{
    if (atomic_load(&watch.pid) == getpid())
        return;
    if (atomic_load(&watch.pid) != 0) {  /* a child, which has this thread only: somebody may have held these at the fork */
        pthread_mutex_init(&watch.starting, NULL);
        pthread_mutex_init(&watch.mutex, NULL);
    }
    pthread_mutex_lock(&watch.starting);
    if (atomic_load(&watch.pid) != getpid()) {
        sem_init(&watch.wake, 0, 0);
        list_init(&watch.dogs);
        watch.owns_quit = false;
        atomic_store(&watch.requests, NULL);
        atomic_store(&watch.quit_asked, false);
        atomic_store(&watch.pid, getpid());
    }
    pthread_mutex_unlock(&watch.starting);
}

int watchdog_start(struct watchdog *dog, struct loop *loop)
{
    int rc = 0;

    begin_anew();
    memset(dog, 0, sizeof *dog);
    list_init(&dog->link);
    dog->minute.began = dog->sight.since = clock_real();
    pthread_mutex_lock(&watch.starting);
    if (list_empty(&watch.dogs))
        rc = start_thread();
    if (rc == 0) {
        inspect_attach(&dog->inspected, loop, watch.signal);
        if (!loop->keep_signals)
            own_quit();
        pthread_mutex_lock(&watch.mutex);
        list_push_back(&watch.dogs, &dog->link);
        pthread_mutex_unlock(&watch.mutex);
        sem_post(&watch.wake);  /* it may be the one that wants the shortest interval */
    }
    pthread_mutex_unlock(&watch.starting);
    return rc;
}

void watchdog_stop(struct watchdog *dog)
{
    bool is_watched, is_last;

    pthread_mutex_lock(&watch.starting);
    pthread_mutex_lock(&watch.mutex);
    is_watched = list_linked(&dog->link);  /* under the lock: its neighbours write to the link when they leave */
    list_remove(&dog->link);
    is_last = is_watched && list_empty(&watch.dogs);
    watch.stop = is_last;
    pthread_mutex_unlock(&watch.mutex);
    if (is_last) {
        disown_quit();
        sem_post(&watch.wake);
        pthread_join(watch.thread, NULL);
        inspect_signal_close(watch.signal);
    }
    if (is_watched)
        inspect_detach(&dog->inspected);
    pthread_mutex_unlock(&watch.starting);
}

bool watchdog_dump(struct dump_request *request)
{
    struct dump_request *top;
    bool is_watched;

    if (atomic_load(&watch.pid) != getpid())
        return false;
    pthread_mutex_lock(&watch.starting);
    is_watched = !list_empty(&watch.dogs);
    if (is_watched) {
        top = atomic_load(&watch.requests);
        do
            request->next = top;
        while (!atomic_compare_exchange_weak(&watch.requests, &top, request));
        sem_post(&watch.wake);
    }
    pthread_mutex_unlock(&watch.starting);
    return is_watched;
}
