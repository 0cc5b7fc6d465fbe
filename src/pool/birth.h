/* SPDX-License-Identifier: MIT */
/*
 * The birth of a worker process: from the zygote's fork to its first job.
 */
#ifndef TANDEM_POOL_BIRTH_H
#define TANDEM_POOL_BIRTH_H

#include <stddef.h>
#include <sys/types.h>

#include "pool/page.h"
#include "shared/arena.h"

struct birth {
    struct worker_page *page;   /* its first lines say what the worker is to be */
    int event_fd;               /* whom it tells; of a command, its socket */
    pid_t program;              /* its parent, which it does not outlive */
    const struct arena *arena;  /* as the zygote inherited it; may be NULL */
    size_t command_bytes;       /* behind the page; 0: no command */
};

/*
 * Lives a worker's life, in the process that was forked for it. Where it cannot be what its page asks for, it says so
 * in the log and in page->up, and ends without having run anybody's code.
 */
_Noreturn void birth_worker(const struct birth *birth);

/* The calling process is killed when the program ends. Ends it at once when that is so already. */
void birth_die_with(pid_t program);

#endif
