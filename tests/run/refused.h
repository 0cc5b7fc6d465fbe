/* SPDX-License-Identifier: MIT */
/*
 * A machine that gives no more threads: while `refusing` is set, pthread_create answers EAGAIN, as at the limit of processes
 * (RLIMIT_NPROC, which does not bind the root user that tests may run as). For one file of a test program.
 */
#ifndef TANDEM_TESTS_RUN_REFUSED_H
#define TANDEM_TESTS_RUN_REFUSED_H

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

static struct { atomic_bool now; atomic_int times; } refusing;

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*body)(void *), void *arg)
{
    union { void *symbol; int (*call)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *); } real;

    if (atomic_load(&refusing.now)) {
        atomic_fetch_add(&refusing.times, 1);
        return EAGAIN;
    }
    real.symbol = dlsym(RTLD_NEXT, "pthread_create");
    return real.call(thread, how, body, arg);
}

#endif
