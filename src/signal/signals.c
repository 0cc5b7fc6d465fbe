/* SPDX-License-Identifier: MIT */
/*
 * Dispositions belong to the process, and a handler has no argument: so here, and only here, is a table of the whole
 * program.
 *
 * Invariants: 1. A slot's pipe is open while its set is not empty, and until no handler is inside it: a handler enters
 * (`inside`) before it looks at the set, and a close empties the set before it looks at `inside`. 2. `users` of a signal is
 * the number of slots with it in their set; while it is not 0 our handler is installed, and `before` is what was there.
 */
#include "tandem/signal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/forks.h"
#include "file/fd.h"

#define SLOTS 32
#define SIGNALS_MAX 64  /* Linux has 64, and bit n - 1 of a set stands for signal n */

struct slot {
    _Atomic uint64_t set;
    _Atomic unsigned inside, lost;
    bool taken;
    int writer;
    unsigned forks;  /* of the process that opened it: its child has the table, too, and the same pipe */
};

struct disposition {
    unsigned users;
    struct sigaction before;
};

struct td_signals {
    struct slot *slot;
    td_fd *reader;
};

/* tidy: allow, because dispositions of signals are the process's, and a handler finds nothing else */
static struct slot slots[SLOTS];
/* tidy: allow, because dispositions of signals are the process's */
static struct disposition dispositions[SIGNALS_MAX + 1];
/* tidy: allow, because loops of several threads open streams; no handler takes it */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t bit_of(int signal)
{
    return (uint64_t)1 << (signal - 1);
}

/* At most PIPE_BUF bytes into a pipe are written whole or not at all. */
static void put(struct slot *slot, const td_signal_info *info)
{
    ssize_t n;

    if (slot->forks != forks_count())
        return;
    do
        n = write(slot->writer, info, sizeof *info);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        atomic_fetch_add(&slot->lost, 1);
}

static void handle(int signal, siginfo_t *info, void *context)
{
    td_signal_info note = {.signal = signal};
    int saved = errno;

    (void)context;
    if (info->si_code <= 0) {  /* from a process */
        note.process = info->si_pid;
        note.user = info->si_uid;
        note.value = info->si_code == SI_QUEUE ? info->si_value.sival_int : 0;
    }
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &slots[i];

        atomic_fetch_add(&slot->inside, 1);
        if (atomic_load(&slot->set) & bit_of(signal))
            put(slot, &note);
        atomic_fetch_sub(&slot->inside, 1);
    }
    errno = saved;
}

/* With the lock held. On a task's small stack a handler had better not run: there is another for it. */
static int take_over(int signal)
{
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    struct disposition *disposition = &dispositions[signal];

    if (disposition->users == 0 && sigaction(signal, &action, &disposition->before) < 0)
        return -errno;
    disposition->users++;
    return 0;
}

/* With the lock held. Whoever has put another handler in place of ours meanwhile keeps it. */
static void give_back(int signal)
{
    struct disposition *disposition = &dispositions[signal];
    struct sigaction now;

    if (--disposition->users > 0)
        return;
    if (sigaction(signal, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == handle)
        (void)sigaction(signal, &disposition->before, NULL);
}

static void give_back_all(uint64_t set)
{
    for (int signal = 1; signal <= SIGNALS_MAX; signal++)
        if (set & bit_of(signal))
            give_back(signal);
}

/* Installs the handler for all of the set, or for none. */
static int take_over_all(uint64_t set)
{
    uint64_t taken = 0;
    int rc;

    for (int signal = 1; signal <= SIGNALS_MAX; signal++) {
        if (!(set & bit_of(signal)))
            continue;
        rc = take_over(signal);
        if (rc < 0) {
            give_back_all(taken);
            return rc;
        }
        taken |= bit_of(signal);
    }
    return 0;
}

static struct slot *find_slot(void)
{
    for (int i = 0; i < SLOTS; i++)
        if (!slots[i].taken)
            return &slots[i];
    return NULL;
}

static void empty_slot(struct slot *slot)
{
    atomic_store(&slot->set, 0);
    while (atomic_load(&slot->inside) > 0)
        sched_yield();  /* a handler on another thread: microseconds */
    slot->taken = false;
}

static int occupy(struct slot **out, uint64_t set, int writer)
{
    struct slot *slot;
    int rc = -EBUSY;

    pthread_mutex_lock(&lock);
    slot = find_slot();
    if (slot) {
        slot->taken = true;
        slot->writer = writer;
        slot->forks = forks_count();
        atomic_store(&slot->lost, 0);
        atomic_store(&slot->set, set);  /* before the handler is there: what comes from then on is not lost */
        rc = take_over_all(set);
        if (rc < 0)
            empty_slot(slot);
    }
    pthread_mutex_unlock(&lock);
    *out = slot;
    return rc;
}

/* Returns 0 and *set, or -EINVAL. */
static int set_from(const int *list, uint64_t *set)
{
    static const int never[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};

    *set = 0;
    for (; *list != 0; list++) {
        if (*list < 0 || *list > SIGNALS_MAX)
            return -EINVAL;
        *set |= bit_of(*list);
    }
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (*set & bit_of(never[i]))
            return -EINVAL;
    return *set ? 0 : -EINVAL;
}

/* The writer's end never blocks: a handler must not. */
static int open_pipe(struct loop *loop, td_fd **reader, int *writer)
{
    int ends[2], rc;

    if (pipe2(ends, O_CLOEXEC | loop->table->file_flags) < 0)
        return -errno;
    *writer = ends[1];
    rc = fcntl(ends[1], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
    if (rc < 0)
        close(ends[0]);
    else
        rc = fd_wrap(loop, ends[0], reader);
    if (rc < 0)
        close(ends[1]);
    return rc;
}

int td_signals_open(td_signals **out, const int *list)
{
    struct td_task *self = task_self(__func__);
    td_signals *signals;
    uint64_t set;
    int writer = -1, rc = set_from(list, &set);

    *out = NULL;
    if (rc < 0)
        return rc;
    if (self->sched->forked)
        return -EOWNERDEAD;
    signals = calloc(1, sizeof *signals);
    if (!signals)
        return -ENOMEM;
    rc = open_pipe(loop_of(self), &signals->reader, &writer);
    if (rc < 0)
        goto release;
    rc = occupy(&signals->slot, set, writer);
    if (rc < 0)
        goto close_pipe;
    *out = signals;
    return 0;

close_pipe:
    td_fd_close(signals->reader);
    close(writer);
release:
    free(signals);
    return rc;
}

int td_signals_wait(td_signals *signals, td_signal_info *info)
{
    td_signal_info note;
    ssize_t n = td_fd_read(signals->reader, &note, sizeof note);

    if (n < 0)
        return (int)n;
    note.lost = atomic_exchange(&signals->slot->lost, 0);
    if (info)
        *info = note;
    return 0;
}

void td_signals_close(td_signals *signals)
{
    struct td_task *self = task_self(__func__);
    int writer = signals->slot->writer;

    if (!self->sched->forked) {  /* the parent's table is not the child's to change, and a lock may be held there for good */
        uint64_t set = atomic_load(&signals->slot->set);

        pthread_mutex_lock(&lock);
        give_back_all(set);
        empty_slot(signals->slot);
        pthread_mutex_unlock(&lock);
    }
    close(writer);
    td_fd_close(signals->reader);
    free(signals);
}
