/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "file/fd.h"

struct td_wakeup {
    int descriptor;  /* for the trigger: read by any thread, never written */
    td_fd *fd;
};

int td_wakeup_open(td_wakeup **out)
{
    struct loop *loop = loop_of(task_self(__func__));
    td_wakeup *wakeup = calloc(1, sizeof *wakeup);
    int rc;

    *out = NULL;
    if (!wakeup)
        return -ENOMEM;
    wakeup->descriptor = eventfd(0, EFD_CLOEXEC | loop->table->file_flags);
    rc = wakeup->descriptor < 0 ? -errno : fd_wrap(loop, wakeup->descriptor, &wakeup->fd);
    if (rc < 0) {
        free(wakeup);
        return rc;
    }
    *out = wakeup;
    return 0;
}

void td_wakeup_trigger(td_wakeup *wakeup)
{
    uint64_t one = 1;
    int saved = errno;

    if (write(wakeup->descriptor, &one, sizeof one) < 0) {
        /* The counter is full, so it has been triggered. */
    }
    errno = saved;
}

int td_wakeup_wait(td_wakeup *wakeup)
{
    uint64_t count;
    ssize_t n = td_fd_read(wakeup->fd, &count, sizeof count);

    return n < 0 ? (int)n : 0;
}

void td_wakeup_close(td_wakeup *wakeup)
{
    td_fd_close(wakeup->fd);
    free(wakeup);
}
