/* SPDX-License-Identifier: MIT */
#include "loop/mask.h"

#include <pthread.h>
#include <stddef.h>
#include <time.h>

static sigset_t writers_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigaddset(&set, SIGXFSZ);
    return set;
}

void mask_writers_signals(sigset_t *before)
{
    sigset_t set = writers_signals();

    pthread_sigmask(SIG_BLOCK, &set, before);
}

void mask_restore(const sigset_t *before)
{
    sigset_t set = writers_signals();

    if (sigismember(before, SIGPIPE) == 1)
        sigdelset(&set, SIGPIPE);
    if (sigismember(before, SIGXFSZ) == 1)
        sigdelset(&set, SIGXFSZ);
    while (sigtimedwait(&set, NULL, &(struct timespec){0}) > 0)
        ;
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
