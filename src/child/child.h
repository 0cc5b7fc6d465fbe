/* SPDX-License-Identifier: MIT */
/*
 * A child process, inside.
 */
#ifndef TANDEM_CHILD_CHILD_H
#define TANDEM_CHILD_CHILD_H

#include "file/fd.h"
#include "tandem/child.h"

struct td_child {
    struct loop *loop;
    pid_t pid;         /* ours until it is reaped: no other process has it before */
    int pidfd;
    bool new_group;
    bool reaped;
    unsigned waiters;  /* tasks in td_child_wait */
    int wait_rc;       /* of td_child_wait, once it is reaped */
    td_time grace_ns;
    td_child_exit exit;
    td_fd *pipes[3];   /* our ends, by the child's descriptor */
};

/* The calling task; aborts when the child belongs to another loop. */
struct td_task *child_user(const td_child *child, const char *function);

#endif
