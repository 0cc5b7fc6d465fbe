/* SPDX-License-Identifier: MIT */
#include "faults/inject.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ERRORS_MAX 8
#define THINGS_MAX 8192
#define LOG_BYTES 4096

/* Shared with every process the library forks. */
struct shared {
    struct fault fault;
    int pid, tid;
    _Atomic bool armed, hit;
    _Atomic unsigned seen[FAULT_ROLES][FAULT_CALLS];
    _Atomic size_t log_size;
    char log[LOG_BYTES];
};


struct thing {
    const void *at;
    enum fault_thing kind;
    size_t size;
    const void *caller;
};

static struct {
    struct shared *shared;
    pthread_mutex_t mutex;
    struct thing things[THINGS_MAX];
    unsigned thing_count;
} faults = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static const struct {
    const char *name;
    int errors[ERRORS_MAX];
} calls[] = {
#define CALL(type, name, parameters, arguments, failed, ...) {#name, {__VA_ARGS__}},
#define OWN(name, ...) {#name, {__VA_ARGS__}},
#define RING(name, ...) {"RING_" #name, {__VA_ARGS__}},
#define SAFE(name)
#include "faults/calls.h"
#undef CALL
#undef OWN
#undef RING
};

const char *fault_role_name(enum fault_role role)
{
    static const char *const names[] = {"loop", "thread", "child"};

    return names[role];
}

const char *fault_call_name(enum fault_call call)
{
    return calls[call].name;
}

const int *fault_errors(enum fault_call call)
{
    return calls[call].errors;
}

void faults_open(void)
{
    faults.shared = mmap(NULL, sizeof *faults.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (faults.shared == MAP_FAILED)
        abort();
}

void faults_begin(const struct fault *fault)
{
    struct shared *shared = faults.shared;

    memset(shared, 0, sizeof *shared);
    shared->fault = *fault;
    shared->pid = getpid();
    shared->tid = gettid();
    faults.thing_count = 0;
    faults_ring_begin();
    atomic_store(&shared->armed, true);
}

void faults_end(void)
{
    atomic_store(&faults.shared->armed, false);
}

bool faults_hit(void)
{
    return atomic_load(&faults.shared->hit);
}

int faults_error(void)
{
    return faults.shared->fault.error;
}

const char *faults_log(void)
{
    return faults.shared->log;
}

static enum fault_role role_of_caller(const struct shared *shared)
{
    return gettid() == shared->tid ? ROLE_LOOP : getpid() == shared->pid ? ROLE_THREAD : ROLE_CHILD;
}

bool fault_due(enum fault_call call)
{
    struct shared *shared = faults.shared;
    const struct fault *fault = &shared->fault;
    enum fault_role role;
    unsigned n;

    if (!shared || !atomic_load(&shared->armed))
        return false;
    role = role_of_caller(shared);
    n = 1 + atomic_fetch_add(&shared->seen[role][call], 1);
    if (!fault->nth || fault->call != call || fault->role != role || !(n == fault->nth || (fault->on && n > fault->nth)))
        return false;
    atomic_store(&shared->hit, true);
    errno = fault->error;
    return true;
}

void fault_take_note(const void *at, enum fault_thing kind, size_t size, const void *caller)
{
    int saved = errno;

    pthread_mutex_lock(&faults.mutex);
    if (faults.thing_count == THINGS_MAX)
        abort();
    faults.things[faults.thing_count++] = (struct thing){at, kind, size, caller};
    pthread_mutex_unlock(&faults.mutex);
    errno = saved;
}

void fault_strike_out(const void *at, enum fault_thing kind)
{
    int saved = errno;

    pthread_mutex_lock(&faults.mutex);
    for (unsigned i = faults.thing_count; i > 0; i--) {
        if (faults.things[i - 1].at != at || faults.things[i - 1].kind != kind)
            continue;
        faults.things[i - 1] = faults.things[--faults.thing_count];
        break;
    }
    pthread_mutex_unlock(&faults.mutex);
    errno = saved;
}

unsigned faults_left(char *text, size_t size)
{
    static const char *const names[] = {"block", "mapping", "file", "thread", "ring"};
    size_t at = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < faults.thing_count && at < size; i++) {
        const struct thing *thing = &faults.things[i];

        at += (size_t)snprintf(text + at, size - at, "%s of %zu bytes taken at %p; ", names[thing->kind], thing->size,
                               thing->caller);
    }
    return faults.thing_count;
}

void faults_keep_log(const char *data, size_t size)
{
    struct shared *shared = faults.shared;
    size_t at = atomic_fetch_add(&shared->log_size, size);

    if (at + size < sizeof shared->log)
        memcpy(shared->log + at, data, size);
}
